// What may look on and take part while a model trains.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/model/history.h>

namespace twopass {

class Model;

/// What a callback sees of training.
struct TrainingState {
  Model& model;
  int epochs = 0;  // the number of the last epoch
  std::int64_t steps_per_epoch = 0;
  std::int64_t batch_size = 0;
  bool stop = false;                    // set it to end training after this epoch
  Tensors inputs = {}, targets = {};    // the batch of the step
  std::vector<std::string> names = {};  // those of an epoch's logs
  bool names_are_all = false;           // neither this callback nor one before it may add to them
};

/// Override what you want to see. Callbacks run in the order in which they were given; logs are shared, so that what
/// one adds at the end of an epoch the next ones and History see.
class Callback {
 public:
  virtual ~Callback() = default;
  virtual void on_train_begin(TrainingState&) {}
  virtual void on_train_end(TrainingState&) {}
  virtual void on_epoch_begin(TrainingState&, int /*epoch*/) {}
  virtual void on_epoch_end(TrainingState&, int /*epoch*/, Logs&) {}
  virtual void on_batch_begin(TrainingState&, std::int64_t /*step*/) {}
  virtual void on_batch_end(TrainingState&, std::int64_t /*step*/, const Logs&) {}
  /// A step was refused, for example as its loss is not finite; the error goes on unless this throws a better one.
  virtual void on_step_error(TrainingState&, std::int64_t /*step*/, const Error&) {}
  /// Whether on_epoch_end may add to the logs. Where no callback does, early_stopping is told before the first step
  /// that what it watches is not there; else after the first epoch.
  virtual bool adds_to_logs() const { return true; }
};

using CallbackHandle = std::shared_ptr<Callback>;

struct EarlyStoppingOptions {
  std::string monitor = "val_loss";
  double min_delta = 0;
  int patience = 0;
  /// "min", "max", or "auto": accuracies are to grow, losses and errors to fall; other names need to be told.
  std::string mode = "auto";
  /// Given, waiting starts anew only with an epoch that is better than this too.
  std::optional<double> baseline = {};
  bool restore_best_weights = false;
  int start_from_epoch = 0;
};
/// Ends training once the monitored value has not improved for `patience` epochs (Keras's rules). Refuses a name that
/// training does not have, listing those that it has.
CallbackHandle early_stopping(const EarlyStoppingOptions& options = {});

struct ModelCheckpointOptions {
  /// Of the file; {epoch}, counted from 1, and the names of logs stand for their values, with a format if one likes:
  /// "{epoch:02}-{val_loss:.2f}.twopass". Folders are made.
  std::string path = {};
  std::string monitor = "val_loss";
  /// As in EarlyStoppingOptions.
  std::string mode = "auto";
  /// Saves only where the monitored value is better than in all epochs that this callback has seen.
  bool save_best_only = false;
  /// save_weights in place of save.
  bool save_weights_only = false;
  /// Given, the first file wants a value better than this.
  std::optional<double> initial_value_threshold = {};
};
/// Saves the model at each epoch's end, or at the best ones (Keras's ModelCheckpoint), from which `load` and fit go on.
/// Refuses, before the first step, a path that can't be written, and where only the best are saved a name that training
/// does not have.
CallbackHandle model_checkpoint(const ModelCheckpointOptions& options);

/// Writes each epoch's logs to a CSV file as it ends. Refuses a path that can't be written before the first step.
CallbackHandle csv_logger(const std::string& path);
/// Calls `f(epoch, logs)` at each epoch's end.
CallbackHandle on_epoch_end(std::function<void(int, const Logs&)> f);

struct GradientChecksOptions {
  /// Beside the first batch of training, the first of every so many epochs; 0 stands for the first alone.
  int every = 0;
  /// How many rows of the batch are checked: gradients are sums over rows.
  std::int64_t rows = 8;
  /// As in GradcheckOptions.
  std::int64_t elements = 0;
  std::uint64_t seed = 1;
  /// Given, it takes each report, of the epoch's number; else one in which something is wrong is an error.
  std::function<void(int, const GradcheckReport&)> report = {};
};
/// Checks the gradients of the compiled loss while training goes on, as the step at hand has them but in double
/// precision, changing nothing; where a step is refused as its loss is not finite, computes it once more to name the op
/// that made the first NaN or infinity.
CallbackHandle gradient_checks(const GradientChecksOptions& options = {});

}  // namespace twopass
