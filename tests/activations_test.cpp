// Activations that are functions of other ops. Numbers of celu, the shrinks, threshold and softmin are PyTorch's.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/ops/activations.h>
#include <twopass/ops/anomaly.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/softmax.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
using Unary = std::function<Tensor(const Tensor&)>;

const Tensor& points() {
  static const Tensor x = tensor({-2.0, -0.5, -0.25, 0.0, 0.25, 0.5, 2.0}, f64);
  return x;
}

Values values(const Unary& f) { return f(points()).values<double>(); }
Values slopes(const Unary& f) {
  const Tensor x = variable(points());
  return backward(sum(f(x)))[x].values<double>();
}
double at(const Unary& f, double x) { return f(tensor(x, f64)).item<double>(); }

}  // namespace

TEST_CASE("celu is smooth at 0, for any alpha, and exact above it") {
  const Unary f = [](const Tensor& x) { return celu(x, 0.5); };
  check_ends(celu(points()), {-0.864664716763387, -0.393469340287367, -0.221199216928595, 0, 0.25, 0.5, 2});
  check_ends(f(points()), {-0.490842180555633, -0.316060279414279, -0.196734670143683, 0, 0.25, 0.5, 2});
  const Values slope = slopes(f);
  CHECK(slope[0] == doctest::Approx(0.0183156388887342).epsilon(1e-13));
  CHECK(Values(slope.begin() + 3, slope.end()) == Values{1, 1, 1, 1});
  CHECK(at(f, 0.1) == 0.1);
  CHECK(at(f, 1e300) == 1e300);
  CHECK(at(f, -kInf) == -0.5);
  CHECK(std::isnan(at(f, std::nan(""))));
  for (const DType dtype : {f32, f64})  // the limit
    for (const double endless : {1e300, HUGE_VAL}) {
      if (dtype == f64 && endless == 1e300) continue;
      const Tensor x = variable(cast(points(), dtype)), y = celu(x, endless);
      CHECK(y.values<double>() == x.values<double>());
      CHECK(backward(sum(y))[x].values<double>() == std::vector<double>(7, 1));
    }
  CHECK_THROWS_WITH_AS(celu(points(), 0), "celu(7,): alpha must be positive, not 0", Error);
  CHECK_THROWS_WITH_AS(celu(tensor({1, 2})), Contains("only f32 and f64"), Error);
}

TEST_CASE("celu raises e to nothing large, which an anomaly scope would refuse") {
  const AnomalyScope scope;
  CHECK(celu(tensor(1e5, f64)).item<double>() == 1e5);
  CHECK_THROWS_WITH_AS(expm1(tensor(1e5, f64)), Contains("expm1"), Error);
}

TEST_CASE("what shrinks is 0 with gradient 0 up to its bound, the bound included") {
  const Unary hard = [](const Tensor& x) { return hard_shrink(x); };
  const Unary soft = [](const Tensor& x) { return soft_shrink(x); };
  CHECK(values(hard) == Values{-2, 0, 0, 0, 0, 0, 2});
  CHECK(values(soft) == Values{-1.5, 0, 0, 0, 0, 0, 1.5});
  for (const Unary& f : {hard, soft}) {
    CHECK(slopes(f) == Values{1, 0, 0, 0, 0, 0, 1});
    CHECK(at(f, -kInf) == -kInf);
    CHECK(std::isnan(at(f, std::nan(""))));
  }
  check_ends(tanh_shrink(points()), {-1.03597241992418, -0.0378828427399903, -0.00508133759629087, 0,
                                     0.00508133759629087, 0.0378828427399903, 1.03597241992418});
  CHECK(at(tanh_shrink, kInf) == kInf);
  CHECK_THROWS_WITH_AS(hard_shrink(points(), -1), "hard_shrink(7,): the bound must be 0 or more, not -1", Error);
  CHECK_THROWS_WITH_AS(soft_shrink(points(), std::nan("")), Contains("must be 0 or more, not nan"), Error);
}

TEST_CASE("threshold passes what is above the bound, and no gradient elsewhere") {
  const Unary f = [](const Tensor& x) { return threshold(x, 0.25, -3); };
  CHECK(values(f) == Values{-3, -3, -3, -3, -3, 0.5, 2});
  CHECK(slopes(f) == Values{0, 0, 0, 0, 0, 1, 1});
  CHECK(std::isnan(at(f, std::nan(""))));
}

TEST_CASE("squareplus has slopes 0 and 1 at the infinities") {
  const Tensor x = variable(tensor({double{-INFINITY}, -1e200, 1e200, double{INFINITY}}, f64)), y = squareplus(x);
  CHECK(y.values<double>() == std::vector<double>{0, 1e-200, 1e200, INFINITY});
  CHECK(backward(sum(y))[x].values<double>() == std::vector<double>{0, 0, 1, 1});
}

TEST_CASE("squareplus keeps its digits far below 0, and its slope at 0 is a half") {
  // (x + √(x² + b)) / 2 by hand
  CHECK(at([](const Tensor& x) { return squareplus(x); }, 0) == 1);
  CHECK(at([](const Tensor& x) { return squareplus(x); }, 1.5) == 2);
  CHECK(at([](const Tensor& x) { return squareplus(x); }, -1.5) == 0.5);
  CHECK(at([](const Tensor& x) { return squareplus(x); }, -1e9) == doctest::Approx(1e-9).epsilon(1e-14));
  CHECK(at([](const Tensor& x) { return squareplus(x); }, 1e200) == 1e200);
  CHECK(slopes([](const Tensor& x) { return squareplus(x, 1); })[3] == 0.5);
  CHECK_THROWS_WITH_AS(squareplus(points(), 0), "squareplus(7,): b must be positive, not 0", Error);
}

TEST_CASE("sparse_plus is the integral of sparse_sigmoid") {
  const Tensor x = tensor({-2.0, -1.0, 0.0, 0.5, 1.0, 3.0, 1e200}, f64);
  CHECK(sparse_plus(x).values<double>() == Values{0, 0, 0.25, 0.5625, 1, 3, 1e200});
  CHECK(sparse_sigmoid(x).values<double>() == Values{0, 0, 0.5, 0.75, 1, 1, 1});
  const Tensor v = variable(x);
  CHECK(backward(sum(sparse_plus(v)))[v].values<double>() == sparse_sigmoid(x).values<double>());
}

TEST_CASE("sparsemax is the nearest point of the simplex, and shares what ties") {
  // By hand: of two, (1 + a - b) / 2 held to [0, 1].
  CHECK(sparsemax(tensor({{0.5, 0.0}, {3.0, 1.0}, {-1.0, -1.0}}, f64)).values<double>() ==
        Values{0.75, 0.25, 1, 0, 0.5, 0.5});
  check_ends(sparsemax(tensor({0.1, 1.1, 0.2, 0.3}, f64)), {0, 0.9, 0, 0.1});
  CHECK_THROWS_WITH_AS(sparsemax(input({3}), 0), Contains("axis 0 is open"), Error);
  CHECK(sparsemax(tensor({{1e9, 0.0}, {1e9, 1.0}}, f64), 0).values<double>() == Values{0.5, 0, 0.5, 1});
}

TEST_CASE("softmin is largest where x is smallest") {
  const Values wanted{0.575360999831938,  0.128380392035661,  0.0999827498483868, 0.077866643875556,
                      0.0606426032254253, 0.0472285068794497, 0.0105381043035828};
  check_ends(softmin(points()), wanted);
  CHECK_THROWS_WITH_AS(softmin(points(), 1), Contains("axis 1 is out of range"), Error);
}

TEST_CASE("these activations are differentiated right to second order") {
  const Tensor x = tensor({-2.5, -0.7, -0.3, 0.2, 0.8, 2.2}, f64);
  const std::vector<Unary> all{[](const Tensor& t) { return celu(t, 0.7); },
                               [](const Tensor& t) { return hard_shrink(t); },
                               [](const Tensor& t) { return soft_shrink(t); },
                               tanh_shrink,
                               [](const Tensor& t) { return threshold(t, 0.5, 3); },
                               [](const Tensor& t) { return squareplus(t, 1.5); },
                               sparse_sigmoid,
                               sparse_plus,
                               [](const Tensor& t) { return sparsemax(t); },
                               [](const Tensor& t) { return softmin(t); }};
  for (const Unary& f : all) check_gradients([&](const Tensors& in) { return f(in[0]); }, {x}, 2);
  check_gradients([](const Tensors& in) { return squareplus(in[0]); }, {tensor({0.0}, f64)}, 2);
}

TEST_CASE("Keras's names of activations stand for them in layers") {
  const Tensor x = tensor({{-2.0, 0.5, 3.0}});
  const auto same = [&](const char* name, const Unary& f) {
    CAPTURE(name);
    CHECK(Activation(name)(x).values<float>() == f(x).values<float>());
    CHECK(f(input({3})).shape() == Shape{kOpen, 3});
  };
  same("celu", [](const Tensor& t) { return celu(t); });
  same("selu", selu);
  same("relu6", relu6);
  same("mish", mish);
  same("softsign", softsign);
  same("hard_sigmoid", hard_sigmoid);
  same("hard_silu", hard_silu);
  same("hard_swish", hard_silu);
  same("hard_tanh", hard_tanh);
  same("hard_shrink", [](const Tensor& t) { return hard_shrink(t); });
  same("soft_shrink", [](const Tensor& t) { return soft_shrink(t); });
  same("tanh_shrink", tanh_shrink);
  same("log_sigmoid", log_sigmoid);
  same("squareplus", [](const Tensor& t) { return squareplus(t); });
  same("sparse_plus", sparse_plus);
  same("sparse_sigmoid", sparse_sigmoid);
  same("sparsemax", [](const Tensor& t) { return sparsemax(t); });
}

TEST_CASE("N24: shrinks give no gradient where they give 0, whatever comes behind them") {
  for (const auto& shrink : {&soft_shrink, &hard_shrink}) {
    const Tensor x = variable(tensor({0.2, 4.5}, f64));
    const std::vector<double> slopes = backward(sum(sqrt(shrink(x, 0.5))))[x].values<double>();
    CHECK(slopes[0] == 0);
    CHECK(slopes[1] == doctest::Approx(0.5 / std::sqrt(shrink == &soft_shrink ? 4.0 : 4.5)));
  }
}
