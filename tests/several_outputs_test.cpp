// Functions of several outputs with gradients of their own, or computed again.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/trigonometric.h>

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

// Radius and angle, whose gradients follow from the values: dr = (x dx + y dy) / r, dφ = (x dy - y dx) / r².
Tensors polar(const Tensors& in) { return {sqrt(square(in[0]) + square(in[1])), atan2(in[1], in[0])}; }
Tensors polar_rule(const Tensors& in, const Tensors& out, const Tensors& g) {
  const Tensor& r = out[0];
  return {g[0] * in[0] / r - g[1] * in[1] / square(r), g[0] * in[1] / r + g[1] * in[0] / square(r)};
}

}  // namespace

TEST_CASE("a function of several outputs has the gradient of its own, asked for once for all of them") {
  int asked = 0;
  const auto f = custom_gradient(polar, [&](const Tensors& in, const Tensors& out, const Tensors& g) {
    ++asked;
    return polar_rule(in, out, g);
  });
  const Tensor x = variable(tensor({3.0, 1.0}, f64)), y = variable(tensor({4.0, 0.0}, f64));
  const Tensors out = f({x, y});
  CHECK(out[0].values<double>() == std::vector<double>{5, 1});
  CHECK(out[1].at<double>(0) == Approx(std::atan(4.0 / 3)));
  const Gradients g = backward(sum(out[0]) + sum(out[1]) * 10.0);
  CHECK(asked == 1);
  CHECK(g[x].at<double>(0) == Approx(0.6 - 10 * 4 / 25.0));
  CHECK(g[y].at<double>(0) == Approx(0.8 + 10 * 3 / 25.0));
  // the angle alone: the radius' gradient is zeros
  CHECK(backward(sum(out[1]))[x].at<double>(0) == Approx(-4 / 25.0));
  const auto squared = [&](const Tensors& in) {
    const Tensors both = custom_gradient(polar, polar_rule)(in);
    return square(both[0]) * both[1];
  };
  CHECK(gradcheck(squared, {tensor({3.0, 1.0}, f64), tensor({4.0, 0.5}, f64)}, {.order = 2}));
}

TEST_CASE("the outputs of a function with a gradient of its own may have any shapes, and one dtype") {
  const auto f = custom_gradient(
      [](const Tensors& in) -> Tensors {
        return {sum(in[0]), in[0] * 2.0, slice(in[0], 0, 0, 0)};
      },
      [](const Tensors& in, const Tensors& out, const Tensors& g) -> Tensors {
        CHECK(out[2].shape() == Shape({0, 3}));
        return {broadcast_to(g[0], in[0].shape()) + g[1] * 2.0};
      });
  const Tensor x = variable(ones({2, 3}, f64));
  const Tensors out = f({x});
  CHECK(out[0].shape() == Shape());
  CHECK(out[1].shape() == Shape({2, 3}));
  CHECK(out[2].shape() == Shape({0, 3}));
  CHECK(backward(out[0] * 5.0 + sum(out[1]))[x].values<double>() == std::vector<double>(6, 7.0));
  const auto rule = [](const Tensors&, const Tensors&, const Tensors& g) { return g; };
  CHECK_THROWS_WITH_AS(custom_gradient(
                           [](const Tensors& in) -> Tensors {
                             return {in[0], cast(in[0], f32)};
                           },
                           rule)({x}),
                       "a function's outputs must have one dtype, not f64 and f32", Error);
  CHECK_THROWS_WITH_AS(custom_gradient([](const Tensors&) -> Tensors { return {}; }, rule)({x}),
                       Contains("without outputs"), Error);
}

TEST_CASE("a function of several outputs with a gradient of its own runs in models and plans") {
  const auto f = custom_gradient(polar, polar_rule);
  const Tensor x = input({3}, "x", f64), y = input({3}, "y", f64);
  const Tensors out = f({x, y});
  CHECK(out[1].shape() == Shape({kOpen, 3}));
  Model model({x, y}, {out[0] + 1.0, out[1]});
  const Tensor a = tensor({{3.0, 1.0, 2.0}, {1.0, 2.0, 3.0}}, f64), b = a + 1.0;
  CHECK(model.call({a, b})[1].values<double>() == polar({a, b})[1].values<double>());
  const auto step = [&](const Tensors& in) -> Tensors {
    const Tensors both = f(in);
    return gradients(sum(both[0] * both[1]), in);
  };
  const Tensors eager = step({variable(a), variable(b)});
  const Tensors found = plan(step, {a, b})({a, b});
  for (std::size_t k = 0; k < 2; ++k) CHECK(found[k].values<double>() == eager[k].values<double>());
  const auto total = custom_gradient(
      [](const Tensors& in) -> Tensors {
        return {in[0], sum(in[0])};
      },
      [](const Tensors&, const Tensors&, const Tensors& g) -> Tensors { return {g[0]}; });
  CHECK_THROWS_WITH_AS(total({x}), Contains("it must be the first axis of all, but one is ()"), Error);
}

TEST_CASE("a function with a gradient of its own that reads elements runs in models and plans if its shape is told") {
  // t with t e^t = x by Newton's method, until it stands
  const auto solve = [](const Tensors& in) {
    Tensor t = in[0], step;
    do {
      step = (t * exp(t) - in[0]) / (exp(t) * (t + 1.0));
      t = t - step;
    } while (max(abs(step)).item<double>() > 1e-14);
    return t;
  };
  const auto rule = [](const Tensors& in, const Tensor& t, const Tensor& g) -> Tensors {
    return {g * t / (in[0] * (t + 1.0))};
  };
  const auto lambert = custom_gradient(solve, rule, {.shape = [](const Shapes& inputs) { return inputs[0]; }});
  const auto step = [&](const Tensors& in) -> Tensors {
    const Tensor t = lambert(in);
    return {t, gradients(sum(t), in)[0]};
  };
  const Tensor x = tensor({{1.0, std::exp(1.0)}}, f64);
  const Tensors found = plan(step, {x})({x});
  CHECK(found[0].at<double>(0) == Approx(0.5671432904097838));  // the omega constant
  CHECK(found[0].at<double>(1) == Approx(1));
  CHECK(found[1].at<double>(1) == Approx(1 / (2 * std::exp(1.0))));
  const Tensor symbol = input({2}, "x", f64);
  CHECK(Model(symbol, lambert({symbol}))(x).values<double>() == found[0].values<double>());
  CHECK_THROWS_AS(custom_gradient(solve, rule)({symbol}), Error);
  const auto wrong = custom_gradient(solve, rule, {.shape = [](const Shapes&) { return Shape{3}; }});
  CHECK_THROWS_WITH_AS(Model(symbol, wrong({symbol}))(x),
                       Contains("the function gave f64 of shape (1, 2) where f64 of shape (3,) was told"), Error);
}

TEST_CASE("a checkpoint of several outputs computes f once more for all of them") {
  int runs = 0;
  const auto f = [&](const Tensor& a, const Tensor& b) -> Tensors {
    ++runs;
    return {exp(sin(a) * b), sum(a * b), b * 2.0};
  };
  const Tensor a = variable(tensor({0.5, -0.25}, f64)), b = variable(tensor({1.0, 0.75}, f64));
  const auto loss = [](const Tensors& out) { return sum(square(out[0]) * out[1]) + sum(out[2]); };
  const Gradients plain = backward(loss(f(a, b)));
  runs = 0;
  const Tensors out = checkpoint(f, a, b);
  CHECK(runs == 1);
  const Gradients again = backward(loss(out));
  CHECK(runs == 2);
  for (const Tensor& x : {a, b})
    for (std::int64_t k = 0; k < 2; ++k) CHECK(again[x].at<double>(k) == Approx(plain[x].at<double>(k)).epsilon(1e-14));
  CHECK(gradcheck([&](const Tensors& in) { return loss(checkpoint(f, in[0], in[1])); }, {a, b}, {.order = 2}));
  CHECK(no_record([&] { return checkpoint(f, a, b); }).size() == 3);
}

TEST_CASE("a plan with a checkpoint of several outputs has the bits of eager execution") {
  const auto step = [](const Tensors& in) -> Tensors {
    const Tensors out = checkpoint(FunctionToTensors([](const Tensors& at) -> Tensors {
                                     return {tanh(at[0] * at[1]), at[0] + at[1]};
                                   }),
                                   in);
    return gradients(sum(out[0] * out[1]), in);
  };
  const Tensor a = tensor({0.5, -0.25, 2.0}, f64), b = tensor({1.0, 0.75, -1.0}, f64);
  const Tensors eager = step({variable(a), variable(b)}), planned = plan(step, {a, b})({a, b});
  for (std::size_t k = 0; k < 2; ++k) CHECK(planned[k].values<double>() == eager[k].values<double>());
}
