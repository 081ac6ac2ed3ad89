// Files of a model as it trains.
#include <fmt/args.h>
#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/graph/model/callback.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/model/monitored.h>

namespace twopass {
namespace {

class ModelCheckpoint : public Callback {
 public:
  explicit ModelCheckpoint(const ModelCheckpointOptions& options) : options_(options) {
    if (options.path.empty()) throw Error("model_checkpoint needs a path");
    if (!options.save_best_only) return;
    monitored_.emplace("model_checkpoint", options.monitor, options.mode);
    best_ = options.initial_value_threshold.value_or(monitored_->worst());
  }

  bool adds_to_logs() const override { return false; }

  void on_train_begin(TrainingState& state) override {
    if (monitored_) monitored_->begin(state.names, state.names_are_all);
    if (!state.names_are_all) return;
    Logs logs;
    for (const std::string& name : state.names) logs.emplace_back(name, 0);
    const std::string path = path_of(0, logs);
    const std::string folder = std::filesystem::path(options_.path).parent_path().string();
    if (folder.find('{') != std::string::npos) return;  // the folder's name is known later
    make_folder(path);
    check_writable(path);
  }

  void on_epoch_end(TrainingState& state, int epoch, Logs& logs) override {
    const double value = monitored_ ? monitored_->in(logs) : 0;
    if (monitored_ && !monitored_->better(value, best_)) return;
    const std::string path = path_of(epoch, logs);
    make_folder(path);
    if (options_.save_weights_only)
      state.model.save_weights(path);
    else
      state.model.save(path);
    best_ = value;
  }

 private:
  std::string path_of(int epoch, const Logs& logs) const {
    fmt::dynamic_format_arg_store<fmt::format_context> values;
    values.push_back(fmt::arg("epoch", epoch + 1));
    for (const auto& [name, value] : logs) values.push_back(fmt::arg(name.c_str(), value));
    try {
      return fmt::vformat(options_.path, values);
    } catch (const fmt::format_error& error) {
      std::string names = "epoch";
      for (const auto& each : logs) names += ", " + each.first;
      throw Error(
          fmt::format("model_checkpoint: the path \"{}\" has in braces what is none of {}, or not their format: {}",
                      options_.path, names, error.what()));
    }
  }

  static void make_folder(const std::string& path) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code error;
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
    if (error)
      throw Error(
          fmt::format("model_checkpoint: the folder \"{}\" can't be made: {}", folder.string(), error.message()));
  }

  ModelCheckpointOptions options_;
  std::optional<Monitored> monitored_;  // where only the best are saved
  double best_ = 0;
};

}  // namespace

CallbackHandle model_checkpoint(const ModelCheckpointOptions& options) {
  return std::make_shared<ModelCheckpoint>(options);
}

}  // namespace twopass
