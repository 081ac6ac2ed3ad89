#include <twopass/graph/model/callback.h>

#include <fmt/format.h>

#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/model/monitored.h>

namespace twopass {
namespace {

class EarlyStopping : public Callback {
 public:
  explicit EarlyStopping(const EarlyStoppingOptions& options)
      : options_(options), monitored_("early_stopping", options.monitor, options.mode) {
    if (options.patience < 0)
      throw Error(fmt::format("early_stopping: the patience must be 0 or more, not {}", options.patience));
  }

  bool adds_to_logs() const override { return false; }

  void on_train_begin(TrainingState& state) override {
    monitored_.begin(state.names, state.names_are_all);
    waited_ = 0;
    best_ = monitored_.worst();
    best_weights_.clear();
  }

  void on_epoch_end(TrainingState& state, int epoch, Logs& logs) override {
    const double value = monitored_.in(logs);
    if (epoch < options_.start_from_epoch) return;
    ++waited_;
    if (monitored_.better(value, best_, options_.min_delta)) {
      best_ = value;
      if (!options_.baseline || monitored_.better(value, *options_.baseline, options_.min_delta)) waited_ = 0;
      if (options_.restore_best_weights) {
        best_weights_.clear();
        for (const Parameter& each : state.model.parameters()) best_weights_.emplace_back(each, each.value());
      }
    } else if (waited_ >= options_.patience && epoch > 0) {
      state.stop = true;
    }
  }

  void on_train_end(TrainingState&) override {
    for (const auto& [parameter, value] : best_weights_) parameter.set(value);
    best_weights_.clear();
  }

 private:
  EarlyStoppingOptions options_;
  Monitored monitored_;
  int waited_ = 0;
  double best_ = 0;
  std::vector<std::pair<Parameter, Tensor>> best_weights_;
};

// The whole history is written anew each epoch, so that the file is complete whenever training ends.
class CsvLogger : public Callback {
 public:
  explicit CsvLogger(std::string path) : path_(std::move(path)) {}
  bool adds_to_logs() const override { return false; }
  void on_train_begin(TrainingState&) override {
    check_writable(path_);
    seen_ = History();
  }
  void on_epoch_end(TrainingState&, int epoch, Logs& logs) override {
    seen_.add(epoch, logs);
    seen_.save_csv(path_);
  }

 private:
  std::string path_;
  History seen_;
};

class EpochFunction : public Callback {
 public:
  explicit EpochFunction(std::function<void(int, const Logs&)> f) : f_(std::move(f)) {}
  bool adds_to_logs() const override { return false; }
  void on_epoch_end(TrainingState&, int epoch, Logs& logs) override { f_(epoch, logs); }

 private:
  std::function<void(int, const Logs&)> f_;
};

}  // namespace

CallbackHandle early_stopping(const EarlyStoppingOptions& options) { return std::make_shared<EarlyStopping>(options); }
CallbackHandle csv_logger(const std::string& path) { return std::make_shared<CsvLogger>(path); }
CallbackHandle on_epoch_end(std::function<void(int, const Logs&)> f) {
  if (!f) throw Error("on_epoch_end needs a function");
  return std::make_shared<EpochFunction>(std::move(f));
}

}  // namespace twopass
