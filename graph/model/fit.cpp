// Model::fit.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string_view>
#include <utility>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/finite.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/core/random.h>
#include <twopass/graph/model/batches.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/progress.h>
#include <twopass/graph/model/trainer.h>

namespace twopass {
namespace {

// Rows with what they are compared with and how much they count.
struct Samples {
  Rows inputs, targets;
  Rows weights = {};

  std::int64_t count() const { return inputs.count(); }
  Samples range(std::int64_t first, std::int64_t last) const {
    return {inputs.range(first, last), targets.range(first, last),
            weights.count() > 0 ? weights.range(first, last) : weights};
  }
};

// What is compiled stays the same in it.
class FittedScope {
 public:
  explicit FittedScope(ModelBody& body) : body_(body), before_(std::exchange(body.fitted, true)) {}
  ~FittedScope() { body_.fitted = before_; }
  FittedScope(const FittedScope&) = delete;
  FittedScope& operator=(const FittedScope&) = delete;

 private:
  ModelBody& body_;
  bool before_;
};

class Fitting {
 public:
  Fitting(Model& model, ModelBody& body, const FitOptions& options)
      : body_(body), options_(options), trainer_(body, "fit"), state_{model, options.epochs, 0, options.batch_size} {
    check_batch_size(options.batch_size, "fit");
    check_verbose(options.verbose, "fit");
    if (options.epochs < 0 || options.initial_epoch < 0)
      throw Error(fmt::format("fit: epochs {} and initial_epoch {} must not be negative", options.epochs,
                              options.initial_epoch));
    for (std::size_t k = 0; k < options.callbacks.size(); ++k)
      if (!options.callbacks[k]) throw Error(fmt::format("fit: callback {} is null", k));
  }

  // Everything that can be wrong with model or data is found before anything changes.
  void take(const TensorList& inputs, const TensorList& targets) {
    const Parameters parameters = body_.parameters();
    if (std::none_of(parameters.begin(), parameters.end(), [](const Parameter& each) { return each.trainable(); }))
      throw Error(
          fmt::format("fit: model \"{}\" has no trainable parameter: every layer is frozen, or none has any that "
                      "add_weight(), own_parameters() or parts() tell of",
                      body_.title()));
    training_ = samples(inputs, targets, "fit");
    training_.weights = trainer_.weight_rows(options_.sample_weight, training_.count());
    if (options_.check_finite) check_finite(training_);
    hold_rows_back();
    try_one_row(training_);
    if (validation_.count() > 0) in_validation([&] { try_one_row(validation_); });
    try_batch_of_one_row();
    trainer_.prepare(first_batch());
  }

  History run() {
    state_.steps_per_epoch = (training_.count() + options_.batch_size - 1) / options_.batch_size;
    Progress progress(options_.verbose, state_.steps_per_epoch);
    History history;
    train(progress, history);
    for (const auto& callback : options_.callbacks) callback->on_train_end(state_);
    return history;
  }

 private:
  void train(Progress& progress, History& history) {
    const FittedScope fitted(body_);
    begin_callbacks();
    for (int epoch = options_.initial_epoch; epoch < options_.epochs && !state_.stop; ++epoch) {
      for (const auto& callback : options_.callbacks) callback->on_epoch_begin(state_, epoch);
      if (epoch == options_.initial_epoch) prepare();
      progress.epoch(epoch + 1, options_.epochs);
      Logs logs = train_epoch(progress, epoch);
      if (validation_.count() > 0) {
        const Logs found = trainer_.evaluate(validation_.inputs, validation_.targets, validation_.weights,
                                             options_.batch_size, "val_");
        logs.insert(logs.end(), found.begin(), found.end());
      }
      progress.finish(logs);
      note_validation(logs);
      for (const auto& callback : options_.callbacks) callback->on_epoch_end(state_, epoch, logs);
      history.add(epoch, logs);
    }
  }

  void begin_callbacks() {
    const Trainer::Tally none(trainer_);
    for (const auto& each : none.logs()) state_.names.push_back(each.first);
    if (validation_.count() > 0)
      for (const auto& each : none.logs("val_")) state_.names.push_back(each.first);
    state_.names_are_all = true;
    for (const auto& callback : options_.callbacks) {
      state_.names_are_all = state_.names_are_all && !callback->adds_to_logs();
      callback->on_train_begin(state_);
    }
  }

  Samples samples(const TensorList& inputs, const TensorList& targets, const char* call) const {
    Samples made{body_.input_rows(inputs), trainer_.target_rows(targets)};
    check_rows(made.inputs, made.targets, call);
    return made;
  }

  // "inputs "image" hold nan in row 5", of rows that have these numbers; empty where all are finite.
  template <typename NumberOf>
  static std::string not_finite(const Rows& rows, const std::vector<std::string>& names, const char* what,
                                const NumberOf& number_of) {
    const auto found = rows.not_finite();
    if (!found) return {};
    return fmt::format("{} \"{}\" hold {} in row {}", what, names[found->tensor], found->value, number_of(found->row));
  }
  template <typename NumberOf>
  std::string not_finite(const Samples& samples, const NumberOf& number_of) const {
    const std::string inputs = not_finite(samples.inputs, body_.graph.input_names, "inputs", number_of);
    return inputs.empty() ? not_finite(samples.targets, body_.graph.output_names, "targets", number_of) : inputs;
  }

  void check_finite(const Samples& samples) const {
    if (const std::string where = not_finite(samples, std::identity()); !where.empty()) throw Error("fit: " + where);
  }

  // What is not finite of what a step reads: empty where everything is.
  std::string not_finite(std::int64_t step) const {
    const auto number_of = [&](std::int64_t row) {
      const std::int64_t at = step * options_.batch_size + row;
      return order_.empty() ? at : order_[static_cast<std::size_t>(at)];
    };
    const Samples batch{Rows(state_.inputs, body_.graph.input_names, "inputs"),
                        Rows(state_.targets, body_.graph.output_names, "targets")};
    if (const std::string where = not_finite(batch, number_of); !where.empty()) return where;
    for (const auto& [path, parameter] : body_.named_parameters()) {
      const Tensor value = parameter.value();
      if (!all_finite(value.node().data, value.elements(), value.dtype()))
        return fmt::format("weight \"{}\" is not finite", path);
    }
    return {};
  }

  Trainer::Batch first_batch() const {
    const Samples first = training_.range(0, std::min(options_.batch_size, training_.count()));
    return {first.inputs.batch(), first.targets.batch(),
            first.weights.count() > 0 ? first.weights.batch()[0] : Tensor()};
  }

  // The plan is made before the first line of progress, so that what it says stands by itself.
  void prepare() const {
    body_.take_unplanned();  // of steps on other data
    trainer_.prepare(first_batch());
    if (const std::string why = body_.take_unplanned(); !why.empty() && options_.verbose > 0)
      fmt::print("note: {}\n", why);
  }

  // Said once: training goes on, as its own data may be good.
  void note_validation(const Logs& logs) {
    if (options_.verbose == 0 || validation_noted_) return;
    for (const auto& [name, value] : logs) {
      if (!name.starts_with("val_") || std::isfinite(value)) continue;
      const std::string where = not_finite(validation_, [&](std::int64_t row) { return first_validation_row_ + row; });
      fmt::print("note: {} is {}: {}\n", name, value,
                 where.empty() ? "the data of validation are finite, so what the model makes of them is not"
                               : "of validation, " + where);
      validation_noted_ = true;
      return;
    }
  }

  void hold_rows_back() {
    const ValidationData& given = options_.validation_data;
    const std::int64_t n = training_.count();
    const std::int64_t held = validation_rows(n, given.inputs.empty() ? options_.validation_split : 0);
    if (!given.inputs.empty()) {
      in_validation([&] {
        validation_ = samples(given.inputs, given.targets, "fit");
        if (options_.check_finite) check_finite(validation_);
      });
    } else if (held > 0) {
      first_validation_row_ = n - held;
      validation_ = training_.range(n - held, n);
      training_ = training_.range(0, n - held);
      if (options_.verbose > 0)
        fmt::print("train rows 0…{}, validation rows {}…{} (not shuffled)\n", n - held - 1, n - held, n - 1);
    }
  }

  // Losses and metrics are tried on one row, so that what does not fit is said at once.
  void try_one_row(const Samples& of) const {
    try {
      trainer_.try_first_row(of.inputs, of.targets, of.weights);
    } catch (const Error& error) {
      trainer_.check_targets(of.targets.batch());
      throw error.within("in a trial on the first row");
    }
  }

  // What learns from how rows differ refuses one alone, which may come last in an epoch.
  void try_batch_of_one_row() const {
    const std::int64_t rows = training_.count(), size = options_.batch_size;
    if (size != 1 && rows % size != 1) return;
    try {
      trainer_.try_training(training_.inputs.range(0, 1));
    } catch (const Error& error) {
      throw error.within(
          fmt::format("in a trial on one row, as {} of {} in batches of {} is one row: another batch_size or number of "
                      "rows leaves none",
                      size == 1 || rows == 1 ? "each batch" : "the last batch", counted(rows, "row"), size));
    }
  }

  template <typename F>
  static void in_validation(const F& f) {
    try {
      f();
    } catch (const Error& error) {
      throw error.within("in validation_data");
    }
  }

  Logs train_epoch(Progress& progress, int epoch) {
    if (options_.shuffle)
      order_ = Random(seed_of(body_.seed, fmt::format("shuffle/{}", body_.epochs_done))).permutation(training_.count());
    std::vector<const Rows*> sets{&training_.inputs, &training_.targets};
    if (training_.weights.count() > 0) sets.push_back(&training_.weights);
    Batches batches(sets, options_.batch_size, order_);
    Trainer::Tally tally(trainer_);
    for (std::int64_t step = 0; step < batches.count(); ++step) {
      train_step(epoch, step, batches.next(), tally);
      if (options_.verbose == 1) progress.step(step + 1, tally.logs());
    }
    ++body_.epochs_done;
    return tally.logs();
  }

  void train_step(int epoch, std::int64_t step, std::vector<Tensors> batch, Trainer::Tally& tally) {
    state_.inputs = std::move(batch[0]);
    state_.targets = std::move(batch[1]);
    for (const auto& callback : options_.callbacks) callback->on_batch_begin(state_, step);
    try {
      trainer_.train_step({state_.inputs, state_.targets, batch.size() > 2 ? batch[2][0] : Tensor()}, tally);
    } catch (const Error& error) {
      const std::string where = not_finite(step);
      const Error told = error.within(fmt::format("in epoch {} of {}, batch {} of {} (step {} over all calls of fit){}",
                                                  epoch + 1, options_.epochs, step + 1, state_.steps_per_epoch,
                                                  body_.steps_done + 1, where.empty() ? "" : ", whose " + where));
      for (const auto& callback : options_.callbacks) callback->on_step_error(state_, step, told);
      const bool of_layer = where.empty() && std::string_view(error.what()).starts_with("the loss is ");
      throw of_layer ? told.within("a gradient_checks() callback or an AnomalyScope names the op that made it first")
                     : told;
    }
    if (options_.callbacks.empty()) return;
    const Logs logs = tally.logs();
    for (const auto& callback : options_.callbacks) callback->on_batch_end(state_, step, logs);
  }

  ModelBody& body_;
  const FitOptions& options_;
  Trainer trainer_;
  Samples training_, validation_;
  std::int64_t first_validation_row_ = 0;  // its number in the data that were split
  bool validation_noted_ = false;
  std::vector<std::int64_t> order_;
  TrainingState state_;
};

}  // namespace

History Model::fit(const TensorList& inputs, const TensorList& targets, const FitOptions& options) {
  if (LiftScope::active() || ParameterSandbox::active())
    throw Error(
        fmt::format("fit: model \"{}\" is trained in a function that a plan is made of, or that runs eagerly "
                    "within one: compile what calls it with .run_eagerly",
                    name()));
  if (body().fitted)
    throw Error(
        fmt::format("fit: model \"{}\" is being trained by fit already: a callback ends that by setting stop in its "
                    "TrainingState",
                    name()));
  Fitting fitting(*this, body(), options);
  fitting.take(inputs, targets);
  return fitting.run();
}

}  // namespace twopass
