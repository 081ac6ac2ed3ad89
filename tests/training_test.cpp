#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <twopass/core/datasets.h>
#include <twopass/core/error.h>
#include <twopass/graph/layers/attention.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/precision.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "small_models.h"

using namespace twopass;
using doctest::Contains;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("F9: the loss of several outputs is the weighted sum, and each output's own is not weighted") {
  const Tensor x = input({1}, "x");
  Model model(x, {Identity({.name = "a"})(x), Dense(1, {.use_bias = false, .name = "b"})(x)});
  model.parameters()[0].set(tensor({{0.0}}));
  CHECK_THROWS_WITH_AS(model.compile({.loss = {{"a", mean_squared_error()}}}), Contains("output \"b\" has no loss"),
                       Error);
  CHECK_THROWS_WITH_AS(model.compile({.loss = {{"a", mean_squared_error()}, {"c", mean_squared_error()}}}),
                       Contains("given for output \"c\", but the outputs are \"a\", \"b\""), Error);
  model.compile({.loss = mean_absolute_error(), .loss_weights = {{"b", 0.5}}});
  const Evaluation found = model.evaluate(zeros({1, 1}), {tensor({{3.0}}), tensor({{4.0}})});
  CHECK(found["a_loss"] == 3);
  CHECK(found["b_loss"] == 4);
  CHECK(found["loss"] == 5);
}

TEST_CASE("numbers of epochs below 0 are refused, and predict of several outputs says what gives them") {
  Model model = scale_model();
  CHECK_THROWS_WITH_AS(model.fit(ones({3, 1}), ones({3, 1}), {.epochs = -1}),
                       "fit: epochs -1 and initial_epoch 0 must not be negative", Error);
  CHECK_THROWS_WITH_AS(model.fit(ones({3, 1}), ones({3, 1}), {.initial_epoch = -2}), Contains("initial_epoch -2"),
                       Error);
  const Tensor x = input({1});
  Model two(x, {Dense(1)(x), Dense(2)(x)}, {.name = "two"});
  CHECK_THROWS_WITH_AS(two.predict(ones({3, 1})), "predict: model \"two\" has 2 outputs: predict_all() gives them",
                       Error);
  CHECK(two.predict_all(ones({3, 1}))[1].shape() == Shape({3, 2}));
}

TEST_CASE("F13: the loss of an epoch is the mean over rows, also where the last batch is smaller") {
  // Losses 0 … 9 of ten rows: 4.5; the mean of the means of batches of 4, 4 and 2 would be 5.1667.
  Model model = scale_model(0, sgd({.learning_rate = 0}));
  CHECK(model.fit(zeros({10, 1}), counting(10), {.batch_size = 4, .shuffle = false, .verbose = 0})["loss"][0] == 4.5);
  CHECK(model.evaluate(zeros({10, 1}), counting(10), {.batch_size = 4})["loss"] == 4.5);
}

TEST_CASE("F17: a loss that is not finite ends training with its step, and keeps the last good weights") {
  Model model = scale_model(0, sgd({.learning_rate = 0.5}));
  const Tensor x = ones({3, 1}), y = tensor({{1.0}, {kInf}, {1.0}});
  CHECK_THROWS_WITH_AS(model.fit(x, y, {.batch_size = 1, .shuffle = false, .verbose = 0}),
                       Contains("batch 2 of 3 (step 2 over all calls of fit)"), Error);
  CHECK(weight_of(model) == 0.5);
}

TEST_CASE("F17: the epoch and batch of a loss that is not finite are those of this fit, its step that of all fits") {
  Model model = scale_model(0, sgd({.learning_rate = 0}));
  model.fit(ones({3, 1}), ones({3, 1}), {.epochs = 2, .batch_size = 1, .verbose = 0});
  CHECK_THROWS_WITH_AS(
      model.fit(ones({3, 1}), tensor({{1.0}, {kInf}, {1.0}}), {.batch_size = 1, .shuffle = false, .verbose = 0}),
      "the loss is inf: the weights are those of the step before\n"
      "  in epoch 1 of 1, batch 2 of 3 (step 8 over all calls of fit), whose targets \"dense\" hold inf in row 1",
      Error);
}

TEST_CASE("F20: an exception of a callback arrives, and the model goes on") {
  Model model = classifier();
  const Points data = points(30);
  const auto bad = on_epoch_end([](int, const Logs&) { throw std::runtime_error("no disk"); });
  CHECK_THROWS_WITH(model.fit(data.x, data.labels, {.verbose = 0, .callbacks = {bad}}), "no disk");
  CHECK(std::isfinite(model.fit(data.x, data.labels, {.verbose = 0})["loss"][0]));
}

TEST_CASE("F21: looking at the model between epochs does not change what training does") {
  const Points data = points(60);
  Model quiet = classifier(), watched = classifier();
  quiet.fit(data.x, data.labels, {.epochs = 3, .verbose = 0});
  const auto look = on_epoch_end([&](int, const Logs&) {
    watched.evaluate(data.x, data.labels);
    watched.predict(data.x);
  });
  watched.fit(data.x, data.labels, {.epochs = 3, .verbose = 0, .callbacks = {look}});
  CHECK(weights_of(quiet) == weights_of(watched));
}

TEST_CASE("F22: training in two parts is training in one") {
  const Points data = points(60);
  Model whole = classifier(), parts = classifier();
  whole.fit(data.x, data.labels, {.epochs = 4, .verbose = 0});
  parts.fit(data.x, data.labels, {.epochs = 2, .verbose = 0});
  const History rest = parts.fit(data.x, data.labels, {.epochs = 4, .verbose = 0, .initial_epoch = 2});
  CHECK(weights_of(whole) == weights_of(parts));
  CHECK(rest.epochs() == std::vector<int>{2, 3});
}

TEST_CASE("training learns, and its history has a value per name and epoch") {
  const Points data = points(90);
  Model model = classifier();
  const History history = model.fit(data.x, data.labels, {.epochs = 60, .validation_split = 0.2, .verbose = 0});
  CHECK(history.names() == std::vector<std::string>{"accuracy", "loss", "val_accuracy", "val_loss"});
  CHECK(history["val_accuracy"].size() == 60);
  CHECK(history["val_accuracy"].back() == 1);
  CHECK_THROWS_WITH_AS(history["val_los"], Contains("history has no \"val_los\": it has accuracy, loss"), Error);
}

TEST_CASE("T8: equal seeds give equal bits, other seeds others") {
  const auto trained = [](std::uint64_t seed) {
    const Points data = points(60);
    Model model = classifier(seed);
    model.fit(data.x, data.labels, {.epochs = 2, .verbose = 0});
    return weights_of(model);
  };
  CHECK(trained(1) == trained(1));
  CHECK(trained(1) != trained(2));
}

TEST_CASE("T12: a frozen layer keeps its bits from the next step on, and goes on once it is thawed") {
  const Points data = points(30);
  Model model = classifier();
  model.layer("dense").set_trainable(false);
  const auto before = weights_of(model);
  model.fit(data.x, data.labels, {.verbose = 0});
  const auto frozen = weights_of(model);
  CHECK(frozen[0] == before[0]);
  CHECK(frozen[2] != before[2]);
  model.layer("dense").set_trainable(true);
  model.fit(data.x, data.labels, {.verbose = 0});
  CHECK(weights_of(model)[0] != frozen[0]);
}

TEST_CASE("a model that was not compiled says so") {
  Model model = Sequential({Dense(1)}, {.input_shape = {1}});
  CHECK_THROWS_WITH_AS(model.fit(zeros({1, 1}), zeros({1, 1})), Contains("model \"model\" has not been compiled"),
                       Error);
}

TEST_CASE("a model checks its own gradients against numerical differentiation") {
  const Points data = points(4);
  const GradcheckReport report = classifier().check_gradients(data.x, data.labels);
  CHECK(report.ok());
}

TEST_CASE("training in bf16 follows training in f32 within three per cent of the loss, or is refused with the reason") {
  const auto digits = data::glyphs({.samples = 1000});
  const Tensor targets = one_hot(digits.labels, 10);
  const auto losses = [&](Precision precision) {
    const Tensor image = input({784}, "image");
    const Tensor h = Dense(256, {.activation = "relu"})(Dense(256, {.activation = "relu"})(image));
    Model model(image, Dense(10, {.activation = "softmax"})(h), {.seed = 5});
    model.compile({.optimizer = adam(), .loss = categorical_crossentropy(), .precision = precision});
    const History history = model.fit(digits.inputs, targets, {.epochs = 4, .batch_size = 100, .verbose = 0});
    for (const auto& [path, parameter] : model.named_parameters()) CHECK(parameter.dtype() == f32);
    return history["loss"];
  };
  if (!bf16_available()) {
    CHECK_THROWS_WITH_AS(losses(Precision::bf16), doctest::Contains("products in bf16 need"), Error);
    return;
  }
  const auto single = losses(Precision::single), half = losses(Precision::bf16);
  CHECK(half != single);
  for (std::size_t epoch = 0; epoch < single.size(); ++epoch) {
    CAPTURE(epoch);
    CHECK(half[epoch] == doctest::Approx(single[epoch]).epsilon(0.03));
  }
}

TEST_CASE("a model whose layers are all frozen is not fitted, and fit says why") {
  const Tensor x = input({4}, "x");
  Model model(x, Dense(1)(x), {.name = "stiff"});
  model.compile({.loss = mean_squared_error()});
  model.set_trainable(false);
  CHECK_THROWS_WITH_AS(model.fit(ones({8, 4}), ones({8, 1}), {.verbose = 0}),
                       "fit: model \"stiff\" has no trainable parameter: every layer is frozen, or none has any that "
                       "add_weight(), own_parameters() or parts() tell of",
                       Error);
  model.set_trainable(true);
  CHECK(model.fit(ones({8, 4}), ones({8, 1}), {.verbose = 0})["loss"].size() == 1);
}

TEST_CASE("what is refused in the middle of planned training names the layer") {
  const Tensor x = input({}, "word", i64);
  Model model(x, Dense(1)(Embedding(3, 2, {.name = "words"})(x)));
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  for (const std::int64_t bad : {7, -9})
    CHECK_THROWS_WITH_AS(model.fit(tensor({std::int64_t{0}, bad}), ones({2, 1}), {.batch_size = 2, .verbose = 0}),
                         doctest::Contains("in layer \"words\""), Error);
  CHECK(model.optimizer().iterations() == 0);
}

TEST_CASE("an update that is not finite names the parameter with its layer") {
  for (const bool eagerly : {false, true}) {
    const Tensor x = input({4});
    Model model(x, Dense(2)(Dense(3, {.name = "trunk"})(x)));
    model.compile(
        {.optimizer = rmsprop({.learning_rate = 1e39}), .loss = mean_squared_error(), .run_eagerly = eagerly});
    CHECK_THROWS_WITH_AS(
        model.fit(ones({8, 4}), ones({8, 2}), {.verbose = 0}),
        doctest::Contains("rmsprop: update 1 of parameter \"trunk/kernel\" is not finite; nothing was changed"), Error);
  }
}
