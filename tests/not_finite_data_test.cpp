// NaN and infinity in what fit is given: told with the batch, the row and the name.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/callback.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/anomaly.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>

#include "captured.h"

using namespace twopass;
using doctest::Contains;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// y = w x from w = 2.
Model line(double rate = 0.1) {
  Model model = Sequential({Dense(1, {.use_bias = false, .name = "line"})}, {.input_shape = {1}});
  model.parameters()[0].set(tensor({{2.0}}));
  model.compile({.optimizer = sgd({.learning_rate = rate}), .loss = mean_squared_error()});
  return model;
}

// Ones, with another value in one row.
Tensor column(std::int64_t rows, std::int64_t at = 0, float value = 1) {
  std::vector<float> values(static_cast<std::size_t>(rows), 1);
  values[static_cast<std::size_t>(at)] = value;
  return from_values(values, {rows, 1}, f32);
}

std::string refusal(Model model, const Tensor& x, const Tensor& y, FitOptions options = {}) {
  options.verbose = 0;
  try {
    model.fit(x, y, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing";
}

}  // namespace

TEST_CASE("F17: NaN in the data ends training with its batch and epoch, and the input and row that hold it") {
  CHECK(refusal(line(), column(6, 3, NAN), column(6), {.epochs = 4, .batch_size = 2, .shuffle = false}) ==
        "the loss is nan: the weights are those of the step before\n"
        "  in epoch 1 of 4, batch 2 of 3 (step 2 over all calls of fit), whose inputs \"input\" hold nan in row 3");
  CHECK(refusal(line(), column(6), column(6, 5, -kInf), {.batch_size = 2, .shuffle = false}) ==
        "the loss is inf: the weights are those of the step before\n"
        "  in epoch 1 of 1, batch 3 of 3 (step 3 over all calls of fit), whose targets \"line\" hold -inf in row 5");
}

TEST_CASE("F17: the row of NaN is its number in the data, however these are shuffled") {
  for (std::int64_t row = 0; row < 7; ++row)
    CHECK(refusal(line(), column(7, row, NAN), column(7), {.batch_size = 3})
              .ends_with("whose inputs \"input\" hold nan in row " + std::to_string(row)));
}

TEST_CASE("F17: where inputs and targets both hold NaN the inputs are named, and a weight where both are finite") {
  CHECK(refusal(line(), column(2, 1, NAN), column(2, 0, NAN)).ends_with("whose inputs \"input\" hold nan in row 1"));
  Model model = line();
  model.parameters()[0].set(tensor({{NAN}}));
  CHECK(refusal(model, column(2), column(2)).ends_with("whose weight \"line/kernel\" is not finite"));
}

TEST_CASE("F17: NaN in the data is not blamed on the op that reads it first, whoever looks for one") {
  const auto looked_for = [](const Tensor& x, const Tensor& y) {
    const auto ignore = [](int, const GradcheckReport&) {};
    return refusal(line(), x, y,
                   {.batch_size = 2, .shuffle = false, .callbacks = {gradient_checks({.report = ignore})}});
  };
  CHECK(looked_for(column(6, 3, NAN), column(6)) ==
        "the loss is nan: the weights are those of the step before\n"
        "  in epoch 1 of 1, batch 2 of 3 (step 2 over all calls of fit), whose inputs \"input\" hold nan in row 3");
  CHECK(looked_for(column(6), column(6, 5, kInf)).ends_with("whose targets \"line\" hold inf in row 5"));
}

TEST_CASE("F17: where data and weights are finite the error says how to find the op that made the first NaN") {
  const Tensor x = input({1}, "x");
  Model model(x, Lambda([](const Tensor& v) { return log(v); }, {.name = "logarithm"})(Dense(1)(x)), {.seed = 1});
  model.parameters()[0].set(tensor({{-1.0}}));
  model.compile({.loss = mean_squared_error()});
  CHECK(refusal(model, column(2), column(2))
            .ends_with("batch 1 of 1 (step 1 over all calls of fit)\n  a gradient_checks() callback or an AnomalyScope "
                       "names the op that made it first"));
  const AnomalyScope scope;
  CHECK(refusal(model, column(2), column(2)).starts_with("log((1, 1)): the result is nan"));
  REQUIRE(scope.found());
  CHECK(scope.found()->layer == "logarithm");
}

TEST_CASE("F17: a loss that data and weights do not explain is told with its batch alone") {
  CHECK(refusal(line(1e30), column(4), column(4), {.epochs = 9, .batch_size = 2}).find(", batch ") !=
        std::string::npos);
  CHECK(refusal(line(1e30), column(4), column(4), {.epochs = 9, .batch_size = 2}).find("whose") == std::string::npos);
}

TEST_CASE("F6: check_finite looks at the rows of validation too, split off or given, and numbers them as they came") {
  CHECK(refusal(line(), column(6, 5, NAN), column(6), {.validation_split = 0.5, .check_finite = true}) ==
        "fit: inputs \"input\" hold nan in row 5");
  CHECK(refusal(line(), column(6), column(6),
                {.validation_data = {column(4), column(4, 2, kInf)}, .check_finite = true}) ==
        "fit: targets \"line\" hold inf in row 2\n  in validation_data");
}

TEST_CASE("F17: NaN in the data of validation is noted once with its row, training goes on") {
  Model model = line();
  History history;
  const std::string said = captured(
      [&] { history = model.fit(column(6, 4, NAN), column(6), {.epochs = 3, .validation_split = 0.5, .verbose = 2}); });
  const std::string note = "note: val_loss is nan: of validation, inputs \"input\" hold nan in row 4\nEpoch 2/3\n";
  CHECK(said.find(note) != std::string::npos);
  CHECK(said.find("note:") == said.rfind("note:"));
  CHECK(said.find("-nan") == std::string::npos);
  CHECK(std::isnan(history["val_loss"][2]));
  CHECK(std::isfinite(history["loss"][2]));
  CHECK(captured([&] {
          line().fit(column(2), column(2), {.validation_data = {column(2), column(2, 0, NAN)}, .verbose = 0});
        }).empty());
}

TEST_CASE("what fit says of steps that run op by op stands before the first line of progress") {
  const Tensor x = input({1}, "x");
  Model model(x,
              Lambda([](const Tensor& v) { return v.at<float>(0) > 0 ? v * 2.0 : v; }, {.name = "peek"})(Dense(1)(x)));
  model.compile({.loss = mean_squared_error()});
  const std::string said = captured([&] { model.fit(column(4), column(4), {.epochs = 2, .verbose = 2}); });
  CHECK(said.starts_with("note: peek runs op by op, as it cannot be planned: "));
  CHECK(said.find("\nEpoch 1/2\n1/1 - ") != std::string::npos);
  CHECK(said.find("note:", 1) == std::string::npos);
}

TEST_CASE("fit says which rows of the data validate, evaluate what it found, and both nothing where that is asked") {
  Model model = line();
  CHECK(captured([&] {
          model.fit(column(5), column(5), {.validation_split = 0.4, .verbose = 2});
        }).starts_with("train rows 0…2, validation rows 3…4 (not shuffled)\nEpoch 1/1\n"));
  CHECK(captured([&] { line().evaluate(column(2), column(2), {.verbose = 1}); }).starts_with("loss: "));
  CHECK(captured([&] {
          model.fit(column(5), column(5), {.validation_split = 0.4, .verbose = 0});
          model.evaluate(column(2), column(2));
        }).empty());
}

TEST_CASE("a verbosity that there is not is refused") {
  Model model = line();
  CHECK_THROWS_WITH_AS(model.fit(column(2), column(2), {.verbose = 3}),
                       "fit: verbose must be 0 (nothing), 1 (a progress bar) or 2 (a line an epoch), not 3", Error);
  CHECK_THROWS_WITH_AS(model.evaluate(column(2), column(2), {.verbose = -1}), Contains("evaluate: verbose must be 0"),
                       Error);
  CHECK(model.parameters()[0].value().at<float>(0) == 2);
}
