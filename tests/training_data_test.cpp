// The data that fit, evaluate and predict take, and refuse.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/shaping.h>

#include "small_models.h"

using namespace twopass;
using doctest::Contains;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

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

TEST_CASE("validation data take the place of the split, and must fit the model") {
  Model model = scale_model();
  const Tensor x = zeros({4, 1});
  const History history =
      model.fit(x, x, {.validation_split = 0.5, .validation_data = {x, ones({4, 1})}, .verbose = 0});
  CHECK(history["val_loss"][0] == 1);
  CHECK_THROWS_WITH_AS(model.fit(x, x, {.validation_data = {x, ones({3, 1})}}), Contains("validation_data"), Error);
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
