#include <twopass/graph/model/trainer.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/graph/model/batches.h>
#include <twopass/graph/model/states.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

std::string list_of(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "\"" : ", \"") + name + "\"";
  return list;
}

// All labels are looked at before the first step: one that is no class must not be met in the middle of training.
void check_labels(const Tensor& labels, std::int64_t classes, const std::string& name) {
  const std::int64_t* const values = labels.data<std::int64_t>();
  for (std::int64_t k = 0; k < labels.elements(); ++k)
    if (values[k] < 0 || values[k] >= classes)
      throw Error(fmt::format("targets \"{}\": label {} in row {} is outside 0 … {}", name, values[k],
                              k / (labels.elements() / labels.shape()[0]), classes - 1));
}

// The place of an output's name; refuses others.
std::size_t output_named(const std::vector<std::string>& outputs, const std::string& name, const char* what) {
  const auto found = std::find(outputs.begin(), outputs.end(), name);
  if (found == outputs.end())
    throw Error(
        fmt::format("compile: a {} is given for output \"{}\", but the outputs are {}", what, name, list_of(outputs)));
  return static_cast<std::size_t>(found - outputs.begin());
}

// What is given by the names of outputs is given once: the last one would hide the others.
template <typename Named>
void check_once(const Named& named, const char* what) {
  std::set<std::string> seen;
  for (const auto& [name, value] : named)
    if (!seen.insert(name).second)
      throw Error(fmt::format("compile: a second {} is given for output \"{}\"", what, name));
}

// A loss or a metric of each row. What users write may read elements.
template <typename Measure>
Tensor per_sample(const Measure& measure, const Tensor& target, const Tensor& prediction) {
  const auto call = [measure](const Tensors& in) { return Tensors{measure.per_sample(in[0], in[1])}; };
  const Tensors in{target, prediction};
  return planning::traced_or_eagerly([&] { return call(in); }, call, in)[0];
}

}  // namespace

Trainer::Trainer(ModelBody& body, const std::string& what) : body_(body), parameters_(body.parameters()) {
  if (!body.compiled)
    throw Error(fmt::format("{}: model \"{}\" has not been compiled: call compile() first", what, body.title()));
  std::map<std::uint64_t, std::string> names;
  for (const auto& [path, parameter] : body.named_parameters()) names.emplace(parameter.id(), path);
  for (const Parameter& each : parameters_) names_.push_back(names[each.id()]);
  const CompileOptions& options = *body.compiled;
  const auto& outputs = body.graph.output_names;
  std::vector<const Loss*> found(outputs.size(), nullptr);
  if (options.loss.single()) {
    std::fill(found.begin(), found.end(), options.loss.single());
  } else {
    check_once(options.loss.named(), "loss");
    for (const auto& [name, loss] : options.loss.named()) found[output_named(outputs, name, "loss")] = &loss;
  }
  for (std::size_t k = 0; k < found.size(); ++k) {
    if (!found[k]) throw Error(fmt::format("compile: output \"{}\" has no loss", outputs[k]));
    losses_.push_back(*found[k]);
  }
  weights_.assign(outputs.size(), 1);
  check_once(options.loss_weights, "loss weight");
  for (const auto& [name, weight] : options.loss_weights) weights_[output_named(outputs, name, "loss weight")] = weight;
  const auto watch = [&](std::size_t output, const Metric& metric) {
    metrics_.push_back({outputs.size() > 1 ? outputs[output] + "_" + metric.name() : metric.name(), output, metric});
  };
  for (const Metric& metric : options.metrics.common())
    for (std::size_t k = 0; k < outputs.size(); ++k) watch(k, metric);
  check_once(options.metrics.named(), "list of metrics");
  for (const auto& [name, metrics] : options.metrics.named())
    for (const Metric& metric : metrics) watch(output_named(outputs, name, "metric"), metric);
  check_names();
}

// Logs know numbers by name: one that is hidden by another would be read as that.
void Trainer::check_names() const {
  std::set<std::string> names{"loss"};
  if (losses_.size() > 1)
    for (const std::string& output : body_.graph.output_names) {
      names.insert(output + "_loss");
      if ((output + "_").starts_with("val_"))
        throw Error(
            fmt::format("compile: an output is called \"{}\", so its loss \"{}_loss\" would be taken for one "
                        "of validation: give its layer another name",
                        output, output));
    }
  const std::set<std::string> of_losses = names;
  const auto refuse = [](const std::string& name, const char* reason) {
    throw Error(fmt::format("compile: a metric is called \"{}\", {}: metric(name, function) makes one of another name",
                            name, reason));
  };
  for (const Watched& watched : metrics_) {
    if (of_losses.contains(watched.name)) refuse(watched.name, "as a loss is in the logs");
    if (watched.name.starts_with("val_")) refuse(watched.name, "but names with \"val_\" are those of validation");
    if (!names.insert(watched.name).second) refuse(watched.name, "as another one is");
  }
}

Rows Trainer::target_rows(const TensorList& targets) const {
  try {
    return checked_targets(targets);
  } catch (const Error& error) {
    body_.refuse(error);
  }
}

Rows Trainer::checked_targets(const TensorList& targets) const {
  const auto& names = body_.graph.output_names;
  const Tensors ordered = targets.ordered(names, "target");
  std::vector<DType> wanted;
  for (std::size_t k = 0; k < ordered.size(); ++k)
    wanted.push_back(ordered[k].defined() && !is_floating(ordered[k].dtype()) ? ordered[k].dtype()
                                                                              : body_.outputs[k].dtype());
  const Rows rows(ordered, names, "targets", wanted);
  for (std::size_t k = 0; k < names.size(); ++k)
    if (losses_[k].takes_labels() && rows.tensors()[k].dtype() == i64)
      check_labels(rows.tensors()[k], body_.outputs[k].shape().back(), names[k]);
  return rows;
}

void Trainer::check_targets(const Tensors& targets) const {
  for (std::size_t k = 0; k < targets.size(); ++k) {
    const Shape& shape = body_.outputs[k].shape();
    const bool open = shape.rank() > 0 && shape[0] == kOpen;
    const Tensor target = symbol(targets[k].shape(), targets[k].dtype(), "targets");
    const Tensor prediction =
        symbol(open ? shape.with(0, targets[k].shape()[0]) : shape, body_.outputs[k].dtype(), "predictions");
    // What the user wrote may look at values, which symbols have none of.
    if (losses_[k].saveable()) losses_[k].per_sample(target, prediction);
    for (const Watched& watched : metrics_)
      if (watched.output == k && watched.metric.saveable()) watched.metric.per_sample(target, prediction);
  }
}

Rows Trainer::weight_rows(const Tensor& weights, std::int64_t rows) const {
  if (!weights.defined()) return {};
  if (weights.shape() != Shape{rows})
    throw Error(fmt::format("fit: sample_weight has shape {} where the data have {}", weights.shape().text(),
                            counted(rows, "row")));
  double total = 0;
  for (const double weight : weights.values<double>()) {
    if (!(weight >= 0) || std::isinf(weight))
      throw Error(fmt::format("fit: sample_weight holds {}: weights are finite and not negative", weight));
    total += weight;
  }
  if (total == 0) throw Error("fit: sample_weight is 0 for every row");
  return Rows({weights}, {}, "sample_weight", {body_.outputs[0].dtype()});
}

Trainer::Losses Trainer::losses(const Tensors& outputs, const Batch& batch) const {
  Losses found;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    Tensor each = per_sample(losses_[k], batch.targets[k], outputs[k]);
    if (batch.weights.defined()) {
      if (each.rank() == 0)
        throw Error(
            fmt::format("loss \"{}\" gives one number for all rows, so sample_weight cannot weigh them: give one for "
                        "each row",
                        losses_[k].name()));
      if (each.shape()[0] != batch.rows())
        throw Error(
            fmt::format("loss \"{}\" gives shape {} for {}, so sample_weight cannot weigh them: its first axis "
                        "must be the batch's",
                        losses_[k].name(), each.shape().text(), counted(batch.rows(), "row")));
      Tensor spread = batch.weights;
      while (spread.rank() < each.rank()) spread = expand_dims(spread, -1);
      each = each * spread;
    }
    Tensor loss = mean(each);
    Tensor part = weights_[k] == 1 ? loss : loss * weights_[k];
    found.total = found.total.defined() ? found.total + part : part;
    found.each.push_back(detach(loss));
  }
  return found;
}

bool Trainer::losses_are_known() const {
  return std::all_of(losses_.begin(), losses_.end(), [](const Loss& loss) { return loss.saveable(); });
}

std::vector<Spec> Trainer::target_specs(const Tensors& outputs) const {
  std::vector<Spec> specs;
  for (std::size_t k = 0; k < outputs.size(); ++k)
    specs.push_back(losses_[k].takes_labels() ? Spec{outputs[k].shape().without(-1), i64}
                                              : Spec{outputs[k].shape(), outputs[k].dtype()});
  return specs;
}

Trainer::Tally::Tally(const Trainer& trainer)
    : trainer_(trainer), means_(1 + trainer.losses_.size() + trainer.metrics_.size()) {}

void Trainer::Tally::add(const Tensors& measured, std::int64_t rows) {
  for (std::size_t k = 0; k < means_.size(); ++k) means_[k].add(measured[k].item<double>(), rows);
}

Logs Trainer::Tally::logs(const std::string& prefix) const {
  Logs logs;
  std::size_t k = 0;
  logs.emplace_back(prefix + "loss", means_[k++].value());
  for (std::size_t output = 0; output < trainer_.losses_.size(); ++output, ++k)
    if (trainer_.losses_.size() > 1)
      logs.emplace_back(prefix + trainer_.body_.graph.output_names[output] + "_loss", means_[k].value());
  for (const Watched& watched : trainer_.metrics_) logs.emplace_back(prefix + watched.name, means_[k++].value());
  std::sort(logs.begin(), logs.end());
  return logs;
}

Tensors Trainer::measured(const Losses& losses, const Tensors& outputs, const Batch& batch) const {
  Tensors all{losses.total};
  all.insert(all.end(), losses.each.begin(), losses.each.end());
  for (const Watched& watched : metrics_) {
    const Tensor values = per_sample(watched.metric, batch.targets[watched.output], outputs[watched.output]);
    all.push_back(mean(is_floating(values.dtype()) ? values : cast(values, f32)));
  }
  return all;
}

void Trainer::try_first_row(const Rows& inputs, const Rows& targets, const Rows& weights) const {
  const StateGuard states(parameters_);
  evaluate(inputs.range(0, 1), targets.range(0, 1), weights.count() > 0 ? weights.range(0, 1) : weights, 1, "");
}

void Trainer::try_training(const Rows& inputs) const {
  const RecordingScope off(false);
  const StateGuard states(parameters_);
  const PrecisionScope precision(body_.compiled->precision);
  body_.call(inputs.batch(), {.training = true, .seed = body_.seed, .step = tensor(body_.steps_done)});
}

Logs Trainer::evaluate(const Rows& inputs, const Rows& targets, const Rows& weights, std::int64_t batch_size,
                       const std::string& prefix) const {
  const RecordingScope off(false);
  const PrecisionScope precision(body_.compiled->precision);
  const auto measure = [&](const Tensors& tensors) {
    const Batch batch = unpacked(tensors);
    const Tensors outputs = body_.call(batch.inputs, {});
    return measured(losses(outputs, batch), outputs, batch);
  };
  Tally tally(*this);
  std::vector<const Rows*> sets{&inputs, &targets};
  if (weights.count() > 0) sets.push_back(&weights);
  Batches batches(sets, batch_size);
  for (std::int64_t k = 0; k < batches.count(); ++k) {
    const std::vector<Tensors> found = batches.next();
    const Batch batch{found[0], found[1], found.size() > 2 ? found[2][0] : Tensor()};
    tally.add(body_.planned("evaluate", packed(batch), measure), batch.rows());
  }
  return tally.logs(prefix);
}

}  // namespace twopass
