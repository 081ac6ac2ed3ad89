// The transforms that stand on forward mode: jvp, hvp, Jacobians and Hessians, of one argument and of several.
#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/parameter.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>

#include <cmath>

using namespace twopass;
using doctest::Approx;

namespace {

Tensor number(double x) { return tensor(x, f64); }

void same(const Tensor& a, const Tensor& b, double relative = 1e-12) {
  REQUIRE(a.shape() == b.shape());
  for (std::int64_t k = 0; k < a.elements(); ++k)
    CHECK(a.at<double>(k) == Approx(b.at<double>(k)).epsilon(relative).scale(1));
}

// Uses every kind of rule: fused and plain products, reductions, shapes, elementwise ops, and ones without a rule.
Tensor network(const Tensor& x) {
  const Tensor w = Random(5).normal({4, 4}, f64), b = Random(6).normal({4}, f64);
  Tensor h = affine(x, w, b, FusedActivation::tanh);
  h = matmul(h, transpose(h)) + sum(exp(h * 0.1), -1, keep_axis);
  h = softmax(h) * prod(1.0 + square(h) * 0.1, -1, keep_axis) - max(h, 0);
  return concat({h, slice(h, 1, 0, 1)}, 1) / (1.0 + norm(h));
}

}  // namespace

TEST_CASE("Jacobians and Hessians nest to the fourth order") {
  // The fourth derivative of x₀⁴ x₁ + sin x₁: 24 x₁ for x₀ four times, 24 x₀ for x₀ three times and x₁, sin x₁ for x₁.
  const Function f = [](const Tensor& x) {
    const Tensor a = slice(x, 0, 0, 1), b = slice(x, 0, 1, 2);
    return sum(pow(a, 4.0) * b + sin(b));
  };
  const Function second = [&](const Tensor& x) { return hessian(f, x); };
  const Function third = [&](const Tensor& x) { return jacobian(second, x); };
  const Tensor fourth = jacobian(third, tensor({0.5, 1.3}, f64));
  REQUIRE(fourth.shape() == Shape({2, 2, 2, 2}));
  for (std::int64_t k = 0; k < 16; ++k) {
    const int ones = static_cast<int>((k & 1) + (k >> 1 & 1) + (k >> 2 & 1) + (k >> 3 & 1));
    const double expected = ones == 0 ? 24 * 1.3 : ones == 1 ? 24 * 0.5 : ones == 4 ? std::sin(1.3) : 0;
    CHECK(fourth.at<double>(k) == Approx(expected).epsilon(1e-12).scale(1));
  }
}

TEST_CASE("jvp gives the derivatives of calculus, nested to the fourth order and mixed with grad") {
  const Tensor one = number(1);
  const auto d = [&](auto f) { return [f, one](const Tensor& x) { return jvp(f, x, one); }; };
  const auto sine = [](const Tensor& x) { return sin(x); };
  CHECK(d(d(d(d(sine))))(number(0.7)).item<double>() == Approx(std::sin(0.7)).epsilon(1e-12));
  CHECK(d(grad(d(grad(sine))))(number(0.7)).item<double>() == Approx(std::sin(0.7)).epsilon(1e-12));
  CHECK(grad(d(grad(d(sine))))(number(0.7)).item<double>() == Approx(std::sin(0.7)).epsilon(1e-12));
  // (x⁵)'''' = 120 x, through products, powers, divisions and a matrix product.
  const auto fifth = [](const Tensor& x) {
    return reshape(matmul(reshape(x * x, {1, 1}), reshape(pow(x, 4.0) / x, {1, 1})), {});
  };
  CHECK(d(d(d(d(fifth))))(number(1.5)).item<double>() == Approx(180).epsilon(1e-12));
  CHECK(d(d(grad(grad(fifth))))(number(1.5)).item<double>() == Approx(180).epsilon(1e-12));
}

TEST_CASE("jvp is the transpose of vjp through every kind of rule") {
  const Tensor x = Random(1).normal({3, 4}, f64), v = Random(2).normal({3, 4}, f64);
  const Tensor forward = jvp(network, x, v), w = Random(3).normal(forward.shape(), f64);
  CHECK(sum(w * forward).item<double>() == Approx(sum(vjp(network, x, w).second * v).item<double>()).epsilon(1e-12));
}

TEST_CASE("a jvp is recorded exactly if the point or the direction is") {
  const auto f = [](const Tensor& x) { return x * x * x; };
  const Tensor x = tensor({1.0, 2.0}, f64), v = tensor({3.0, 5.0}, f64);
  CHECK(!jvp(f, x, v).recorded());
  const Tensor moving = variable(x), direction = variable(v);
  CHECK(backward(sum(jvp(f, moving, v)))[moving].values<double>() == std::vector<double>{18, 60});       // 6 x v
  CHECK(backward(sum(jvp(f, x, direction)))[direction].values<double>() == std::vector<double>{3, 12});  // 3 x²
  CHECK(no_record([&] { return jvp(f, moving, v); }).recorded());
}

TEST_CASE("a Jacobian through every kind of rule has the derivatives that differences of it have") {
  const Tensor x = Random(1).normal({2, 4}, f64);
  CHECK(gradcheck([](const Tensors& in) { return jacobian(network, in[0]); }, {x}, {.order = 2}));
  const auto few = [](const Tensor& t) { return slice(reshape(network(t), {-1}), 0, 0, 3); };  // by rows
  CHECK(gradcheck([&](const Tensors& in) { return jacobian(few, in[0]); }, {x}, {.order = 2}));
}

TEST_CASE("transforms of several arguments give a derivative for each") {
  // f = Σ a² b: the gradient is (2 a b, a²), the Hessian has the blocks 2 b, 2 a and 0.
  const FunctionOfMany f = [](const Tensors& x) { return sum(x[0] * x[0] * x[1]); };
  const FunctionOfMany product = [](const Tensors& x) { return x[0] * x[1]; };
  const Tensor a = tensor({1.0, 2.0}, f64), b = tensor({3.0, 5.0}, f64), v = tensor({1.0, -1.0}, f64);
  const Tensors at{a, b}, along{v, b};
  CHECK(jvp(product, at, along).values<double>() == std::vector<double>{6, 5});  // v b + a b
  const auto [y, back] = vjp(product, at, v);
  CHECK(y.values<double>() == std::vector<double>{3, 10});
  CHECK(back[1].values<double>() == std::vector<double>{1, -2});
  const Tensors curved = hvp(f, at, along);
  CHECK(curved[0].values<double>() == std::vector<double>{12, 10});  // 2 b v + 2 a b
  CHECK(curved[1].values<double>() == std::vector<double>{2, -4});   // 2 a v
  const Tensors j = jacobian(product, at);
  CHECK(j[0].values<double>() == std::vector<double>{3, 0, 0, 5});
  CHECK(j[1].values<double>() == std::vector<double>{1, 0, 0, 2});
  const auto h = hessian(f, at);
  CHECK(h[0][0].values<double>() == std::vector<double>{6, 0, 0, 10});
  CHECK(h[0][1].values<double>() == std::vector<double>{2, 0, 0, 4});
  CHECK(h[1][0].values<double>() == std::vector<double>{2, 0, 0, 4});
  CHECK(h[1][1].values<double>() == std::vector<double>{0, 0, 0, 0});
  CHECK_THROWS_WITH_AS(jvp(product, at, Tensors{v}), doctest::Contains("v has 1 tensor but x has 2"), Error);
  CHECK_THROWS_WITH_AS(hvp(f, at, Tensors{v, number(1)}), doctest::Contains("v 1 is f64 () but x 1 is f64 (2,)"),
                       Error);
}

TEST_CASE("a Hessian's blocks below the diagonal are those above, turned, and can be differentiated too") {
  const FunctionOfMany f = [](const Tensors& in) { return square(sum(in[0])) * sum(pow(in[1], 3.0)); };
  const Tensors at{tensor({1.0, 2.0}, f64), tensor({1.0, -1.0, 2.0}, f64)};
  const auto h = hessian(f, at);
  CHECK(h[0][1].shape() == Shape{2, 3});
  CHECK(h[1][0].shape() == Shape{3, 2});
  CHECK(h[0][1].values<double>() == std::vector<double>{18, 18, 72, 18, 18, 72});  // 2 Σa · 3 b²
  CHECK(h[1][0].values<double>() == std::vector<double>{18, 18, 18, 18, 72, 72});
  const Tensor a = variable(at[0]), b = variable(at[1]);
  const Tensor corner = sum(hessian(f, Tensors{a, b})[1][0]);  // 12 Σa Σb²
  CHECK(gradients(corner, {a})[0].values<double>() == std::vector<double>{72, 72});
  CHECK(gradients(corner, {b})[0].values<double>() == std::vector<double>{72, -72, 144});
}

TEST_CASE("a Jacobian evaluates its function once, and by rows, by columns and planned it is the same") {
  const Tensor x = Random(1).normal({3, 4}, f64);
  int calls = 0;
  const auto counted = [&](const Tensor& t) {
    ++calls;
    return network(t);
  };
  const Tensor columns = jacobian(counted, x);  // 12 columns, 12 rows
  CHECK(calls == 1);
  CHECK(columns.shape() == Shape{3, 4, 3, 4});
  const auto wide = [&](const Tensor& t) { return slice(reshape(counted(t), {12}), 0, 0, 11); };
  const Tensor rows = jacobian(wide, x);
  CHECK(calls == 2);
  same(rows, slice(reshape(columns, {12, 3, 4}), 0, 0, 11));
  // By definition: each column is J e.
  const Tensor unit = reshape(slice(eye(12, f64), 0, 5, 6), {3, 4});
  same(jvp(network, x, unit), reshape(slice(reshape(columns, {12, 12}), 1, 5, 6), {3, 4}));
  // Recorded, it is the same, and has a gradient: that of Σ J for f = x³ is 6 x.
  same(jacobian(network, variable(x)), columns);
  const Tensor moving = variable(arange(1, 13, 1, f64));
  same(backward(sum(jacobian([](const Tensor& t) { return t * t * t; }, moving)))[moving], moving * 6.0);
}

TEST_CASE("a Jacobian through rules that read numbers, which no plan can trace, and through parameters is the same") {
  const Parameter p(arange(1, 13, 1, f64));
  const auto loud = custom_gradient([](const Tensors& x) { return square(x[0]); },
                                    [](const Tensors& x, const Tensor&, const Tensor& g) -> Tensors {
                                      return {g.at<double>(0) == 7 ? g : g * x[0] * 2.0};
                                    });
  const Tensor x = arange(0, 12, 1, f64), expected = eye(12, f64) * (x * p.tensor() * 2.0);
  same(jacobian([&](const Tensor& t) { return loud({t}) * p.tensor(); }, x), expected);
  same(jacobian([&](const Tensor& t) { return square(t) * p.tensor(); }, x), expected);
  const auto wider = [&](const Tensor& t) { return slice(square(t) * p.tensor(), 0, 0, 11); };
  same(jacobian(wider, x), slice(expected, 0, 0, 11));
}

TEST_CASE("a Hessian is symmetric and that of calculus") {
  // Σ (x xᵀ)² / 4 = |x|⁴ / 4 has the Hessian |x|² 1 + 2 x xᵀ.
  const auto quartic = [](const Tensor& x) { return sum(square(expand_dims(x, 1) * x)) * 0.25; };
  const Tensor x = Random(4).normal({10}, f64);
  const Tensor expected = eye(10, f64) * sum(square(x)) + 2.0 * expand_dims(x, 1) * x;
  same(hessian(quartic, x), expected);
  same(hvp(quartic, x, x), matmul(expected, x));
}

TEST_CASE("Jacobians of nothing, of constants and of empty tensors are zeros of their shape") {
  const Tensor none = zeros({0, 3}, f64), x = ones({2}, f64);
  CHECK(jacobian([](const Tensor& t) { return t * 2.0; }, none).shape() == Shape{0, 3, 0, 3});
  CHECK(jacobian([&](const Tensor&) { return x; }, none).shape() == Shape{2, 0, 3});
  CHECK(jacobian([&](const Tensor&) { return x; }, x).values<double>() == std::vector<double>{0, 0, 0, 0});
  const auto h = hessian([](const Tensors& t) { return sum(square(t[0])) + sum(t[1]); }, Tensors{x, none});
  CHECK(h[0][1].shape() == Shape{2, 0, 3});
  CHECK(h[1][0].shape() == Shape{0, 3, 2});
  CHECK(h[0][0].values<double>() == std::vector<double>{2, 0, 0, 2});
  CHECK(jvp([&](const Tensor&) { return x; }, x, x).values<double>() == std::vector<double>{0, 0});
}

TEST_CASE("a planned jvp gives the bits of the eager one") {
  const Tensor x = Random(1).normal({3, 4}, f64), v = Random(2).normal({3, 4}, f64);
  const Plan planned = plan([](const Tensors& in) -> Tensors { return {jvp(network, in[0], in[1])}; }, {x, v});
  same(planned({x, v})[0], jvp(network, x, v), 1e-15);
  const auto loss = [](const Tensor& t) { return sum(square(network(t))); };
  const Plan curvature = plan([&](const Tensors& in) -> Tensors { return {hvp(loss, in[0], in[1])}; }, {x, v});
  same(curvature({x, v})[0], hvp(loss, x, v), 1e-14);
}

TEST_CASE("a planned Jacobian and a planned Hessian are the eager ones") {
  const Tensor x = Random(1).normal({12}, f64);
  const auto f = [](const Tensor& t) { return tanh(t) * sum(square(t)); };
  const auto loss = [&](const Tensor& t) { return sum(f(t)); };
  const Plan planned = plan(
      [&](const Tensors& in) -> Tensors {
        return {jacobian(f, in[0]), hessian(loss, in[0])};
      },
      {x});
  const Tensors found = planned({x});
  same(found[0], jacobian(f, x), 1e-15);
  same(found[1], hessian(loss, x), 1e-15);
}

TEST_CASE("a model may hold a jvp of its symbols: their open batch stays open") {
  const auto f = [](const Tensor& x) { return x * tanh(x) + sum(x, -1, keep_axis); };
  const Tensor x = input({3}, "x"), v = input({3}, "v");
  const Tensor y = jvp(f, x, v);
  CHECK(y.shape() == Shape{kOpen, 3});
  Model model({x, v}, y);
  const Tensor a = Random(1).normal({2, 3}), b = Random(2).normal({2, 3});
  CHECK(model.predict({a, b}).values<float>() == jvp(f, a, b).values<float>());
}

TEST_CASE("checkpoints and functions with gradients of their own go forward too") {
  const auto f = [](const Tensor& a, const Tensor& b) { return exp(sin(a) * b) * a; };
  const Tensor a = tensor({0.5, -0.25}, f64), b = tensor({1.0, 0.75}, f64), v = tensor({2.0, 3.0}, f64);
  const FunctionOfMany plain = [&](const Tensors& x) { return f(x[0], x[1]); };
  const FunctionOfMany again = [&](const Tensors& x) { return checkpoint(f, x[0], x[1]); };
  // What a checkpoint catches moves as well: caught is computed from b, and both are used inside.
  const FunctionOfMany catching = [&](const Tensors& x) {
    const Tensor caught = x[1] * x[1];
    return checkpoint([f, caught, b = x[1]](const Tensor& t) { return f(t, caught) * b; }, x[0]);
  };
  const FunctionOfMany plainly = [&](const Tensors& x) { return f(x[0], x[1] * x[1]) * x[1]; };
  const Tensors at{a, b}, along{v, a};
  same(jvp(again, at, along), jvp(plain, at, along));
  same(jvp(catching, at, along), jvp(plainly, at, along));
  const auto twice = [&](const FunctionOfMany& g) {
    return jvp([&](const Tensors& x) { return jvp(g, x, along); }, at, along);
  };
  same(twice(catching), twice(plainly));
  const auto straight = custom_gradient([](const Tensors& x) { return x[0] - sin(x[0]); },
                                        [](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g}; });
  CHECK(jvp([&](const Tensor& x) { return straight({x}); }, a, v).values<double>() == v.values<double>());
}

TEST_CASE("in a plan a Jacobian is recorded exactly if its point is, too") {
  const Parameter weights(tensor({{1.0, 2.0}, {3.0, 4.0}}, f64), "w");
  const Tensor x = tensor({0.5, -0.25}, f64);
  const auto f = [&](const Tensor& at) { return tanh(matmul(reshape(at, {1, 2}), weights.value())); };
  bool recorded = true, recorded_hessian = true;
  plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor rows = jacobian(f, x);
        recorded = rows.recorded();
        recorded_hessian = hessian([&](const Tensor& at) { return sum(f(at)); }, x).recorded();
        return {rows + in[0]};
      },
      {tensor(0.0, f64)});
  CHECK_FALSE(recorded);
  CHECK_FALSE(recorded_hessian);
}

TEST_CASE("a Hessian is symmetric by construction: below the diagonal stands what is above, whatever a rule claims") {
  const auto claimed = custom_gradient([](const Tensors& in) { return sum(in[0] * in[1]); },
                                       [](const Tensors& in, const Tensor&, const Tensor& g) {
                                         return Tensors{g * in[1] * 2.0, g * in[0]};
                                       });
  const Tensors at{tensor({1.0, 2.0}, f64), tensor({3.0, 4.0}, f64)};
  const auto blocks = hessian([&](const Tensors& in) { return claimed(in); }, at);
  const std::vector<double> above = blocks[0][1].values<double>(), below = blocks[1][0].values<double>();
  CHECK(below == std::vector{above[0], above[2], above[1], above[3]});
  CHECK(std::abs(above[0]) > 0);  // 1 or 2, as the rule has both
}
