// What fit refuses of models, losses and callbacks before it changes anything.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include <twopass/core/error.h>
#include <twopass/graph/layers/attention.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>

#include "small_models.h"

using namespace twopass;
using doctest::Contains;

namespace {

Model normalizing() {
  const Tensor x = input({2}, "x");
  Model model(x, Dense(1)(BatchNormalization()(x)));
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  return model;
}

}  // namespace

TEST_CASE("fit in a callback of fit is refused for the same model, but trains another") {
  Model model = scale_model(), other = scale_model();
  const auto trains = [](Model inner) {
    return on_epoch_end([inner](int, const Logs&) mutable { inner.fit(ones({2, 1}), ones({2, 1}), {.verbose = 0}); });
  };
  model.fit(ones({2, 1}), ones({2, 1}), {.verbose = 0, .callbacks = {trains(other)}});
  CHECK(other.optimizer().iterations() == 1);
  CHECK_THROWS_WITH_AS(model.fit(ones({2, 1}), ones({2, 1}), {.verbose = 0, .callbacks = {trains(model)}}),
                       "fit: model \"model\" is being trained by fit already: a callback ends that by setting stop in "
                       "its TrainingState",
                       Error);
  CHECK(model.optimizer().iterations() == 2);
  model.fit(ones({2, 1}), ones({2, 1}), {.verbose = 0});
  CHECK(model.optimizer().iterations() == 3);
}

TEST_CASE("a loss without a gradient is refused by its name before the first step, planned and op by op") {
  const Loss::Function detached = [](const Tensor& t, const Tensor& p) { return square(t - detach(p)); };
  const Loss::Function constant = [](const Tensor& t, const Tensor&) { return square(t); };
  const Loss::Function of_values = [](const Tensor&, const Tensor& p) {
    return from_values(p.values<float>(), p.shape(), f32);
  };
  const Loss::Function compared = [](const Tensor& t, const Tensor& p) { return cast(p > t, f32); };
  for (const bool eagerly : {false, true})
    for (const auto& function : {detached, constant, of_values, compared}) {
      Model model = scale_model();
      model.compile({.optimizer = sgd(), .loss = loss("flat", function), .run_eagerly = eagerly});
      CHECK_THROWS_WITH_AS(model.fit(ones({2, 1}), zeros({2, 1}), {.verbose = 0}),
                           Contains("the loss has no gradient for a trainable parameter of model \"model\": loss "
                                    "\"flat\" must be made of its predictions by functions of tensors"),
                           Error);
      CHECK(model.optimizer().iterations() == 0);
    }
}

TEST_CASE("a loss of one's own that gives nothing to learn for one of two outputs leaves that alone") {
  const Tensor x = input({1}, "x");
  Model model(x, {Dense(1, {.name = "a"})(x), Dense(1, {.name = "b"})(x)});
  const Loss none = loss("none", [](const Tensor& t, const Tensor&) { return t * 0.0; });
  model.compile({.optimizer = sgd(), .loss = {{"a", mean_squared_error()}, {"b", none}}});
  const auto before = weights_of(model);
  model.fit(ones({2, 1}), {zeros({2, 1}), zeros({2, 1})}, {.verbose = 0});
  CHECK(weights_of(model)[0] != before[0]);
  CHECK(weights_of(model)[2] == before[2]);
}

TEST_CASE("N29: a last batch of one row that batch normalization can't learn from is told before the first step") {
  const Tensor x = reshape(arange(0, 10), {5, 2});
  Model model = normalizing();
  const auto before = weights_of(model);
  CHECK_THROWS_WITH_AS(model.fit(x, ones({5, 1}), {.batch_size = 4, .verbose = 0}),
                       Contains("batch_norm(1, 2): one element a channel has no variance to learn from"), Error);
  CHECK_THROWS_WITH_AS(
      model.fit(x, ones({5, 1}), {.batch_size = 4, .verbose = 0}),
      Contains("in a trial on one row, as the last batch of 5 rows in batches of 4 is one row: another "
               "batch_size or number of rows leaves none"),
      Error);
  CHECK_THROWS_WITH_AS(model.fit(x, ones({5, 1}), {.batch_size = 1, .verbose = 0}),
                       Contains("as each batch of 5 rows in batches of 1 is one row"), Error);
  CHECK(weights_of(model) == before);
  CHECK(model.optimizer().iterations() == 0);
  CHECK(std::isfinite(model.fit(x, ones({5, 1}), {.batch_size = 3, .verbose = 0})["loss"][0]));
}

TEST_CASE("one row of an image has a variance for batch normalization, and moving moments are left by the trial") {
  const Tensor x = input({2, 2, 1}, "image");
  Model model(x, Flatten()(BatchNormalization({.momentum = 0})(x)));
  model.compile({.optimizer = sgd({.learning_rate = 0}), .loss = mean_squared_error()});
  const Tensor rows = reshape(arange(0, 4), {1, 2, 2, 1});  // mean 1.5, variance 1.25
  model.fit(rows, zeros({1, 4}), {.epochs = 0, .verbose = 0});
  CHECK(weights_of(model)[2][0] == 0);
  model.fit(rows, zeros({1, 4}), {.verbose = 0});
  CHECK(weights_of(model)[2][0] == 1.5);
  CHECK(weights_of(model)[3][0] == 1.25);
}

TEST_CASE("F6: floats that are no whole numbers are refused for an i64 input, with input, row and value") {
  const Tensor word = input({}, "word", i64);
  Model model(word, Dense(1)(Embedding(3, 2)(word)));
  model.compile({.loss = mean_squared_error()});
  CHECK(model.predict(tensor({0.0, 2.0})).values<float>() ==
        model.predict(tensor({std::int64_t{0}, std::int64_t{2}})).values<float>());
  CHECK_THROWS_WITH_AS(model.predict(tensor({0.0, 1.5})), "inputs \"word\" hold 1.5 in row 1: i64 takes whole numbers",
                       Error);
  CHECK_THROWS_WITH_AS(model.fit(tensor({0.0f, 1.0f, NAN}), ones({3, 1})),
                       "inputs \"word\" hold nan in row 2: i64 takes whole numbers", Error);
  CHECK_THROWS_WITH_AS(model.evaluate(tensor({1e30}, f64), ones({1, 1})),
                       "inputs \"word\" hold 1e+30 in row 0: i64 takes whole numbers", Error);
}

TEST_CASE("a loss of one's own may give one number for a batch: an epoch's is the mean over rows") {
  // Losses 0 … 9 in batches of 4, 4 and 2: means 1.5, 5.5 and 8.5.
  Model model = scale_model(0, sgd({.learning_rate = 0}));
  model.compile({.optimizer = sgd({.learning_rate = 0}),
                 .loss = loss("whole", [](const Tensor& t, const Tensor& p) { return mean(abs(t - p)); })});
  const FitOptions options{.batch_size = 4, .shuffle = false, .verbose = 0};
  CHECK(model.fit(zeros({10, 1}), counting(10), options)["loss"][0] == 4.5);
  CHECK(model.evaluate(zeros({10, 1}), counting(10), {.batch_size = 4})["loss"] == 4.5);
}

TEST_CASE("what an optimizer's own rule does wrong is told with the optimizer and the parameter") {
  const auto refused = [](std::function<Tensors(const UpdateRule::Step&)> update) {
    Model model = scale_model();
    model.compile({.optimizer = Optimizer({.name = "mine", .update = std::move(update)}, 0.1), .loss = "mse"});
    std::string message;
    try {
      model.fit(ones({2, 1}), zeros({2, 1}), {.verbose = 0});
    } catch (const Error& error) {
      message = error.what();
    }
    return message.substr(0, message.find('\n'));
  };
  CHECK(refused([](const UpdateRule::Step& s) -> Tensors {
          return {matmul(s.parameter, ones({7, 7}))};
        }) ==
        "mine: the rule for parameter \"dense/kernel\": matmul((1, 1), (7, 7)): the first has 1 column but the second "
        "has 7 rows");
  CHECK(refused([](const UpdateRule::Step&) -> Tensors { return {Tensor()}; }) ==
        "mine: the rule gives an undefined tensor for parameter \"dense/kernel\": one that was never given a value, or "
        "moved from");
  CHECK(refused([](const UpdateRule::Step&) -> Tensors { throw std::runtime_error("boo"); }) ==
        "mine: the rule for parameter \"dense/kernel\": boo");
}

TEST_CASE("the advice of a loss about probabilities is given once") {
  std::string message;
  try {
    binary_crossentropy().per_sample(ones({1, 1}), full({1, 1}, 1.5));
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message ==
        "binary_crossentropy((1, 1), (1, 1)): within((1, 1)): 1.5 at flat index 0 is outside [0, 1]: no probability; "
        "say .from_logits = true where they are logits");
}
