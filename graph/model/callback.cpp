#include <twopass/graph/model/callback.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/graph/model/model.h>

namespace twopass {
namespace {

// Whether a larger value of this name is a better one.
bool grows(const std::string& monitor) {
  if (monitor.ends_with("accuracy")) return true;
  for (const char* falling : {"loss", "error", "crossentropy", "huber"})
    if (monitor.ends_with(falling)) return false;
  throw Error(
      fmt::format("early_stopping: is a larger \"{}\" better or worse? say so by mode \"max\" or \"min\"", monitor));
}

[[noreturn]] void refuse_monitor(const std::string& monitor, const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  const auto validates = [](const std::string& name) { return name.starts_with("val_"); };
  const bool unvalidated = validates(monitor) && std::none_of(names.begin(), names.end(), validates);
  throw Error(fmt::format("early_stopping watches \"{}\", which this training does not have: it has {}{}", monitor,
                          list, unvalidated ? "; validation_split or validation_data gives it more" : ""));
}

class EarlyStopping : public Callback {
 public:
  explicit EarlyStopping(const EarlyStoppingOptions& options) : options_(options) {
    if (options.patience < 0)
      throw Error(fmt::format("early_stopping: the patience must be 0 or more, not {}", options.patience));
    if (options.mode != "auto" && options.mode != "min" && options.mode != "max")
      throw Error(
          fmt::format("early_stopping: the mode must be \"auto\", \"min\" or \"max\", not \"{}\"", options.mode));
    larger_is_better_ = options.mode == "max" || (options.mode == "auto" && grows(options.monitor));
  }

  bool adds_to_logs() const override { return false; }

  void on_train_begin(TrainingState& state) override {
    if (state.names_are_all && std::find(state.names.begin(), state.names.end(), options_.monitor) == state.names.end())
      refuse_monitor(options_.monitor, state.names);
    waited_ = 0;
    best_ = larger_is_better_ ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
    best_weights_.clear();
  }

  void on_epoch_end(TrainingState& state, int epoch, Logs& logs) override {
    const auto found =
        std::find_if(logs.begin(), logs.end(), [&](const auto& each) { return each.first == options_.monitor; });
    if (found == logs.end()) {
      std::vector<std::string> names;
      for (const auto& each : logs) names.push_back(each.first);
      refuse_monitor(options_.monitor, names);
    }
    if (epoch < options_.start_from_epoch) return;
    const double value = found->second;
    ++waited_;
    if (better(value, best_)) {
      best_ = value;
      if (!options_.baseline || better(value, *options_.baseline)) waited_ = 0;
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
  bool better(double value, double than) const {
    return larger_is_better_ ? value - options_.min_delta > than : value + options_.min_delta < than;
  }

  EarlyStoppingOptions options_;
  bool larger_is_better_;
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
