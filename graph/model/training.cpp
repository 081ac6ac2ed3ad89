// Model::compile, fit, evaluate, predict and loss.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/progress.h>
#include <twopass/graph/model/trainer.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

void check_batch_size(std::int64_t batch_size, const char* call) {
  if (batch_size < 1) throw Error(fmt::format("{}: the batch size must be at least 1, not {}", call, batch_size));
}

void check_rows(const Rows& inputs, const Rows& targets, const char* call) {
  if (inputs.count() != targets.count())
    throw Error(fmt::format("{}: the inputs have {} rows but the targets {}", call, inputs.count(), targets.count()));
}

// Losses and metrics are tried on one row before anything is changed, so that what does not fit is said at once.
void try_one_row(const Trainer& trainer, const Rows& inputs, const Rows& targets) {
  trainer.evaluate(inputs.range(0, 1), targets.range(0, 1), {}, 1, "");
}

}  // namespace

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
  std::optional<CompileOptions> before = std::exchange(own.compiled, options);
  try {
    Trainer(own, "compile");
    own.forget_plans();
  } catch (...) {
    own.compiled = std::move(before);
    throw;
  }
}

bool Model::compiled() const { return body().compiled.has_value(); }

const Optimizer& Model::optimizer() const {
  if (!compiled()) throw Error(fmt::format("model \"{}\" has no optimizer: call compile() first", name()));
  return body().compiled->optimizer;
}

History Model::fit(const TensorList& inputs, const TensorList& targets, const FitOptions& options) {
  ModelBody& own = body();
  Trainer trainer(own, "fit");
  check_batch_size(options.batch_size, "fit");
  if (options.epochs < 0 || options.initial_epoch < 0)
    throw Error(
        fmt::format("fit: epochs {} and initial_epoch {} must not be negative", options.epochs, options.initial_epoch));
  Rows rows = trainer.input_rows(inputs);
  Rows wanted = trainer.target_rows(targets);
  check_rows(rows, wanted, "fit");
  Tensor weights = trainer.checked_weights(options.sample_weight, rows.count());

  Rows validation_inputs, validation_targets;
  Tensor validation_weights;
  const bool given = !options.validation_data.inputs.empty();
  const std::int64_t held = validation_rows(rows.count(), given ? 0 : options.validation_split);
  if (given) {
    validation_inputs = trainer.input_rows(options.validation_data.inputs);
    validation_targets = trainer.target_rows(options.validation_data.targets);
    check_rows(validation_inputs, validation_targets, "fit: validation_data");
  } else if (held > 0) {
    const std::int64_t n = rows.count(), first = n - held;
    validation_inputs = rows.range(first, n);
    validation_targets = wanted.range(first, n);
    if (weights.defined()) {
      validation_weights = slice(weights, 0, first, n);
      weights = slice(weights, 0, 0, first);
    }
    rows = rows.range(0, first);
    wanted = wanted.range(0, first);
    if (options.verbose > 0)
      fmt::print("train rows 0…{}, validation rows {}…{} (not shuffled)\n", first - 1, first, n - 1);
  }
  if (options.check_finite) {
    rows.check_finite(own.graph.input_names, "inputs");
    wanted.check_finite(own.graph.output_names, "targets");
  }
  try_one_row(trainer, rows, wanted);
  if (validation_inputs.count() > 0) try_one_row(trainer, validation_inputs, validation_targets);

  const std::int64_t n = rows.count();
  const std::int64_t steps = (n + options.batch_size - 1) / options.batch_size;
  History history;
  TrainingState state{*this, options.epochs, steps, options.batch_size};
  Progress progress(options.verbose, steps);
  for (const auto& callback : options.callbacks) callback->on_train_begin(state);
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (int epoch = options.initial_epoch; epoch < options.epochs && !state.stop; ++epoch) {
    for (const auto& callback : options.callbacks) callback->on_epoch_begin(state, epoch);
    progress.epoch(epoch + 1, options.epochs);
    if (options.shuffle) order = Random(seed_of(own.seed, fmt::format("shuffle/{}", own.epochs_done))).permutation(n);
    Trainer::Tally tally(trainer);
    for (std::int64_t step = 0; step < steps; ++step) {
      const auto first = static_cast<std::size_t>(step * options.batch_size);
      const std::span<const std::int64_t> picked(
          order.data() + first, std::min(static_cast<std::size_t>(options.batch_size), order.size() - first));
      state.inputs = rows.batch(picked);
      state.targets = wanted.batch(picked);
      for (const auto& callback : options.callbacks) callback->on_batch_begin(state, step);
      Tensor batch_weights;
      if (weights.defined()) batch_weights = Rows({weights}, {}, "sample_weight").batch(picked)[0];
      try {
        trainer.train_step({state.inputs, state.targets, batch_weights}, tally);
      } catch (const Error& error) {
        for (const auto& callback : options.callbacks) callback->on_step_error(state, step, error);
        throw;
      }
      if (!options.callbacks.empty()) {
        const Logs logs = tally.logs();
        for (const auto& callback : options.callbacks) callback->on_batch_end(state, step, logs);
      }
      if (options.verbose == 1) progress.step(step + 1, tally.logs());
    }
    ++own.epochs_done;
    Logs logs = tally.logs();
    if (validation_inputs.count() > 0) {
      const Logs found =
          trainer.evaluate(validation_inputs, validation_targets, validation_weights, options.batch_size, "val_");
      logs.insert(logs.end(), found.begin(), found.end());
    }
    progress.finish(logs);
    for (const auto& callback : options.callbacks) callback->on_epoch_end(state, epoch, logs);
    history.add(epoch, logs);
  }
  for (const auto& callback : options.callbacks) callback->on_train_end(state);
  return history;
}

Evaluation Model::evaluate(const TensorList& inputs, const TensorList& targets, const EvaluateOptions& options) {
  const Trainer trainer(body(), "evaluate");
  check_batch_size(options.batch_size, "evaluate");
  const Rows rows = trainer.input_rows(inputs);
  const Rows wanted = trainer.target_rows(targets);
  check_rows(rows, wanted, "evaluate");
  const Tensor weights = trainer.checked_weights(options.sample_weight, rows.count());
  const Logs logs = trainer.evaluate(rows, wanted, weights, options.batch_size, "");
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
  Tensors ordered = inputs.ordered(own.graph.input_names, "inputs");
  for (std::size_t k = 0; k < ordered.size(); ++k)
    if (ordered[k].defined() && ordered[k].dtype() != own.inputs[k].dtype())
      ordered[k] = cast(ordered[k], own.inputs[k].dtype());
  const Rows rows(std::move(ordered), own.graph.input_names, "inputs");
  const RecordingScope off(false);
  std::vector<Tensors> parts(own.outputs.size());
  const auto call = [&](const Tensors& tensors) { return own.call(tensors, {}); };
  for (std::int64_t first = 0; first < rows.count(); first += batch_size) {
    const std::int64_t last = std::min(first + batch_size, rows.count());
    const Tensors batch = rows.range(first, last).tensors();
    const Plan* plan = own.plan_for("predict", batch, call);
    const Tensors found = plan ? (*plan)(batch) : call(batch);
    for (std::size_t k = 0; k < found.size(); ++k) parts[k].push_back(found[k]);
  }
  Tensors whole;
  for (const Tensors& each : parts) whole.push_back(concat(each, 0));
  return whole;
}

Tensor Model::loss(const TensorList& inputs, const TensorList& targets, const CallContext& context) const {
  const Trainer trainer(body(), "loss");
  const Rows rows = trainer.input_rows(inputs);
  const Rows wanted = trainer.target_rows(targets);
  check_rows(rows, wanted, "loss");
  return trainer.losses(body().call(rows.tensors(), context), {rows.tensors(), wanted.tensors(), {}}).total;
}

}  // namespace twopass
