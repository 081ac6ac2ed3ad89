#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/csv.h>
#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>

#include "temporary_folder.h"

using namespace twopass;
using doctest::Contains;

namespace {

// A model whose only weight a callback sets, so that the loss of each epoch is what the test says: |w - 0|.
Model model_of_loss() {
  Model model = Sequential({Dense(1, {.use_bias = false})}, {.input_shape = {1}});
  model.compile({.optimizer = sgd({.learning_rate = 0}), .loss = mean_absolute_error()});
  return model;
}

class Script : public Callback {
 public:
  explicit Script(std::vector<double> losses) : losses_(std::move(losses)) {}
  void on_epoch_begin(TrainingState& state, int epoch) override {
    state.model.parameters()[0].set(tensor({{losses_[static_cast<std::size_t>(epoch)]}}));
  }

 private:
  std::vector<double> losses_;
};

struct Outcome {
  std::size_t epochs;
  double weight;
};

Outcome trained(const std::vector<double>& losses, const EarlyStoppingOptions& options) {
  Model model = model_of_loss();
  const History history = model.fit(ones({1, 1}), zeros({1, 1}),
                                    {.epochs = static_cast<int>(losses.size()),
                                     .verbose = 0,
                                     .callbacks = {std::make_shared<Script>(losses), early_stopping(options)}});
  return {history.epochs().size(), model.parameters()[0].value().at<float>(0)};
}

// Writes the names of the calls that it gets.
class Recorder : public Callback {
 public:
  explicit Recorder(std::string& calls) : calls_(calls) {}
  void on_train_begin(TrainingState&) override { calls_ += "train("; }
  void on_train_end(TrainingState&) override { calls_ += ")"; }
  void on_epoch_begin(TrainingState&, int epoch) override { calls_ += std::to_string(epoch) + "["; }
  void on_epoch_end(TrainingState&, int, Logs&) override { calls_ += "]"; }
  void on_batch_begin(TrainingState&, std::int64_t) override { calls_ += "<"; }
  void on_batch_end(TrainingState&, std::int64_t, const Logs&) override { calls_ += ">"; }

 private:
  std::string& calls_;
};

}  // namespace

TEST_CASE("a callback that is null is refused before anything begins") {
  const Tensor x = input({1}, "x");
  Model model(x, Dense(1)(x));
  model.compile({.loss = mean_squared_error()});
  CHECK_THROWS_WITH_AS(model.fit(ones({2, 1}), ones({2, 1}), {.verbose = 0, .callbacks = {nullptr}}),
                       "fit: callback 0 is null", Error);
}

TEST_CASE("a function to be called at each epoch's end that is empty is refused at once") {
  CHECK_THROWS_WITH_AS(on_epoch_end(nullptr), "on_epoch_end needs a function", Error);
}

TEST_CASE("early stopping ends training once the loss has not improved for `patience` epochs") {
  CHECK(trained({3, 2, 4, 5, 1, 1}, {.monitor = "loss", .patience = 2}).epochs == 4);
  CHECK(trained({3, 2, 4, 1, 5, 6}, {.monitor = "loss", .patience = 2}).epochs == 6);
  CHECK(trained({3, 2, 4, 1}, {.monitor = "loss", .patience = 0}).epochs == 3);
}

TEST_CASE("early stopping takes an improvement by less than min_delta for none") {
  CHECK(trained({3, 2.75, 2.5, 2.25}, {.monitor = "loss", .min_delta = 0.5, .patience = 1}).epochs == 2);
}

TEST_CASE("early stopping brings the best weights back where asked") {
  CHECK(trained({3, 2, 4, 5}, {.monitor = "loss", .patience = 2, .restore_best_weights = true}).weight == 2);
  CHECK(trained({3, 2, 4, 5}, {.monitor = "loss", .patience = 2}).weight == 5);
}

TEST_CASE("early stopping waits for start_from_epoch, and larger is better where the mode says so") {
  CHECK(trained({1, 2, 3, 4, 5}, {.monitor = "loss", .patience = 1, .start_from_epoch = 2}).epochs == 4);
  CHECK(trained({1, 2, 3, 4, 5}, {.monitor = "loss", .patience = 1, .mode = "max"}).epochs == 5);
}

TEST_CASE("early stopping waits anew only after an epoch that beats the baseline too") {
  CHECK(trained({5, 4, 3, 2}, {.monitor = "loss", .patience = 2, .baseline = 1.0}).epochs == 4);
  CHECK(trained({5, 4, 6, 2}, {.monitor = "loss", .patience = 2, .baseline = 1.0}).epochs == 3);
  CHECK(trained({5, 4, 6, 2}, {.monitor = "loss", .patience = 2, .baseline = 4.5}).epochs == 4);
}

TEST_CASE("early stopping asks for the mode of a name whose better side it doesn't know") {
  Model model = model_of_loss();
  TrainingState state{model, 10};
  const auto begin = [&](const EarlyStoppingOptions& options) {
    state.names = {options.monitor};
    early_stopping(options)->on_train_begin(state);
  };
  CHECK_THROWS_WITH_AS(begin({.monitor = "val_f1"}),
                       "early_stopping: is a larger \"val_f1\" better or worse? say so by mode \"max\" or \"min\"",
                       Error);
  begin({.monitor = "val_f1", .mode = "max"});
  for (const char* known :
       {"val_loss", "digit_accuracy", "val_mean_absolute_error", "binary_crossentropy", "huber", "acc", "val_mse"})
    begin({.monitor = known});
  state.names = {"loss"};
  CHECK_THROWS_WITH_AS(early_stopping({.monitor = "f1"})->on_train_begin(state),
                       Contains("say so by mode \"max\" or \"min\"; training has loss and what callbacks add"), Error);
}

TEST_CASE("early stopping refuses a name that training does not have, and options that make no sense") {
  CHECK_THROWS_WITH_AS(trained({1, 2}, {.monitor = "val_loss"}),
                       "early_stopping watches \"val_loss\", which this training does not have: it has loss; "
                       "validation_split or validation_data gives it more",
                       Error);
  CHECK_THROWS_WITH_AS(early_stopping({.patience = -1}), Contains("not -1"), Error);
  CHECK_THROWS_WITH_AS(early_stopping({.mode = "best"}), Contains("not \"best\""), Error);
}

TEST_CASE(
    "early stopping that watches what is not there, and a CSV log that can't be written, are told before a step") {
  const TemporaryFolder folder;
  const auto refused = [&](const CallbackHandle& callback, const FitOptions& with) {
    Model model = model_of_loss();
    std::string calls;
    FitOptions options = with;
    options.verbose = 0;
    options.callbacks = {on_epoch_end([&](int, const Logs&) { calls += "epoch"; }), callback};
    std::string message;
    try {
      model.fit(ones({4, 1}), zeros({4, 1}), options);
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(calls.empty());
    CHECK(model.optimizer().iterations() == 0);
    return message;
  };
  CHECK(refused(early_stopping(), {}) ==
        "early_stopping watches \"val_loss\", which this training does not have: it has loss; validation_split or "
        "validation_data gives it more");
  CHECK(refused(early_stopping({.monitor = "accuracy"}), {.validation_split = 0.5}) ==
        "early_stopping watches \"accuracy\", which this training does not have: it has loss, val_loss");
  CHECK(refused(early_stopping({.monitor = "f1"}), {}) ==
        "early_stopping watches \"f1\", which this training does not have: it has loss");
  const std::string nowhere = folder.at("nowhere/log.csv");
  CHECK(refused(csv_logger(nowhere), {}) == nowhere + ": can't be written: no new file can be made in its folder \"" +
                                                folder.at("nowhere/") + "\": No such file or directory");
}

TEST_CASE("early stopping may watch what a callback before it adds") {
  class Adds : public Callback {
    void on_epoch_end(TrainingState&, int epoch, Logs& logs) override { logs.emplace_back("f1", epoch); }
  };
  Model model = model_of_loss();
  const History history = model.fit(
      ones({1, 1}), zeros({1, 1}),
      {.epochs = 4,
       .verbose = 0,
       .callbacks = {std::make_shared<Adds>(), early_stopping({.monitor = "f1", .patience = 1, .mode = "min"})}});
  CHECK(history.epochs().size() == 2);
}

TEST_CASE("early stopping serves a loop of one's own, and a callback that adds what it watches") {
  Model model = model_of_loss();
  TrainingState state{model, 10};
  const CallbackHandle stop = early_stopping({.monitor = "mine", .patience = 1, .mode = "min"});
  stop->on_train_begin(state);
  int epochs = 0;
  for (; epochs < 10 && !state.stop; ++epochs) {
    Logs logs{{"mine", epochs < 2 ? -epochs : 0}};
    stop->on_epoch_end(state, epochs, logs);
  }
  CHECK(epochs == 3);

  struct Wraps : Callback {
    CallbackHandle inner = early_stopping({.monitor = "f1", .patience = 1, .mode = "min"});
    void on_train_begin(TrainingState& of) override { inner->on_train_begin(of); }
    void on_epoch_end(TrainingState& of, int epoch, Logs& logs) override {
      logs.emplace_back("f1", epoch);
      inner->on_epoch_end(of, epoch, logs);
    }
  };
  const FitOptions options{.epochs = 4, .verbose = 0, .callbacks = {std::make_shared<Wraps>()}};
  CHECK(model.fit(ones({1, 1}), zeros({1, 1}), options).epochs().size() == 2);
}

TEST_CASE("a CSV log that is there is kept where training is refused before its first epoch ends") {
  const TemporaryFolder folder;
  const std::string path = folder.at("log.csv");
  write_file(path, "epoch,loss\n");
  Model model = model_of_loss();
  CHECK_THROWS_AS(model.fit(full({1, 1}, INFINITY), zeros({1, 1}), {.verbose = 0, .callbacks = {csv_logger(path)}}),
                  Error);
  CHECK(read_file(path) == "epoch,loss\n");
}

TEST_CASE("a callback can't compile the model that is trained: the training ends as it was, and may go on afterwards") {
  Model model = model_of_loss();
  bool again = false;
  const auto compiles = on_epoch_end([&](int, const Logs&) {
    if (!again) model.compile({.optimizer = adam(), .loss = mean_squared_error()});
  });
  const FitOptions options{.epochs = 2, .verbose = 0, .callbacks = {compiles}};
  CHECK_THROWS_WITH_AS(model.fit(ones({1, 1}), zeros({1, 1}), options),
                       "compile: model \"model\" is being trained by fit: end that first, which a callback does by "
                       "setting stop in its TrainingState",
                       Error);
  CHECK(model.optimizer().name() == "sgd");
  CHECK(model.optimizer().iterations() == 1);
  again = true;
  model.fit(ones({1, 1}), zeros({1, 1}), options);
  CHECK(model.optimizer().iterations() == 3);
  model.compile({.loss = mean_squared_error()});
}

TEST_CASE("a callback may compile the model once training has ended") {
  struct Compiles : Callback {
    void on_train_end(TrainingState& state) override {
      state.model.compile({.optimizer = adam(), .loss = mean_squared_error()});
    }
  };
  Model model = model_of_loss();
  model.fit(ones({1, 1}), zeros({1, 1}), {.verbose = 0, .callbacks = {std::make_shared<Compiles>()}});
  CHECK(model.optimizer().name() == "adam");
}

TEST_CASE("callbacks are called around training, epochs and batches") {
  std::string calls;
  Model model = model_of_loss();
  model.fit(ones({3, 1}), zeros({3, 1}),
            {.epochs = 2, .batch_size = 2, .verbose = 0, .callbacks = {std::make_shared<Recorder>(calls)}});
  CHECK(calls == "train(0[<><>]1[<><>])");
}

TEST_CASE("what a callback adds to an epoch's logs is seen by the next ones and by the history") {
  class Adds : public Callback {
    void on_epoch_end(TrainingState&, int, Logs& logs) override { logs.emplace_back("learning_rate", 0.5); }
  };
  double seen = 0;
  const auto sees = on_epoch_end([&](int, const Logs& logs) { seen = logs.back().second; });
  Model model = model_of_loss();
  const History history =
      model.fit(ones({1, 1}), zeros({1, 1}), {.verbose = 0, .callbacks = {std::make_shared<Adds>(), sees}});
  CHECK(seen == 0.5);
  CHECK(history["learning_rate"] == std::vector<double>{0.5});
}

TEST_CASE("the CSV log has a header and a line an epoch, with digits that round-trip") {
  const TemporaryFolder folder;
  const std::string path = folder.at("log.csv");
  Model model = model_of_loss();
  const std::vector<double> losses{0.1, 1.0 / 3};
  const History history =
      model.fit(ones({1, 1}), zeros({1, 1}),
                {.epochs = 2, .verbose = 0, .callbacks = {std::make_shared<Script>(losses), csv_logger(path)}});
  const Csv table = read_csv(path, {.dtype = f64});
  CHECK(table.columns == std::vector<std::string>{"epoch", "loss"});
  CHECK(table.values.at<double>(1) == history["loss"][0]);
  CHECK(table.values.at<double>(3) == history["loss"][1]);
}

TEST_CASE("a history is a table to read: a column per name, a line an epoch, small values with an exponent") {
  History history;
  history.add(0, {{"loss", 1.5}, {"val_loss", 0.00025}});
  history.add(1, {{"loss", 0.25}, {"val_loss", std::nan("")}});
  CHECK(history.text() ==
        "epoch        loss    val_loss\n"
        "    1      1.5000  2.5000e-04\n"
        "    2      0.2500         nan\n");
  CHECK(History().text() == "epoch\n");
}
