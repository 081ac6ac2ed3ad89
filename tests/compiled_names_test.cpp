// Optimizers, losses and metrics by the names that Keras has for them, and what is given by the names of outputs.
#include <doctest/doctest.h>

#include <string>

#include <twopass/core/error.h>
#include <twopass/optim/losses.h>

#include "small_models.h"

using namespace twopass;
using doctest::Contains;

namespace {

Model two_outputs() {
  const Tensor x = input({1}, "x");
  return {x, {{"a", Identity({.name = "one"})(x)}, {"b", Identity({.name = "two"})(x)}}};
}

}  // namespace

TEST_CASE("optimizer, loss and metrics may be given by their names, as in Keras") {
  Model model = scale_model(2);
  model.compile({.optimizer = "adam", .loss = "mse", .metrics = {"mae", "accuracy"}});
  CHECK(model.optimizer().name() == "adam");
  CHECK(model.optimizer().attributes() == adam().attributes());
  const Evaluation found = model.evaluate(tensor({{3.0}, {1.0}}), tensor({{5.0}, {5.0}}));  // off by 1 and by 3
  CHECK(found["loss"] == 5);
  CHECK(found["mae"] == 2);
  CHECK(found["accuracy"] == 0);
  const std::string optimizer = "RMSprop", loss = "MeanAbsoluteError", metric = "binary_accuracy";
  model.compile({.optimizer = optimizer, .loss = loss, .metrics = metric});
  CHECK(model.evaluate(tensor({{3.0}}), tensor({{5.0}}))["loss"] == 1);
}

TEST_CASE("names give what functions give, in Keras's spellings of functions, classes and short forms") {
  CHECK(loss_from("mse").name() == "mean_squared_error");
  CHECK(loss_from("MSLE").name() == "mean_squared_logarithmic_error");
  CHECK(loss_from("KLDivergence").name() == "kl_divergence");
  CHECK(loss_from("SparseCategoricalCrossentropy").takes_labels());
  CHECK(Loss("huber").attributes() == huber().attributes());
  CHECK(Metric("BinaryAccuracy").attributes() == binary_accuracy().attributes());
  CHECK(Metric("acc").name() == "acc");
  CHECK(Metric("MeanSquaredError").name() == "mean_squared_error");
  for (const Optimizer& each : {sgd(), rmsprop(), adam(), adamw()})
    CHECK(optimizer_from(each.name()).attributes() == each.attributes());
  CHECK(Optimizer("AdamW").attributes() == adamw().attributes());
  CHECK(Optimizer("SGD").saveable());
}

TEST_CASE("names may stand for losses and metrics of outputs") {
  Model model = two_outputs();
  model.compile({.loss = {{"a", "mse"}, {"b", "mae"}}, .metrics = {{"a", {"mae", "huber"}}, {"b", {"mse"}}}});
  const Evaluation found = model.evaluate(tensor({{3.0}}), {zeros({1, 1}), zeros({1, 1})});
  CHECK(found["a_loss"] == 9);
  CHECK(found["b_loss"] == 3);
  CHECK(found["a_mae"] == 3);
  CHECK(found["a_huber"] == 2.5);
  CHECK(found["b_mse"] == 9);
}

TEST_CASE("unknown names are refused with those that there are") {
  Model model = scale_model();
  CHECK_THROWS_WITH_AS(model.compile({.optimizer = "sdg", .loss = "mse"}),
                       "there is no optimizer \"sdg\": there are sgd, rmsprop, adam and adamw", Error);
  CHECK_THROWS_WITH_AS(model.compile({.loss = "mse2"}), Contains("no loss \"mse2\": there are binary_crossentropy, "),
                       Error);
  CHECK_THROWS_WITH_AS(model.compile({.loss = "mse", .metrics = {"f1"}}),
                       Contains("no metric \"f1\": there are accuracy, binary_accuracy"), Error);
  CHECK_THROWS_WITH_AS(optimizer_from("adam", {{"epsilon", 1e-7}}),
                       "optimizer \"adam\": argument \"schedule\" is missing", Error);
}

TEST_CASE("losses, weights and metrics that are given twice for an output are refused") {
  Model model = two_outputs();
  CHECK_THROWS_WITH_AS(model.compile({.loss = {{"a", "mse"}, {"b", "mse"}, {"a", "mae"}}}),
                       "compile: a second loss is given for output \"a\"", Error);
  CHECK_THROWS_WITH_AS(model.compile({.loss = "mse", .loss_weights = {{"b", 1}, {"b", 2}}}),
                       "compile: a second loss weight is given for output \"b\"", Error);
  CHECK_THROWS_WITH_AS(model.compile({.loss = "mse", .metrics = {{"b", {"mae"}}, {"b", {"huber"}}}}),
                       "compile: a second list of metrics is given for output \"b\"", Error);
  CHECK(!model.compiled());
}
