// The compiled loss of a model as a part of a plan.
#include <doctest/doctest.h>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/precision.h>

#include "small_models.h"

using namespace twopass;
using doctest::Contains;

TEST_CASE("the loss of a model in a plan is |w x - y|, and its gradient x sign(w x - y)") {
  Model model = scale_model(2);
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor loss = model.loss(in[0], in[1]);
        return {loss, backward(loss)[model.parameters()[0]]};
      },
      {tensor({{3.0}}), tensor({{1.0}})});
  const Tensors below = step({tensor({{3.0}}), tensor({{1.0}})}), above = step({tensor({{3.0}}), tensor({{10.0}})});
  CHECK(below[0].item<float>() == 5);
  CHECK(below[1].item<float>() == 3);
  CHECK(above[0].item<float>() == 4);
  CHECK(above[1].item<float>() == -3);
}

TEST_CASE("F6: the loss of a model in a plan takes integers and f64 as outside, by name too") {
  Model model = scale_model(2);
  const Plan loss = plan(
      [&](const Tensors& in) -> Tensors {
        return {model.loss({{"input", in[0]}}, {{"dense", in[1]}})};
      },
      {tensor({{3}}, i64), tensor({{1.0}}, f64)});
  CHECK(loss({tensor({{4}}, i64), tensor({{1.0}}, f64)})[0].item<float>() == 7);
  CHECK_THROWS_WITH_AS(
      plan([&](const Tensors& in) -> Tensors { return {model.loss(in[0], in[1])}; }, {ones({3, 1}), ones({3})}),
      Contains("expand_dims(targets, -1) has the right one"), Error);
}

TEST_CASE("steps of one's own by loss() in a plan train to the bits of those op by op, dropout and labels included") {
  const Points data = points(24);
  Model planned = classifier(3), stepped = classifier(3);
  const auto context = [](const Model& model, const Tensor& step) {
    return CallContext{.training = true, .seed = model.seed(), .step = step};
  };
  const Parameters weights = planned.parameters();
  const Optimizer optimizer = sgd({.learning_rate = 0.5}), plain = sgd({.learning_rate = 0.5});
  const auto inputs_of = [&](std::int64_t step) -> Tensors {
    return {data.x, data.labels, tensor(step), tensor(0.5, f64), tensor(static_cast<double>(step + 1), f64)};
  };
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor loss = planned.loss(in[0], in[1], context(planned, in[2]));
        const Gradients found = backward(loss);
        Tensors gradients;
        for (const Parameter& weight : weights) gradients.push_back(found[weight]);
        optimizer.trace_update(gradients, weights, in[3], in[4]);
        return {loss};
      },
      inputs_of(0));
  for (std::int64_t k = 0; k < 5; ++k) {
    const Tensor loss = stepped.loss(data.x, data.labels, context(stepped, tensor(k)));
    CHECK(step(inputs_of(k))[0].item<float>() == loss.item<float>());
    plain.apply(backward(loss), stepped.parameters());
  }
  CHECK(weights_of(planned) == weights_of(stepped));
}

TEST_CASE("the loss of a model of bf16 is no part of a plan of f32") {
  if (!bf16_available()) return;
  Model model = scale_model(2);
  model.compile({.loss = mean_squared_error(), .precision = Precision::bf16});
  CHECK_THROWS_WITH_AS(
      plan([&](const Tensors& in) -> Tensors { return {model.loss(in[0], in[1])}; }, {ones({3, 1}), ones({3, 1})}),
      Contains("compiled for products in bf16 and is called in a plan of f32"), Error);
}
