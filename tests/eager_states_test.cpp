// Layers that look at values, with several outputs and with states, as calls of plans.
#include <doctest/doctest.h>

#include <functional>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/eagerly.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "looking_layers.h"

using namespace twopass;
using doctest::Contains;

namespace {

using Values = std::vector<double>;

using Body = std::function<Tensor(const Tensor&)>;

Model model_of(const Body& body, bool eagerly) {
  const Tensor x = input({8}, "x");
  Model model(x, Dense(1)(body(Dense(8, {.activation = "tanh"})(x))), {.seed = 5});
  model.compile({.optimizer = adam({.learning_rate = 0.02}), .loss = mean_squared_error(), .run_eagerly = eagerly});
  return model;
}

Values weights_of(const Model& model) {
  Values all;
  for (const Parameter& each : model.parameters())
    for (const double value : each.value().values<double>()) all.push_back(value);
  return all;
}

// Training planned is training op by op, to the bit, and the plan's steps are run, none of them op by op instead.
std::string same_planned(const Body& body) {
  const Tensor inputs = Random(3).normal({72, 8}), targets = Random(4).normal({72, 1});
  const FitOptions options{.epochs = 4, .batch_size = 16, .validation_split = 0.2, .verbose = 0};
  Model planned = model_of(body, false), op_by_op = model_of(body, true);
  CHECK(planned.fit(inputs, targets, options)["val_loss"] == op_by_op.fit(inputs, targets, options)["val_loss"]);
  CHECK(weights_of(planned) == weights_of(op_by_op));
  CHECK(planned.predict(inputs).values<double>() == op_by_op.predict(inputs).values<double>());

  Model stepped = model_of(body, false), reference = model_of(body, true);
  const Tensor x = slice(inputs, 0, 0, 16), y = slice(targets, 0, 0, 16);
  const Plan step = stepped.step_plan(x, y);
  const Values before = weights_of(model_of(body, true));
  CHECK(weights_of(stepped) == before);  // making it changes nothing
  for (int k = 0; k < 5; ++k) {
    step({x, y, tensor(k), tensor(0.02, f64), tensor(k + 1.0, f64)});
    reference.fit(x, y, {.epochs = 1, .batch_size = 16, .shuffle = false, .verbose = 0});
    CHECK(weights_of(stepped) == weights_of(reference));
  }
  return step.text();
}

}  // namespace

TEST_CASE("a layer that reads values and moves its state is one call of the plan, to the bits of op by op") {
  const std::string text = same_planned([](const Tensor& h) { return layer<Scaling>()(h); });
  CHECK(text.find("scaling; runs eagerly: a symbol of shape () has no elements") != std::string::npos);
  CHECK(text.find("affine_tanh") != std::string::npos);
}

TEST_CASE("a layer of several outputs that reads values is one call of the plan, whichever of its states it moves") {
  const std::string text = same_planned([](const Tensor& h) {
    const Tensors out = layer<Gate>().call({h});
    return concat({out[0] + out[1], cast(expand_dims(out[2], -1), f32) * 0.1}, 1);
  });
  CHECK(text.find("gate; runs eagerly") != std::string::npos);
}

TEST_CASE("an output that no loss depends on gives no parameter a gradient of zeros, which adam would move on") {
  same_planned([](const Tensor& h) { return layer<Gate>().call({h})[0]; });
  same_planned([](const Tensor& h) { return h + cast(expand_dims(layer<Gate>().call({h})[2], -1), f32); });
}

TEST_CASE("one layer that reads values and moves its state twice in a step sees what it has moved") {
  same_planned([](const Tensor& h) {
    const LayerHandle scaling = layer<Scaling>();
    return scaling(BatchNormalization()(scaling(h)) + h);
  });
}

TEST_CASE("a layer that sets its state before it reads values begins again from what it was") {
  struct Early : Layer {
    Parameter calls;
    void build(const Shapes&) override { calls = add_state("calls", {}, filled_with(0)); }
    Tensors call(const Tensors& in, const CallContext& context) override {
      if (context.training) calls.set(calls.value() + 1.0);
      return {!in[0].shape().open() && large(in[0]) ? in[0] * 0.5 : in[0]};
    }
  };
  same_planned([](const Tensor& h) { return layer<Early>()(h); });
  Model model = model_of([](const Tensor& h) { return layer<Early>()(h); }, false);
  model.fit(Random(3).normal({32, 8}), Random(4).normal({32, 1}), {.epochs = 3, .batch_size = 16, .verbose = 0});
  for (const auto& [name, parameter] : model.named_parameters())
    if (name == "early/calls") CHECK(parameter.value().item<double>() == 6);
}

TEST_CASE("making a plan leaves parameters as they are, and what has no value yet without one") {
  const Parameter count("count", {}, f32, filled_with(7)), drawn("drawn", {2}, f32, normal());
  count.set_trainable(false);
  double seen = -1;
  const auto counting = [&](const Tensors& in) {
    seen = count.value().item<double>();
    count.set(count + 1.0);
    return in[0].at<double>(0) > 100 ? in[0] : in[0] * drawn * count;
  };
  const Plan step = plan([&](const Tensors& in) -> Tensors { return {eagerly(counting, in)}; }, {ones({2})});
  CHECK(seen == 7);
  drawn.seed(11);  // does nothing where there is a value
  count.set(tensor(1.0));
  const Tensor y = step({tensor({2.0, 3.0})})[0];
  CHECK(seen == 1);
  CHECK(count.value().item<double>() == 2);
  Random random(11);
  const Values first = random.normal({2}, f32, 0, 0.3).values<double>();
  CHECK(drawn.value().values<double>() == first);
  CHECK(y.values<double>() == (tensor({2.0, 3.0}) * drawn.value() * 2.0).values<double>());
}

TEST_CASE("a run that fails leaves states as they were") {
  const Parameter count(tensor(0.0), "count"), w(tensor(1.0), "w");
  const auto counting = [&](const Tensors& in) {
    count.set(count.value() + 1.0);
    return in[0].item<double>() > 100 ? in[0] : log(in[0]);
  };
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor y = eagerly(counting, in);
        w.set(y);
        return {y};
      },
      {ones({})});
  CHECK_THROWS_WITH_AS(step({tensor(0.0)}), Contains("is not finite; nothing was changed"), Error);
  CHECK(count.value().item<double>() == 0);
  step({tensor(1.0)});
  CHECK(count.value().item<double>() == 1);
}

TEST_CASE("eagerly() gives several outputs of several dtypes, each with its gradient") {
  const Parameter w(tensor({3.0}), "w");
  const auto parts = [&](const Tensors& in) -> Tensors {
    const Tensor& x = in[0];
    const bool positive = x.at<double>(0) > 0;
    return {positive ? x * w : x * x, cast(x, f64) * 2.0, argmax(x, 0), detach(x)};
  };
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensors y = eagerly(parts, in);
        const Gradients first = backward(sum(y[0])), second = backward(sum(cast(y[1], f32) * y[0]));
        return {y[0], y[1], y[2], y[3], first[in[0]], first[w], second[in[0]], second[w]};
      },
      {ones({2})});
  const Tensors found = step({tensor({2.0, 5.0})});
  CHECK(found[0].values<double>() == Values{6, 15});
  CHECK(found[1].dtype() == f64);
  CHECK(found[1].values<double>() == Values{4, 10});
  CHECK(found[2].item<double>() == 1);
  CHECK(found[3].values<double>() == Values{2, 5});
  CHECK(found[4].values<double>() == Values{3, 3});
  CHECK(found[5].values<double>() == Values{7});
  CHECK(found[6].values<double>() == Values{24, 60});  // d 2 w x² / dx
  CHECK(found[7].values<double>() == Values{58});      // 2 (4 + 25)
  const auto ragged = [](const Tensors& in) { return in[0].at<double>(0) == 1 ? Tensors{in[0], in[0]} : in; };
  const Plan two = plan([&](const Tensors& in) { return eagerly(ragged, in); }, {ones({2})});
  CHECK_THROWS_WITH_AS(two({zeros({2})}), Contains("it gives 1 outputs where the plan was made for 2"), Error);
}
