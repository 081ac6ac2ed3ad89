// Model::compile, evaluate, predict and loss.
#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/graph/model/batches.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/resuming.h>
#include <twopass/graph/model/trainer.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/shaping.h>

namespace twopass {

double Evaluation::operator[](const std::string& name) const {
  std::string list;
  for (const auto& [key, value] : values_) {
    if (key == name) return value;
    list += (list.empty() ? "" : ", ") + key;
  }
  throw Error(fmt::format("the evaluation has no \"{}\": it has {}", name, list));
}

void Model::compile(const CompileOptions& options) {
  ModelBody& own = body();
  if (own.fitted)
    throw Error(
        fmt::format("compile: model \"{}\" is being trained by fit: end that first, which a callback does by setting "
                    "stop in its TrainingState",
                    name()));
  check_plan_passes(options.without, "compile");
  options.optimizer.name();  // refuses an empty one
  std::optional<CompileOptions> before = std::exchange(own.compiled, options);
  try {
    Trainer(own, "compile");
    const PrecisionScope available(options.precision);
    own.forget_plans();
    go_on(*this, options.optimizer);
  } catch (...) {
    own.compiled = std::move(before);
    throw;
  }
  own.loaded_optimizer.reset();
  own.loaded_options.reset();
}

bool Model::compiled() const { return body().compiled.has_value(); }

const Optimizer& Model::optimizer() const {
  const ModelBody& own = body();
  if (own.compiled) return own.compiled->optimizer;
  if (own.loaded_optimizer) return *own.loaded_optimizer;
  throw Error(fmt::format("model \"{}\" has no optimizer: call compile() first", name()));
}

Evaluation Model::evaluate(const TensorList& inputs, const TensorList& targets, const EvaluateOptions& options) {
  const Trainer trainer(body(), "evaluate");
  check_batch_size(options.batch_size, "evaluate");
  check_verbose(options.verbose, "evaluate");
  const Rows rows = body().input_rows(inputs);
  const Rows wanted = trainer.target_rows(targets);
  check_rows(rows, wanted, "evaluate");
  const Rows weights = trainer.weight_rows(options.sample_weight, rows.count());
  Logs logs;
  try {
    // A loss that gives a number for each column passes where there are as many rows, but not on one.
    if (weights.count() > 0 && !trainer.losses_are_known()) trainer.try_first_row(rows, wanted, weights);
    logs = trainer.evaluate(rows, wanted, weights, options.batch_size, "");
  } catch (const Error&) {
    trainer.check_targets(wanted.batch());
    throw;
  }
  if (options.verbose > 0)
    for (const auto& [name, value] : logs) fmt::print("{}: {:.4f}\n", name, value);
  return Evaluation(logs);
}

Tensor Model::predict(const TensorList& inputs, std::int64_t batch_size) {
  if (outputs().size() != 1)
    throw Error(
        fmt::format("predict: model \"{}\" has {} outputs: predict_all() gives them", name(), outputs().size()));
  return predict_all(inputs, batch_size)[0];
}

Tensors Model::predict_all(const TensorList& inputs, std::int64_t batch_size) {
  check_batch_size(batch_size, "predict");
  ModelBody& own = body();
  const RecordingScope off(false);
  const Precision wanted = own.compiled ? own.compiled->precision : Precision::single;
  if (LiftScope::active()) {  // a part of a plan, of whose precision it must be
    if (wanted != products_precision())
      throw Error(
          fmt::format("predict: model \"{}\" multiplies in {} but the plan in {}: make the plan in a "
                      "PrecisionScope of the model's, or call predict outside",
                      name(), wanted == Precision::bf16 ? "bf16" : "f32",
                      products_precision() == Precision::bf16 ? "bf16" : "f32"));
    return own.call(inputs.ordered(own.graph.input_names, "input"), {});
  }
  const Rows rows = own.input_rows(inputs);
  const PrecisionScope precision(wanted);
  std::vector<Tensors> parts(own.outputs.size());
  const auto call = [&](const Tensors& tensors) { return own.call(tensors, {}); };
  Batches batches({&rows}, batch_size);
  for (std::int64_t batch = 0; batch < batches.count(); ++batch) {
    const Tensors found = own.planned("predict", batches.next()[0], call);
    for (std::size_t k = 0; k < found.size(); ++k) parts[k].push_back(found[k]);
  }
  Tensors whole;
  for (const Tensors& each : parts) whole.push_back(concat(each, 0));
  return whole;
}

Plan Model::step_plan(const TensorList& inputs, const TensorList& targets, const PlanOptions& options) {
  const Trainer trainer(body(), "step_plan");
  const Rows rows = body().input_rows(inputs);
  const Rows wanted = trainer.target_rows(targets);
  check_rows(rows, wanted, "step_plan");
  return trainer.step_plan({rows.batch(), wanted.batch(), {}}, options);
}

Plan plan(const Model& model, const TensorList& inputs, const PlanOptions& options) {
  const ModelGraph& graph = model.graph();
  PlanOptions named = options;
  if (named.input_names.empty()) named.input_names = graph.input_names;
  if (named.output_names.empty()) named.output_names = graph.output_names;
  const PrecisionScope precision(model.body().call_precision());
  return plan([&](const Tensors& symbols) { return model.call(symbols); }, inputs.ordered(graph.input_names, "input"),
              named);
}

Tensor Model::loss(const TensorList& inputs, const TensorList& targets, const CallContext& context) const {
  const Trainer trainer(body(), "loss");
  if (LiftScope::active()) {  // a part of a plan, of whose precision it must be
    Tensors given = inputs.ordered(body().graph.input_names, "input");
    for (std::size_t k = 0; k < given.size(); ++k)
      if (is_floating(body().inputs[k].dtype())) given[k] = cast(given[k], body().inputs[k].dtype());
    Tensors wanted = targets.ordered(body().graph.output_names, "target");
    for (std::size_t k = 0; k < wanted.size(); ++k)
      if (is_floating(wanted[k].dtype())) wanted[k] = cast(wanted[k], body().outputs[k].dtype());
    return trainer.losses(call(given, context), {given, wanted, {}}).total;
  }
  const Rows rows = body().input_rows(inputs);
  const Rows wanted = trainer.target_rows(targets);
  check_rows(rows, wanted, "loss");
  const PrecisionScope precision(body().call_precision());
  return trainer.losses(body().call(rows.batch(), context), {rows.batch(), wanted.batch(), {}}).total;
}

}  // namespace twopass
