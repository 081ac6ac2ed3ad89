// Functions with gradients of their own in forward mode: by a rule for tangents, or by the gradient.
#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/trigonometric.h>

#include <cmath>
#include <functional>

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

// a² sin b, whose gradients are 2 a sin b and a² cos b.
Tensor value(const Tensors& in) { return square(in[0]) * sin(in[1]); }
Tensors gradient(const Tensors& in, const Tensor&, const Tensor& g) {
  return {g * in[0] * sin(in[1]) * 2.0, g * square(in[0]) * cos(in[1])};
}
Tensor tangent(const Tensors& in, const Tensor&, const Tensors& t) {
  return t[0] * in[0] * sin(in[1]) * 2.0 + t[1] * square(in[0]) * cos(in[1]);
}

// Radius and angle: dr = (x dx + y dy) / r, dφ = (x dy - y dx) / r².
Tensors polar(const Tensors& in) { return {sqrt(square(in[0]) + square(in[1])), atan2(in[1], in[0])}; }
Tensors polar_gradient(const Tensors& in, const Tensors& out, const Tensors& g) {
  const Tensor& r = out[0];
  return {g[0] * in[0] / r - g[1] * in[1] / square(r), g[0] * in[1] / r + g[1] * in[0] / square(r)};
}
Tensors polar_tangent(const Tensors& in, const Tensors& out, const Tensors& t) {
  const Tensor& r = out[0];
  return {(in[0] * t[0] + in[1] * t[1]) / r, (in[0] * t[1] - in[1] * t[0]) / square(r)};
}

}  // namespace

TEST_CASE("forward mode takes a custom function's own rule for tangents, and its gradient where there is none") {
  int backwards = 0, forwards = 0;
  const GradientRule counted = [&](const Tensors& in, const Tensor& y, const Tensor& g) {
    ++backwards;
    return gradient(in, y, g);
  };
  const TangentRule ahead = [&](const Tensors& in, const Tensor& y, const Tensors& t) {
    ++forwards;
    return tangent(in, y, t);
  };
  const Tensors at{tensor({3.0, 0.5}, f64), tensor({0.7, 2.0}, f64)};
  const Tensors along{tensor({1.0, -1.0}, f64), tensor({10.0, 0.0}, f64)};
  const auto with = custom_gradient(value, counted, {.tangent = ahead});
  const auto without = custom_gradient(value, counted);
  const Tensor by_rule = jvp(FunctionOfMany(with), at, along);
  CHECK(forwards == 1);
  CHECK(backwards == 0);
  CHECK(by_rule.at<double>(0) == Approx(6 * std::sin(0.7) + 90 * std::cos(0.7)).epsilon(1e-13));
  CHECK(by_rule.at<double>(1) == Approx(-std::sin(2.0)).epsilon(1e-13));
  const Tensor by_gradient = jvp(FunctionOfMany(without), at, along);
  CHECK(backwards > 0);
  CHECK(forwards == 1);
  for (const int k : {0, 1}) CHECK(by_gradient.at<double>(k) == Approx(by_rule.at<double>(k)).epsilon(1e-13));
}

TEST_CASE("an input of a custom function that stands still has the tangent 0") {
  const auto f = custom_gradient(value, gradient, {.tangent = tangent});
  const Tensor b = tensor({0.7}, f64);
  const auto of_a = [&](const Tensor& a) { return f({a, b}); };
  CHECK(jvp(of_a, tensor({3.0}, f64), tensor({1.0}, f64)).item<double>() == Approx(6 * std::sin(0.7)).epsilon(1e-13));
}

TEST_CASE("the tangent rule of several outputs gives one for each, in a Jacobian by columns and in a plan too") {
  int backwards = 0;
  const auto f = custom_gradient(polar,
                                 [&](const Tensors& in, const Tensors& out, const Tensors& g) {
                                   ++backwards;
                                   return polar_gradient(in, out, g);
                                 },
                                 {.tangent = polar_tangent});
  const auto both = [&](const Tensors& in) {
    const Tensors out = f(in);
    return stack({out[0], out[1]});
  };
  const Tensors at{tensor(3.0, f64), tensor(4.0, f64)}, along{tensor(1.0, f64), tensor(0.5, f64)};
  const auto close_to = [](const Tensor& y) {
    CHECK(y.at<double>(0) == Approx((3 + 4 * 0.5) / 5).epsilon(1e-13));
    CHECK(y.at<double>(1) == Approx((3 * 0.5 - 4) / 25).epsilon(1e-13));
  };
  close_to(jvp(FunctionOfMany(both), at, along));
  const Plan planned = plan(
      [&](const Tensors& in) -> Tensors {
        return {jvp(FunctionOfMany(both), Tensors{in[0], in[1]}, along)};
      },
      at);
  close_to(planned(at)[0]);
  const Tensor by_x = jacobian(FunctionOfMany(both), at)[0];
  CHECK(by_x.at<double>(0) == Approx(0.6).epsilon(1e-13));
  CHECK(by_x.at<double>(1) == Approx(-4 / 25.0).epsilon(1e-13));
  CHECK(backwards == 0);
}

TEST_CASE("gradcheck holds the tangent rule of a custom function against its gradient, and blames it") {
  const Tensors at{Random(1).uniform({3}, f64, 0.5, 2), Random(2).normal({3}, f64)};
  CHECK(gradcheck(custom_gradient(value, gradient, {.tangent = tangent}), at, {.order = 3}));
  const auto wrong =
      custom_gradient(value, gradient, {.tangent = [](const Tensors& in, const Tensor&, const Tensors& t) {
                        return t[0] * in[0] * sin(in[1]) * 2.0 - t[1] * square(in[0]) * cos(in[1]);
                      }});
  const GradcheckReport report = gradcheck([&](const Tensors& in) { return exp(wrong({neg(in[0]), in[1]})); }, at);
  CHECK(!report.ok());
  CHECK(report.text().find("to blame: custom_gradient(") != std::string::npos);
}

TEST_CASE("a tangent of another shape than the output is refused with the function's name") {
  const auto f = custom_gradient(
      value, gradient, {.tangent = [](const Tensors&, const Tensor&, const Tensors& t) { return sum(t[0]); }});
  CHECK_THROWS_WITH_AS(
      jvp(FunctionOfMany(f), Tensors{ones({2}, f64), ones({2}, f64)}, Tensors{ones({2}, f64), ones({2}, f64)}),
      "the tangent of custom_gradient is f64 () but its output f64 (2,)", Error);
}

TEST_CASE("of several outputs a tangent that is undefined is zero, and another number of them is refused") {
  const auto both = [](const Tensors& in) { return Tensors{in[0] * 2.0, in[0] * in[0]}; };
  const auto rule = [](const Tensors& in, const Tensors&, const Tensors& g) {
    return Tensors{g[0] * 2.0 + g[1] * in[0] * 2.0};
  };
  const auto second_alone = [](const Tensors& in, const Tensors&, const Tensors& t) {
    return Tensors{Tensor(), t[0] * in[0] * 2.0};
  };
  const auto none = [](const Tensors&, const Tensors&, const Tensors&) { return Tensors{}; };
  const Tensor x = tensor({3.0}, f64), t = ones({1}, f64);
  const auto tangent_of = [&](const TangentRules& tangents) {
    const auto f = custom_gradient(FunctionToTensors(both), GradientRules(rule), {.tangent = tangents});
    const auto y = [&](const Tensor& at) {
      const Tensors outputs = f({at});
      return outputs[0] * 100.0 + outputs[1];
    };
    return jvp(y, x, t);
  };
  CHECK(tangent_of(second_alone).item<double>() == 6);
  CHECK_THROWS_WITH_AS(tangent_of(none), doctest::Contains("the rule gave 0 tangents for 2 outputs"), Error);
}

TEST_CASE("a checkpoint of a function that moves a state computes again with the state that it moved it to, once") {
  const Parameter c(tensor(0.0f), "c"), w(tensor(2.0f), "w");
  c.set_trainable(false);
  const auto by_tensor = [&](const Tensor& x) {
    c.set(c.tensor() + 1.0);
    return x * x * w * c.tensor();
  };
  const auto by_value = [&](const Tensor& x) {
    c.set(c.value() + 1.0);
    return x * x * w * c.value();
  };
  for (const auto& f :
       {std::function<Tensor(const Tensor&)>(by_tensor), std::function<Tensor(const Tensor&)>(by_value)}) {
    const auto step = [&](const Tensors& in) -> Tensors {
      const Tensor y = checkpoint(f, in[0]);
      const Gradients found = backward(y);
      return {y, found[in[0]], found[w]};
    };
    const Plan planned = plan(step, {tensor(1.0f)});
    for (const bool as_plan : {false, true}) {
      c.set(tensor(0.0f));
      for (int k = 1; k <= 3; ++k) {
        const Tensors found = as_plan ? planned({tensor(3.0f)}) : step({variable(tensor(3.0f))});
        CHECK(found[0].item<double>() == 18 * k);
        CHECK(found[1].item<double>() == 12 * k);
        CHECK(found[2].item<double>() == 9 * k);
        CHECK(c.value().item<double>() == k);
      }
    }
  }
}

TEST_CASE("a checkpoint computes again with the values of then, whatever was set since") {
  const Parameter w(tensor(2.0f), "w");
  const auto step = [&](const Tensors& in) -> Tensors {
    const Tensor y = checkpoint([&](const Tensor& x) { return x * x * w.value() * w.tensor(); }, in[0]);
    w.set(w.tensor() * 10.0);
    const Gradients found = backward(y);
    return {found[in[0]], found[w]};
  };
  const Plan planned = plan(step, {tensor(1.0f)});
  for (const bool as_plan : {false, true}) {
    w.set(tensor(2.0f));
    const Tensors found = as_plan ? planned({tensor(3.0f)}) : step({variable(tensor(3.0f))});
    CHECK(found[0].item<double>() == 24);
    CHECK(found[1].item<double>() == 18);
    CHECK(w.value().item<double>() == 20);
  }
}

TEST_CASE("a checkpoint of a function that sets what it is differentiated for is refused") {
  const Parameter w(tensor(2.0f), "w");
  const auto f = [&](const Tensor& x) {
    w.set(w.value() + 1.0);
    return x * w;
  };
  const Tensor y = checkpoint(f, variable(tensor(3.0f)));
  CHECK_THROWS_WITH_AS(backward(y), Contains("checkpoint: parameter \"w\" is trainable and the function sets it"),
                       Error);
}

TEST_CASE("what a custom function reads from a parameter in a plan is what the plan has set it to, and it may set it") {
  const Parameter w(tensor(2.0f), "w"), count(tensor(0.0f), "count");
  count.set_trainable(false);
  const auto scaled = [&](const Tensors& in) {
    count.set(count.value() + 1.0);
    return in[0] * w.value();
  };
  const FunctionOfTensors one = custom_gradient(
      scaled, [&](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g * w.value()}; });
  const FunctionToTensors two = custom_gradient(
      [&](const Tensors& in) -> Tensors {
        return {scaled(in), in[0]};
      },
      [&](const Tensors&, const Tensors&, const Tensors& g) -> Tensors { return {g[0] * w.value() + g[1]}; });
  const auto of_one = [&](const Tensors& in) { return one(in); };
  const auto of_two = [&](const Tensors& in) { return two(in)[0]; };
  for (const FunctionOfTensors& f : {FunctionOfTensors(of_one), FunctionOfTensors(of_two)}) {
    const auto step = [&](const Tensors& in) -> Tensors {
      w.set(w.tensor() * 10.0);
      const Tensor y = f(in);
      return {y, backward(y)[in[0]]};
    };
    w.set(tensor(2.0f));
    count.set(tensor(0.0f));
    const Plan planned = plan(step, {tensor(1.0f)});
    CHECK(count.value().item<double>() == 0);
    for (int k = 1; k <= 2; ++k) {
      const Tensors found = planned({tensor(3.0f)});
      CHECK(found[0].item<double>() == 6 * std::pow(10.0, k));
      CHECK(found[1].item<double>() == 2 * std::pow(10.0, k));
      CHECK(count.value().item<double>() == k);
    }
  }
}

TEST_CASE(
    "a custom function that tells its shape is refused in a plan what it cannot have: values set before, and sets") {
  const Parameter w(tensor(2.0f), "w");
  const GradientRule rule = [](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g}; };
  const CustomGradientOptions told{.shape = [](const Shapes& shapes) { return shapes[0]; }};
  const auto reads =
      custom_gradient([&](const Tensors& in) { return in[0] * (w.value() + in[0].item<double>()); }, rule, told);
  const auto sets = custom_gradient(
      [&](const Tensors& in) {
        w.set(tensor(static_cast<float>(in[0].item<double>())));
        return in[0];
      },
      rule, told);
  const Tensor x = tensor(3.0f);
  const Plan before = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor y = reads(in);
        w.set(w.tensor() * 10.0);
        return {y};
      },
      {x});
  CHECK(before({x})[0].item<double>() == 15);
  w.set(tensor(2.0f));
  const Plan again = plan(
      [&](const Tensors& in) -> Tensors {
        return {backward(checkpoint([&](const Tensor& t) { return t * reads({t * w}); }, in[0]))[in[0]]};
      },
      {x});
  CHECK(again({x})[0].item<double>() == 6 * 8 + 3 * 2);
  const Plan after = plan(
      [&](const Tensors& in) -> Tensors {
        w.set(w.tensor() * 10.0);
        return {reads(in)};
      },
      {x});
  CHECK_THROWS_WITH_AS(after({x}), Contains("its function reads parameter \"w\" after the plan has set it"), Error);
  const Plan setting = plan([&](const Tensors& in) -> Tensors { return {sets(in)}; }, {x});
  CHECK_THROWS_WITH_AS(setting({x}), Contains("its function sets parameter \"w\""), Error);
  CHECK(w.value().item<double>() == 2);
}
