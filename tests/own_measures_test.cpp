// Losses and metrics of the user's own in training: their names, and how rows are weighed in them.
#include <doctest/doctest.h>

#include <string>

#include <twopass/core/error.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

// y = 0 of `width` columns, so that losses are what targets say.
Model zero_model(std::int64_t width) {
  Model model = Sequential({Dense(width, {.use_bias = false})}, {.input_shape = {1}});
  model.parameters()[0].set(zeros({1, width}));
  return model;
}

Loss over(const std::string& name, int axis) {
  return loss(name, [axis](const Tensor& t, const Tensor& p) { return mean(square(t - p), axis); });
}

Metric distance(const std::string& name) {
  return metric(name, [](const Tensor& t, const Tensor& p) { return mean(abs(t - p), -1); });
}

}  // namespace

TEST_CASE("a metric whose name another number of the logs has is refused, and what was compiled stays") {
  Model model = zero_model(2);
  model.compile({.optimizer = adam(), .loss = mean_squared_error()});
  const auto refused = [&](const MetricMap& metrics, const char* why) {
    CHECK_THROWS_WITH_AS(model.compile({.loss = mean_squared_error(), .metrics = metrics}), Contains(why), Error);
  };
  refused({distance("loss")}, "compile: a metric is called \"loss\", as a loss is in the logs");
  refused({distance("val_far")}, "a metric is called \"val_far\", but names with \"val_\" are those of validation");
  refused({distance("far"), distance("near"), distance("far")}, "a metric is called \"far\", as another one is");
  CHECK(model.optimizer().name() == "adam");
  model.compile({.loss = mean_squared_error(), .metrics = {distance("far"), distance("near")}});
}

TEST_CASE("with several outputs the names of metrics begin with those of outputs, and are compared so") {
  const Tensor x = input({1});
  Model model(x, {Dense(1, {.name = "a"})(x), Dense(1, {.name = "b"})(x)});
  const auto compiled = [&](const MetricMap& metrics) {
    model.compile({.loss = mean_squared_error(), .metrics = metrics});
  };
  compiled({{"a", {distance("far")}}, {"b", {distance("far")}}});
  CHECK_THROWS_WITH_AS(compiled({distance("loss")}), Contains("a metric is called \"a_loss\", as a loss is"), Error);
  CHECK_THROWS_WITH_AS(compiled({{"a", {distance("far"), distance("far")}}}), Contains("called \"a_far\", as"), Error);
}

TEST_CASE("rows have weights where a loss gives a number for each; one for all is refused with them") {
  Model model = zero_model(1);
  model.compile({.optimizer = sgd(),
                 .loss = loss("whole", [](const Tensor& t, const Tensor& p) { return mean(square(t - p)); })});
  model.fit(ones({2, 1}), ones({2, 1}), {.verbose = 0});
  const double before = model.parameters()[0].value().at<float>(0);
  CHECK_THROWS_WITH_AS(model.fit(ones({2, 1}), ones({2, 1}), {.sample_weight = tensor({1.0f, 0.0f}), .verbose = 0}),
                       Contains("loss \"whole\" gives one number for all rows, so sample_weight cannot weigh them"),
                       Error);
  CHECK(model.parameters()[0].value().at<float>(0) == before);
}

TEST_CASE("weights of rows refuse a loss that gives a number for each column, also where there are as many rows") {
  const Tensor targets = tensor({{1.0, 2.0}, {3.0, 4.0}}), weights = tensor({2.0, 1.0});
  Model model = zero_model(2);
  model.compile({.optimizer = sgd({.learning_rate = 0}), .loss = over("columns", 0)});
  CHECK(model.evaluate(ones({2, 1}), targets)["loss"] == Approx(7.5));  // (1 + 4 + 9 + 16) / 4
  constexpr const char* kMessage =
      "loss \"columns\" gives shape (2,) for 1 row, so sample_weight cannot weigh them: its first axis must be the "
      "batch's";
  CHECK_THROWS_WITH_AS(model.evaluate(ones({2, 1}), targets, {.sample_weight = weights}), Contains(kMessage), Error);
  CHECK_THROWS_WITH_AS(model.fit(ones({2, 1}), targets, {.sample_weight = weights, .verbose = 0}), Contains(kMessage),
                       Error);
  model.compile({.optimizer = sgd({.learning_rate = 0}), .loss = over("rows", -1)});
  CHECK(model.evaluate(ones({2, 1}), targets, {.sample_weight = weights})["loss"] ==
        Approx(8.75));  // (2 · 2.5 + 12.5) / 2
}

TEST_CASE("a loss stands among metrics by itself, alone, in a list and by output") {
  const Tensor x = input({2});
  Model model(x, Dense(1)(x));
  for (const MetricMap& metrics : std::vector<MetricMap>{mean_absolute_error(),
                                                         {mean_absolute_error()},
                                                         {accuracy(), mean_absolute_error()},
                                                         {{"dense", {mean_absolute_error()}}}}) {
    model.compile({.loss = mean_squared_error(), .metrics = metrics});
    const Evaluation found = model.evaluate(zeros({4, 2}), full({4, 1}, 3.0));
    CHECK(found["loss"] == 9);
    CHECK(found["mean_absolute_error"] == 3);
  }
}

TEST_CASE("an output whose loss would have the name of one of validation is refused, unless it is the only one") {
  const Tensor x = input({2});
  const auto compile = [](const Model& model) { Model(model).compile({.loss = mean_squared_error()}); };
  for (const char* name : {"val", "val_x"}) {
    const Tensor y = Dense(1, {.name = name})(x);
    const std::string text = "compile: an output is called \"" + std::string(name) + "\"";
    CHECK_THROWS_WITH_AS(compile(Model(x, {y, Dense(1)(x)})), Contains(text.c_str()), Error);
    CHECK_NOTHROW(compile(Model(x, y)));
  }
  CHECK_NOTHROW(compile(Model(x, {Dense(1, {.name = "value"})(x), Dense(1)(x)})));
}
