#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <twopass/core/datasets.h>
#include <twopass/core/error.h>
#include <twopass/graph/layers/attention.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/precision.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

using namespace twopass;
using doctest::Contains;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor counting(std::int64_t n) { return reshape(arange(0, static_cast<double>(n)), {n, 1}); }

// y = w x with w = 0: the loss of a row is what its target says.
Model scale_model(double w = 0, const Optimizer& optimizer = sgd({.learning_rate = 0.1})) {
  Model model = Sequential({Dense(1, {.use_bias = false})}, {.input_shape = {1}});
  model.parameters()[0].set(tensor({{w}}));
  model.compile({.optimizer = optimizer, .loss = mean_absolute_error()});
  return model;
}

double weight_of(const Model& model) { return model.parameters()[0].value().at<float>(0); }

Model classifier(std::uint64_t seed = 0) {
  Model model = Sequential({Dense(8, {.activation = "tanh"}), Dropout(0.3), Dense(3, {.activation = "softmax"})},
                           {.input_shape = {2}, .seed = seed});
  model.compile(
      {.optimizer = adam({.learning_rate = 0.01}), .loss = sparse_categorical_crossentropy(), .metrics = {accuracy()}});
  return model;
}

struct Points {
  Tensor x, labels;
};

// Three clusters that a line tells apart.
Points points(std::int64_t n) {
  std::vector<float> x;
  std::vector<std::int64_t> labels;
  for (std::int64_t k = 0; k < n; ++k) {
    const auto angle = static_cast<double>(k % 3) * 2.1 + 0.3 * std::sin(static_cast<double>(k));
    x.push_back(static_cast<float>(std::cos(angle)));
    x.push_back(static_cast<float>(std::sin(angle)));
    labels.push_back(k % 3);
  }
  return {from_values(x, {n, 2}, f32), from_values(labels, {n}, i64)};
}

std::vector<std::vector<float>> weights_of(const Model& model) {
  std::vector<std::vector<float>> weights;
  for (const Parameter& each : model.parameters()) weights.push_back(each.value().values<float>());
  return weights;
}

}  // namespace

TEST_CASE("F6: integers and f64 are cast to what the model takes; NaN is refused where asked") {
  Model model = scale_model(2);
  CHECK(model.predict(tensor({{3}}, i64)).at<float>(0) == 6);
  CHECK(model.predict(tensor({{3.0}}, f64)).dtype() == f32);
  const Tensor x = tensor({{1.0f}, {NAN}}), y = ones({2, 1});
  CHECK_THROWS_WITH_AS(model.fit(x, y, {.check_finite = true, .verbose = 0}),
                       Contains("fit: inputs \"input\" hold nan in row 1"), Error);
  CHECK_THROWS_WITH_AS(model.fit(y, y * kInf, {.check_finite = true, .verbose = 0}),
                       Contains("fit: targets \"dense\" hold"), Error);
  CHECK(weight_of(model) == 2);
}

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

TEST_CASE("F12: no rows, different numbers of rows and data without an axis are refused") {
  Model model = scale_model();
  CHECK_THROWS_WITH_AS(model.fit(zeros({0, 1}), zeros({0, 1})), Contains("has no rows"), Error);
  CHECK_THROWS_WITH_AS(model.fit(zeros({3, 1}), zeros({4, 1})), Contains("inputs have 3 rows but the targets 4"),
                       Error);
  CHECK_THROWS_WITH_AS(model.fit(tensor(1.0), zeros({4, 1})),
                       Contains("inputs \"input\" is a scalar: data need a first axis"), Error);
  const Tensor a = input({1}, "a"), b = input({1}, "b");
  Model both({a, b}, Add()({a, b}));
  CHECK_THROWS_WITH_AS(both.predict({zeros({3, 1}), zeros({4, 1})}), Contains("\"b\" has 4 rows where \"a\" has 3"),
                       Error);
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

TEST_CASE("F14: batch sizes below 1 are refused; one above the number of rows is one batch") {
  Model model = scale_model();
  CHECK_THROWS_WITH_AS(model.fit(zeros({3, 1}), zeros({3, 1}), {.batch_size = 0}), Contains("not 0"), Error);
  CHECK_THROWS_WITH_AS(model.fit(zeros({3, 1}), zeros({3, 1}), {.batch_size = -2}), Contains("not -2"), Error);
  model.fit(ones({3, 1}), ones({3, 1}), {.batch_size = 100, .verbose = 0});
  CHECK(weight_of(model) == doctest::Approx(0.1));  // one step of -0.1 · (-1)
}

TEST_CASE("F15: a label that is no class is found before the first step, wherever it stands") {
  Model model = classifier();
  const auto before = weights_of(model);
  Points data = points(100);
  std::vector<std::int64_t> labels = data.labels.values<std::int64_t>();
  labels[97] = 3;
  CHECK_THROWS_WITH_AS(model.fit(data.x, from_values(labels, {100}, i64), {.verbose = 0}),
                       Contains("label 3 in row 97 is outside 0 … 2"), Error);
  CHECK(weights_of(model) == before);
}

TEST_CASE("F15: targets (n,) for predictions (n, 1) are refused, not broadcast") {
  Model model = scale_model();
  CHECK_THROWS_WITH_AS(
      model.fit(zeros({3, 1}), zeros({3})),
      Contains("targets have shape (3,) but predictions (3, 1): expand_dims(targets, -1) has the right one"), Error);
}

TEST_CASE("F15: what gives targets the shape that is wanted is told, in losses and metrics, and is right") {
  const auto refused = [](const auto& measure, const Tensor& targets, const Tensor& predictions) {
    try {
      measure.per_sample(targets, predictions);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const Loss mse = mean_squared_error();
  const Tensor column = zeros({3, 1}), flat = zeros({3}), image = zeros({3, 2, 2}), row = zeros({3, 4});
  CHECK(refused(mse, column, flat).ends_with("(3, 1) but predictions (3,): squeeze(targets, -1) has the right one"));
  CHECK(refused(mse, expand_dims(flat, -1), column).empty());
  CHECK(refused(mse, squeeze(column, -1), flat).empty());
  CHECK(
      refused(mse, image, row)
          .ends_with("predictions (3, 4): reshape(targets, {-1, 4}) has the right one, if the order of the values is"));
  CHECK(refused(mse, reshape(image, {-1, 4}), row).empty());
  CHECK(refused(mse, zeros({3, 5}), row).ends_with("targets have shape (3, 5) but predictions (3, 4)"));
  CHECK(refused(binary_accuracy(), flat, column).ends_with(": expand_dims(targets, -1) has the right one"));
  const Tensor scores = full({3, 2}, 0.5);
  CHECK(refused(sparse_categorical_crossentropy(), cast(zeros({3, 1, 1}), i64), scores)
            .ends_with("labels have shape (3, 1, 1) where predictions (3, 2) need (3,): reshape(targets, {-1}) has the "
                       "right one, if the order of the values is"));
}

TEST_CASE("F5: what fit, evaluate and predict refuse of data they tell by the shapes of all of it") {
  const Tensor x = input({4}, "image");
  Model model(x, Dense(3)(x), {.name = "net"});
  model.compile({.loss = mean_squared_error(), .metrics = {metric(mean_absolute_error())}});
  const Tensor good = zeros({70, 4}), targets = zeros({70, 3});
  const char* narrow = "input \"image\" expects shape (None, 4) but found (70, 2, 2)\n  of model \"net\"";
  CHECK_THROWS_WITH_AS(model.fit(zeros({70, 2, 2}), targets), narrow, Error);
  CHECK_THROWS_WITH_AS(model.evaluate(zeros({70, 2, 2}), targets), narrow, Error);
  CHECK_THROWS_WITH_AS(model.predict(zeros({70, 2, 2})), narrow, Error);
  CHECK_THROWS_WITH_AS(model.fit({good, good}, targets),
                       "2 inputs were given where 1 is expected: \"image\"\n  of model \"net\"", Error);
  CHECK_THROWS_WITH_AS(model.evaluate(good, Tensor()), Contains("has no values\n  of model \"net\""), Error);
  const char* wide = "mean_squared_error((70, 5), (70, 3)): targets have shape (70, 5) but predictions (70, 3)";
  CHECK_THROWS_WITH_AS(model.fit(good, zeros({70, 5})), wide, Error);
  CHECK_THROWS_WITH_AS(model.evaluate(good, zeros({70, 5})), wide, Error);
  CHECK_THROWS_WITH_AS(model.fit(good, targets, {.validation_data = {good, zeros({70, 5})}}),
                       Contains("(70, 5) but predictions (70, 3)\n  in validation_data"), Error);
  CHECK_THROWS_WITH_AS(model.fit(good, targets, {.validation_data = {zeros({9, 5}), zeros({9, 3})}}),
                       Contains("but found (9, 5)\n  of model \"net\"\n  in validation_data"), Error);
}

TEST_CASE("what only a loss of one's own refuses is said to come from a trial on the first row") {
  const Tensor x = input({1});
  Model model(x, Dense(1)(x));
  model.compile({.loss = loss("choosy", [](const Tensor& targets, const Tensor& p) {
                   if (targets.at<float>(0) != 0) throw Error("the first target is not 0");
                   return square(p - targets);
                 })});
  CHECK_THROWS_WITH_AS(model.fit(ones({3, 1}), ones({3, 1})),
                       "choosy((1, 1), (1, 1)): the first target is not 0\n  in a trial on the first row", Error);
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

TEST_CASE("F18: the last ceil(n s) rows validate, and a split that leaves one side empty is refused") {
  const auto split = [](std::int64_t n, double s) {
    Model model = scale_model(0, sgd({.learning_rate = 0}));
    const History history = model.fit(zeros({n, 1}), counting(n), {.validation_split = s, .verbose = 0});
    return std::pair(history["loss"][0], history["val_loss"][0]);
  };
  CHECK(split(10, 0.9) == std::pair(0.0, 5.0));  // row 0; rows 1 … 9
  CHECK(split(7, 0.3) == std::pair(1.5, 5.0));   // rows 0 … 3; 4 … 6
  CHECK(split(10, 0.2) == std::pair(3.5, 8.5));  // rows 0 … 7; 8, 9
  for (const double s : {-0.1, 1.0, double(NAN)})
    CHECK_THROWS_WITH_AS(split(10, s), Contains("fit: validation_split must be at least 0 and below 1, not "), Error);
  CHECK_THROWS_WITH_AS(split(1, 0.5), Contains("leaves 0 to train and 1 to validate"), Error);
}

TEST_CASE("F19: sample weights scale each row's loss, and weights of nothing are refused") {
  Model model = scale_model(0, sgd({.learning_rate = 0}));
  const auto loss = [&](const Tensor& weights) {
    return model.fit(zeros({2, 1}), tensor({{1.0}, {3.0}}), {.sample_weight = weights, .verbose = 0})["loss"][0];
  };
  CHECK(loss(tensor({2.0, 0.5})) == 1.75);  // (2 · 1 + 0.5 · 3) / 2
  CHECK_THROWS_WITH_AS(loss(zeros({2})), Contains("0 for every row"), Error);
  CHECK_THROWS_WITH_AS(loss(tensor({1.0, -1.0})), Contains("fit: sample_weight holds -1: "), Error);
  CHECK_THROWS_WITH_AS(loss(tensor({1.0f, NAN})), Contains("fit: sample_weight holds nan: "), Error);
  CHECK_THROWS_WITH_AS(loss(ones({3})), Contains("(3,) where the data have 2 rows"), Error);
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

TEST_CASE("validation data take the place of the split, and must fit the model") {
  Model model = scale_model();
  const Tensor x = zeros({4, 1});
  const History history =
      model.fit(x, x, {.validation_split = 0.5, .validation_data = {x, ones({4, 1})}, .verbose = 0});
  CHECK(history["val_loss"][0] == 1);
  CHECK_THROWS_WITH_AS(model.fit(x, x, {.validation_data = {x, ones({3, 1})}}), Contains("validation_data"), Error);
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
                       "fit: model \"stiff\" has no trainable parameter: every layer is frozen, or none has any",
                       Error);
  model.set_trainable(true);
  CHECK(model.fit(ones({8, 4}), ones({8, 1}), {.verbose = 0})["loss"].size() == 1);
}

TEST_CASE("N22: a prediction that is no probability is refused in planned training and evaluation as op by op") {
  const Tensor x = input({2}, "x");
  Model model(x, Dense(1, {.kernel_initializer = ones_initializer()})(x));
  for (const bool eagerly : {true, false}) {
    CAPTURE(eagerly);
    model.compile({.optimizer = sgd(), .loss = binary_crossentropy(), .run_eagerly = eagerly});
    // fine in the first row and batch, 1.5 in the second
    const Tensor inputs = tensor({{0.25, 0.25}, {0.5, 1.0}}), targets = ones({2, 1});
    const Tensor before = model.parameters()[0].value();
    CHECK_THROWS_WITH_AS(model.fit(inputs, targets, {.batch_size = 2, .verbose = 0}),
                         doctest::Contains("1.5 at flat index 1 is outside [0, 1]: no probability"), Error);
    CHECK_THROWS_WITH_AS(model.evaluate(inputs, targets), doctest::Contains("no probability"), Error);
    CHECK(model.parameters()[0].value().values<float>() == before.values<float>());
    CHECK(model.optimizer().iterations() == 0);
  }
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
