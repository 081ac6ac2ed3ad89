// Model::fit.
#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
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

class Fitting {
 public:
  Fitting(Model& model, ModelBody& body, const FitOptions& options)
      : body_(body), options_(options), trainer_(body, "fit"), state_{model, options.epochs, 0, options.batch_size} {
    check_batch_size(options.batch_size, "fit");
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
      throw Error(fmt::format("fit: model \"{}\" has no trainable parameter: every layer is frozen, or none has any",
                              body_.title()));
    training_ = samples(inputs, targets, "fit");
    training_.weights = trainer_.weight_rows(options_.sample_weight, training_.count());
    hold_rows_back();
    if (options_.check_finite) {
      training_.inputs.check_finite(body_.graph.input_names, "inputs");
      training_.targets.check_finite(body_.graph.output_names, "targets");
    }
    try_one_row(training_);
    if (validation_.count() > 0) in_validation([&] { try_one_row(validation_); });
  }

  History run() {
    state_.steps_per_epoch = (training_.count() + options_.batch_size - 1) / options_.batch_size;
    Progress progress(options_.verbose, state_.steps_per_epoch);
    History history;
    for (const auto& callback : options_.callbacks) callback->on_train_begin(state_);
    for (int epoch = options_.initial_epoch; epoch < options_.epochs && !state_.stop; ++epoch) {
      for (const auto& callback : options_.callbacks) callback->on_epoch_begin(state_, epoch);
      progress.epoch(epoch + 1, options_.epochs);
      Logs logs = train_epoch(progress);
      if (validation_.count() > 0) {
        const Logs found = trainer_.evaluate(validation_.inputs, validation_.targets, validation_.weights,
                                             options_.batch_size, "val_");
        logs.insert(logs.end(), found.begin(), found.end());
      }
      progress.finish(logs);
      if (const std::string why = body_.unplanned();
          epoch == options_.initial_epoch && !why.empty() && options_.verbose > 0)
        fmt::print("note: {}\n", why);
      for (const auto& callback : options_.callbacks) callback->on_epoch_end(state_, epoch, logs);
      history.add(epoch, logs);
    }
    for (const auto& callback : options_.callbacks) callback->on_train_end(state_);
    return history;
  }

 private:
  Samples samples(const TensorList& inputs, const TensorList& targets, const char* call) const {
    Samples made{body_.input_rows(inputs), trainer_.target_rows(targets)};
    check_rows(made.inputs, made.targets, call);
    return made;
  }

  void hold_rows_back() {
    const ValidationData& given = options_.validation_data;
    const std::int64_t n = training_.count();
    const std::int64_t held = validation_rows(n, given.inputs.empty() ? options_.validation_split : 0);
    if (!given.inputs.empty()) {
      in_validation([&] { validation_ = samples(given.inputs, given.targets, "fit"); });
    } else if (held > 0) {
      validation_ = training_.range(n - held, n);
      training_ = training_.range(0, n - held);
      if (options_.verbose > 0)
        fmt::print("train rows 0…{}, validation rows {}…{} (not shuffled)\n", n - held - 1, n - held, n - 1);
    }
  }

  // Losses and metrics are tried on one row, so that what does not fit is said at once.
  void try_one_row(const Samples& of) const {
    try {
      trainer_.evaluate(of.inputs.range(0, 1), of.targets.range(0, 1), {}, 1, "");
    } catch (const Error& error) {
      trainer_.check_targets(of.targets.batch());
      throw error.within("in a trial on the first row");
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

  Logs train_epoch(Progress& progress) {
    if (options_.shuffle)
      order_ = Random(seed_of(body_.seed, fmt::format("shuffle/{}", body_.epochs_done))).permutation(training_.count());
    std::vector<const Rows*> sets{&training_.inputs, &training_.targets};
    if (training_.weights.count() > 0) sets.push_back(&training_.weights);
    Batches batches(sets, options_.batch_size, order_);
    Trainer::Tally tally(trainer_);
    for (std::int64_t step = 0; step < batches.count(); ++step) {
      train_step(step, batches.next(), tally);
      if (options_.verbose == 1) progress.step(step + 1, tally.logs());
    }
    ++body_.epochs_done;
    return tally.logs();
  }

  void train_step(std::int64_t step, std::vector<Tensors> batch, Trainer::Tally& tally) {
    state_.inputs = std::move(batch[0]);
    state_.targets = std::move(batch[1]);
    for (const auto& callback : options_.callbacks) callback->on_batch_begin(state_, step);
    try {
      trainer_.train_step({state_.inputs, state_.targets, batch.size() > 2 ? batch[2][0] : Tensor()}, tally);
    } catch (const Error& error) {
      for (const auto& callback : options_.callbacks) callback->on_step_error(state_, step, error);
      throw;
    }
    if (options_.callbacks.empty()) return;
    const Logs logs = tally.logs();
    for (const auto& callback : options_.callbacks) callback->on_batch_end(state_, step, logs);
  }

  ModelBody& body_;
  const FitOptions& options_;
  Trainer trainer_;
  Samples training_, validation_;
  std::vector<std::int64_t> order_;
  TrainingState state_;
};

}  // namespace

History Model::fit(const TensorList& inputs, const TensorList& targets, const FitOptions& options) {
  Fitting fitting(*this, body(), options);
  fitting.take(inputs, targets);
  return fitting.run();
}

}  // namespace twopass
