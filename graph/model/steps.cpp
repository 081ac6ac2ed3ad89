// A step of training: traced for a plan, or eagerly.
#include <twopass/graph/model/trainer.h>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/model/states.h>
#include <twopass/graph/model/strays.h>

namespace twopass {
namespace {

void note_frozen(const Layer& layer, std::string& text) {
  for (const auto& part : layer.parts()) {
    text += part.second->trainable() ? '1' : '0';
    note_frozen(*part.second, text);
  }
}

}  // namespace

Tensors Trainer::packed(const Batch& batch) {
  Tensors all = batch.inputs;
  all.insert(all.end(), batch.targets.begin(), batch.targets.end());
  if (batch.weights.defined()) all.push_back(batch.weights);
  return all;
}

Trainer::Batch Trainer::unpacked(const Tensors& tensors) const {
  const auto inputs = tensors.begin() + static_cast<std::ptrdiff_t>(body_.inputs.size());
  const auto targets = inputs + static_cast<std::ptrdiff_t>(body_.outputs.size());
  return {{tensors.begin(), inputs}, {inputs, targets}, targets == tensors.end() ? Tensor() : *targets};
}

void Trainer::check_loss(const Tensor& total) const {
  if (!std::isfinite(total.item<double>()))
    throw Error(fmt::format("the loss is {}: the weights are those of the step before",
                            without_sign_of_nan(total.item<double>())));
}

// Behind the batch come the number of the step, the learning rate and the number of the update.
Tensors Trainer::traced_step(const Tensors& tensors, Faults& faults) const {
  const std::size_t last = tensors.size() - 3;
  const Batch batch = unpacked({tensors.begin(), tensors.begin() + static_cast<std::ptrdiff_t>(last)});
  const ParameterReads reads;
  const Tensors outputs = body_.call(batch.inputs, {.training = true, .seed = body_.seed, .step = tensors[last]});
  const Losses found = losses(outputs, batch);
  const Gradients gradients = gradients_of(found.total, reads.parameters(), faults);
  for (Parameter& each : outsiders_among(reads.parameters(), parameters_)) body_.outsiders.push_back(std::move(each));
  Tensors of;
  for (const Parameter& each : parameters_)
    of.push_back(each.trainable() && gradients.contains(each) ? gradients[each] : Tensor());
  body_.compiled->optimizer.trace_update(of, parameters_, tensors[last + 1], tensors[last + 2]);
  return measured(found, outputs, batch);
}

Tensors Trainer::eager_step(const Batch& batch) const {
  const CallContext context{.training = true, .seed = body_.seed, .step = tensor(body_.steps_done)};
  StateGuard states(parameters_);
  const ParameterReads reads;
  Tensors outputs = body_.call(batch.inputs, context);
  Losses found = losses(outputs, batch);
  check_loss(found.total);
  const Losses values{detach(found.total), std::move(found.each)};
  for (Tensor& output : outputs) output = detach(output);
  Faults faults;
  const Gradients gradients = gradients_of(std::move(found.total), reads.parameters(), faults);
  refuse(faults, batch);
  body_.compiled->optimizer.apply(gradients, parameters_, names_);
  states.keep();
  return no_record([&] { return measured(values, outputs, batch); });
}

Error Trainer::without_gradient() const {
  std::string own;
  for (const Loss& each : losses_)
    if (!each.saveable() && own.empty())
      own = fmt::format(
          ": loss \"{}\" must be made of its predictions by functions of tensors, not of their values or what "
          "detach() gives",
          each.name());
  return Error(fmt::format("the loss has no gradient for a trainable parameter of model \"{}\"{}", body_.title(), own));
}

Gradients Trainer::gradients_of(Tensor loss, const Parameters& read, Faults& faults) const {
  faults.no_gradient = !loss.recorded();
  if (faults.no_gradient) throw without_gradient();
  Gradients gradients = backward(std::move(loss));
  faults.strays = strays_among(read, gradients, parameters_);
  faults.no_gradient =
      faults.strays.empty() && std::none_of(parameters_.begin(), parameters_.end(), [&](const Parameter& each) {
        return each.trainable() && gradients.contains(each);
      });
  if (faults.no_gradient) throw without_gradient();
  return gradients;
}

void Trainer::refuse(const Faults& faults, const Batch& batch) const {
  if (faults.no_gradient) throw without_gradient();
  if (!faults.strays.empty())
    throw stray_error(body_, faults.strays[0], batch.inputs,
                      {.training = true, .seed = body_.seed, .step = tensor(body_.steps_done)});
}

Tensors Trainer::step_inputs(const Batch& batch) const {
  const Optimizer& optimizer = body_.compiled->optimizer;
  Tensors tensors = packed(batch);
  tensors.push_back(tensor(body_.steps_done));
  tensors.push_back(tensor(optimizer.learning_rate(), f64));
  tensors.push_back(tensor(static_cast<double>(optimizer.iterations() + 1), f64));
  return tensors;
}

Plan Trainer::step_plan(const Batch& batch, const PlanOptions& given) const {
  const PrecisionScope precision(body_.compiled->precision);
  const auto& outputs = body_.graph.output_names;
  PlanOptions options{.without = body_.compiled->without,
                      .keep_stages = given.keep_stages,
                      .input_names = body_.graph.input_names,
                      .output_names = {"loss"}};
  options.without.insert(options.without.end(), given.without.begin(), given.without.end());
  for (const std::string& name : outputs) {
    options.input_names.push_back(name + " targets");
    options.output_names.push_back(name + " loss");
  }
  if (batch.weights.defined()) options.input_names.push_back("sample weights");
  for (const char* name : {"steps done", "learning rate", "number of the update"}) options.input_names.push_back(name);
  for (const Watched& watched : metrics_) options.output_names.push_back(watched.name);
  Faults faults;
  Plan made = plan([&](const Tensors& symbols) { return traced_step(symbols, faults); }, step_inputs(batch), options);
  refuse(faults, batch);
  return made;
}

const Plan* Trainer::plan_for_step(const Tensors& step_inputs, const Batch& batch) const {
  // What is frozen has no gradient, and a layer that is may do something else: another step.
  std::string kind = "train ";
  for (const Parameter& each : parameters_) kind += each.trainable() ? '1' : '0';
  note_frozen(body_, kind);
  // One that the model does not know was left alone as it was frozen, but is no more.
  if (std::any_of(body_.outsiders.begin(), body_.outsiders.end(),
                  [](const Parameter& each) { return each.trainable(); }))
    body_.forget_plans();
  Faults faults;
  const Plan* const found =
      body_.plan_for(kind, step_inputs, [&](const Tensors& symbols) { return traced_step(symbols, faults); });
  if (faults.no_gradient || !faults.strays.empty()) body_.forget_plans();
  refuse(faults, batch);
  return found;
}

void Trainer::prepare(const Batch& batch) const {
  const PrecisionScope precision(body_.compiled->precision);
  plan_for_step(step_inputs(batch), batch);
}

void Trainer::train_step(const Batch& batch, Tally& tally) {
  const PrecisionScope precision(body_.compiled->precision);
  const Tensors tensors = step_inputs(batch);
  bool planned = false;
  if (const Plan* plan = plan_for_step(tensors, batch)) {
    try {
      plan->run_into(measured_, tensors, [&](const Tensors& outputs) { check_loss(outputs[0]); });
      body_.compiled->optimizer.count_update();
      planned = true;
    } catch (const Error&) {
      // A plan's errors name no layers: the same step op by op says where it is refused. Nothing has changed.
    }
  }
  if (!planned) measured_ = eager_step(batch);
  ++body_.steps_done;
  tally.add(measured_, batch.rows());
}

}  // namespace twopass
