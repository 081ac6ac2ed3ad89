// What may look on and take part while a model trains.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <twopass/graph/model/history.h>

namespace twopass {

class Model;

/// What a callback sees of training.
struct TrainingState {
  Model& model;
  int epochs = 0;  // the number of the last epoch
  std::int64_t steps_per_epoch = 0;
  std::int64_t batch_size = 0;
  bool stop = false;  // set it to end training after this epoch
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
};

using CallbackHandle = std::shared_ptr<Callback>;

struct EarlyStoppingOptions {
  std::string monitor = "val_loss";
  double min_delta = 0;
  int patience = 0;
  /// "auto", "min" or "max".
  std::string mode = "auto";
  bool restore_best_weights = false;
  int start_from_epoch = 0;
};
/// Ends training once the monitored value has not improved for `patience` epochs (Keras's rules).
CallbackHandle early_stopping(const EarlyStoppingOptions& options = {});
/// Writes each epoch's logs to a CSV file as it ends.
CallbackHandle csv_logger(const std::string& path);
/// Calls `f(epoch, logs)` at each epoch's end.
CallbackHandle on_epoch_end(std::function<void(int, const Logs&)> f);

}  // namespace twopass
