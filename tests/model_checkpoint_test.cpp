// Files that a callback writes of a model as it trains.
#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>

#include "temporary_folder.h"

using namespace twopass;
using doctest::Contains;

namespace {

// Sets the one weight, so that the loss of each epoch, |w|, is what the test says.
class Script : public Callback {
 public:
  explicit Script(std::vector<double> losses) : losses_(std::move(losses)) {}
  bool adds_to_logs() const override { return false; }
  void on_epoch_begin(TrainingState& state, int epoch) override {
    state.model.parameters()[0].set(tensor({{losses_[static_cast<std::size_t>(epoch)]}}));
  }

 private:
  std::vector<double> losses_;
};

Model model_of_loss() {
  Model model = Sequential({Dense(1, {.use_bias = false})}, {.input_shape = {1}});
  model.compile({.optimizer = sgd({.learning_rate = 0}), .loss = mean_absolute_error()});
  return model;
}

void train(Model model, const std::vector<double>& losses, const CallbackHandle& callback) {
  model.fit(ones({1, 1}), zeros({1, 1}),
            {.epochs = static_cast<int>(losses.size()),
             .verbose = 0,
             .callbacks = {std::make_shared<Script>(losses), callback}});
}

double weight_in(const std::string& path) { return load(path).parameters()[0].value().item<double>(); }

}  // namespace

TEST_CASE("a checkpoint is written at each epoch's end, named for the epoch and what it logged") {
  const TemporaryFolder folder;
  train(model_of_loss(), {3, 1, 2}, model_checkpoint({.path = folder.at("runs/{epoch:02}-{loss:.1f}.twopass")}));
  CHECK(weight_in(folder.at("runs/01-3.0.twopass")) == 3);
  CHECK(weight_in(folder.at("runs/02-1.0.twopass")) == 1);
  CHECK(weight_in(folder.at("runs/03-2.0.twopass")) == 2);
}

TEST_CASE("a checkpoint of one name holds the last epoch, or the best one where only these are saved") {
  const TemporaryFolder folder;
  const std::string path = folder.at("model.twopass");
  train(model_of_loss(), {3, 1, 2}, model_checkpoint({.path = path}));
  CHECK(weight_in(path) == 2);
  const auto best = model_checkpoint({.path = path, .monitor = "loss", .save_best_only = true});
  train(model_of_loss(), {3, 1, 2}, best);
  CHECK(weight_in(path) == 1);
  train(model_of_loss(), {4, 1}, best);  // the best of all that it has seen
  CHECK(weight_in(path) == 1);
  train(model_of_loss(), {0.5, 0.75}, best);
  CHECK(weight_in(path) == 0.5);
  train(model_of_loss(), {1, 5, 2},
        model_checkpoint({.path = path, .monitor = "loss", .mode = "max", .save_best_only = true}));
  CHECK(weight_in(path) == 5);
}

TEST_CASE("nothing is saved until the monitored value is better than the threshold that is given") {
  const TemporaryFolder folder;
  const std::string path = folder.at("model.twopass");
  const auto saves =
      model_checkpoint({.path = path, .monitor = "loss", .save_best_only = true, .initial_value_threshold = 1});
  train(model_of_loss(), {3, 1}, saves);
  CHECK_FALSE(is_file(path));
  train(model_of_loss(), {3, 0.5}, saves);
  CHECK(weight_in(path) == 0.5);
}

TEST_CASE("a checkpoint of weights alone is for load_weights, and may be of layers that no file can hold") {
  const TemporaryFolder folder;
  const std::string path = folder.at("weights.safetensors");
  const auto model = [] {
    Model made = Sequential({Dense(1, {.use_bias = false}), Lambda([](const Tensor& x) { return x * 1.0; })},
                            {.input_shape = {1}});
    made.compile({.optimizer = sgd({.learning_rate = 0}), .loss = mean_absolute_error()});
    return made;
  };
  train(model(), {3, 2}, model_checkpoint({.path = path, .save_weights_only = true}));
  Model again = model();
  again.load_weights(path);
  CHECK(again.parameters()[0].value().item<double>() == 2);
  CHECK_THROWS_WITH_AS(train(model(), {3}, model_checkpoint({.path = path})), Contains("(Lambda) can't be saved"),
                       Error);
}

TEST_CASE("a checkpoint that cannot be written, or watches what there is not, is refused before the first step") {
  const TemporaryFolder folder;
  Model model = model_of_loss();
  model.parameters()[0].set(tensor({{7.0}}));
  const auto refuses = [&](const ModelCheckpointOptions& options, const char* message) {
    CHECK_THROWS_WITH_AS(train(model, {3}, model_checkpoint(options)), Contains(message), Error);
    CHECK(model.parameters()[0].value().item<double>() == 7);
  };
  refuses({.path = ""}, "model_checkpoint needs a path");
  refuses({.path = folder.path}, folder.path.c_str());
  refuses({.path = folder.at("{nothing}")}, "has in braces what is none of epoch, loss");
  refuses({.path = folder.at("{epoch:s}")}, "or not their format");
  refuses({.path = folder.at("m"), .save_best_only = true},
          "model_checkpoint watches \"val_loss\", which this training does not have: it has loss; validation_split");
  refuses({.path = folder.at("m"), .monitor = "gain", .save_best_only = true},
          "model_checkpoint watches \"gain\", which this training does not have: it has loss");
  refuses({.path = folder.at("m"), .monitor = "loss", .mode = "least", .save_best_only = true},
          "the mode must be \"auto\", \"min\" or \"max\", not \"least\"");
  write_file(folder.at("file"), "");
  refuses({.path = folder.at("file/m")}, "can't be made");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}
