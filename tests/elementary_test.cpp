// Elementary and special functions, rounding and activations at the points where they go wrong.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/activations.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/special.h>
#include <twopass/ops/trigonometric.h>

using namespace twopass;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
using Pair = std::vector<double>;
using Unary = Tensor (*)(const Tensor&);

double value(Tensor (*f)(const Tensor&), double at) { return f(tensor(at, f64)).item<double>(); }

double slope(Tensor (*f)(const Tensor&), double at) {
  const Tensor x = variable(tensor(at, f64));
  return backward(f(x))[x].item<double>();
}

// f(a, b) and both derivatives.
std::vector<double> at_pair(Tensor (*f)(const Tensor&, const Tensor&), double a, double b) {
  const Tensor x = variable(tensor(a, f64)), y = variable(tensor(b, f64));
  const Tensor z = f(x, y);
  const Gradients gradients = backward(z);
  return {z.item<double>(), gradients[x].item<double>(), gradients[y].item<double>()};
}

}  // namespace

TEST_CASE("N6: 0 to the y has the limits as value and gradients for whole y") {
  CHECK(at_pair(pow, 0, 0) == Pair{1, 0, 0});
  CHECK(at_pair(pow, 0, 1) == Pair{0, 1, 0});
  CHECK(at_pair(pow, 0, 2) == Pair{0, 0, 0});
}

TEST_CASE("N8: the slope of a root and of a reciprocal at 0 is infinite") {
  const Tensor x = variable(tensor(0.0, f64));
  CHECK(backward(pow(x, 0.5))[x].item<double>() == kInf);
  CHECK(pow(x, -1.0).item<double>() == kInf);
  CHECK(backward(pow(x, -1.0))[x].item<double>() == -kInf);
}

TEST_CASE("N10: x log x of xlogy is 0 at 0, in value and in a sum's gradient") {
  CHECK(at_pair(xlogy, 0, 0) == Pair{0, 0, 0});
  CHECK(at_pair(xlogy, 0, 2) == Pair{0, std::log(2.0), 0});
  const Tensor p = variable(tensor({0.0, 0.5}, f64));
  const Tensor entropy = neg(sum(xlogy(p, p)));
  CHECK(entropy.item<double>() == doctest::Approx(0.34657359027997264));
  CHECK(backward(entropy)[p].values<double>()[1] == doctest::Approx(-1 - std::log(0.5)));
  CHECK(std::isfinite(backward(entropy)[p].values<double>()[0]));
  CHECK(std::isnan(at_pair(xlogy, 0, std::nan(""))[0]));
}

TEST_CASE("N19: logaddexp of infinities is their limit, with gradients that add up to 1") {
  CHECK(at_pair(logaddexp, -kInf, -kInf) == Pair{-kInf, 0.5, 0.5});
  CHECK(at_pair(logaddexp, kInf, kInf) == Pair{kInf, 0.5, 0.5});
  CHECK(at_pair(logaddexp, kInf, 1) == Pair{kInf, 1, 0});
  CHECK(at_pair(logaddexp, 1000, 1000) == Pair{1000 + std::log(2.0), 0.5, 0.5});
}

TEST_CASE("N32: halves round to even, a negative one to -0, and what is rounded has gradient 0") {
  const Tensor x = variable(tensor({0.5, 1.5, 2.5, -0.5}, f64));
  const Tensor y = round(x);
  CHECK(y.values<double>() == std::vector<double>{0, 2, 2, 0});
  CHECK(std::signbit(y.at<double>(3)));
  for (const Unary f : std::initializer_list<Unary>{floor, ceil, round, trunc})
    CHECK(backward(sum(f(x) + x))[x].values<double>() == std::vector<double>{1, 1, 1, 1});
}

TEST_CASE("N34: the angle of (0, 0) is 0 with gradients 0; acos ends at 1 with an infinite slope") {
  CHECK(at_pair(atan2, 0, 0) == Pair{0, 0, 0});
  CHECK(at_pair(hypot, 0, 0) == Pair{0, 0, 0});
  CHECK(value(acos, 1) == 0);
  CHECK(slope(acos, 1) == -kInf);
  CHECK(slope(asin, -1) == kInf);
  CHECK(std::isnan(value(acos, 1.5)));
  CHECK(value(acosh, 1) == 0);
  CHECK(slope(acosh, 1) == kInf);
}

TEST_CASE("N36: an integer tensor can't be a variable; i64 quotients are cut and remainders have the divisor's sign") {
  CHECK_THROWS_WITH_AS(variable(tensor({1, 2})), doctest::Contains("i64"), Error);
  CHECK(div(tensor({7, -7}), tensor({2, 2})).values<int>() == std::vector<int>{3, -3});
  CHECK(div(tensor({7}), tensor({2})).dtype() == i64);
  CHECK(remainder(tensor({7, -7}), tensor({2, 2})).values<int>() == std::vector<int>{1, 1});
}

TEST_CASE("hypot and atan2 don't overflow, nor do their gradients") {
  const auto far = at_pair(hypot, 3e200, 4e200);
  CHECK(far[0] == doctest::Approx(5e200));
  CHECK(far[1] == doctest::Approx(0.6));
  CHECK(at_pair(atan2, 3e200, 4e200)[1] == doctest::Approx(4.0 / 25 * 1e-200));
}

TEST_CASE("polygamma is right to many digits on both sides of 0") {
  // mpmath, 25 digits
  const auto close = [](std::int64_t order, double x, double expected) {
    CHECK(polygamma(order, tensor(x, f64)).item<double>() / expected == doctest::Approx(1).epsilon(1e-12));
  };
  close(0, 0.5, -1.96351002602142348);
  close(0, -0.3, 2.11330977963539887);
  close(0, -999999.7, 11.5330100901642873);
  close(1, 1, 1.64493406684822644);
  close(1, 1e10, 1.00000000005e-10);
  close(1, -0.5, 8.93480220054467931);
  close(2, -0.3, 67.63908119988316);
  close(5, -2.7, 165660.110513613153);
  close(10, 0.1, -362880000001272702.0);
  close(30, 40, -1.09123355438224226e-17);
  CHECK(digamma(tensor(0.0, f64)).item<double>() == -kInf);
  CHECK(std::isnan(digamma(tensor(-2.0, f64)).item<double>()));
  CHECK(polygamma(1, tensor(-2.0, f64)).item<double>() == kInf);
}

TEST_CASE("erfc keeps its digits where erf is 1") {
  CHECK(value(erfc, 10) / 2.08848758376254476e-45 == doctest::Approx(1).epsilon(1e-13));
}

TEST_CASE("the activations that are functions have the values of their formulas") {
  // selu's constants from the paper; the others by hand
  CHECK(value(selu, 1) == doctest::Approx(1.0507009873554805).epsilon(1e-15));
  CHECK(value(selu, -1) == doctest::Approx(-1.1113307378125625).epsilon(1e-14));
  CHECK(value(log_sigmoid, 1) == doctest::Approx(-0.313261687518222834).epsilon(1e-14));
  CHECK(value(log_sigmoid, -1000) == -1000);
  CHECK(value(hard_sigmoid, 1) == doctest::Approx(2.0 / 3));
  CHECK(value(hard_sigmoid, -4) == 0);
  CHECK(value(hard_silu, 1) == doctest::Approx(2.0 / 3));
  CHECK(value(hard_silu, 5) == 5);
  CHECK(value(hard_tanh, -3) == -1);
  CHECK(value(relu6, 7) == 6);
  CHECK(slope(relu6, 0) == 0);
  CHECK(slope(relu6, 3) == 1);
  CHECK(slope(relu6, 7) == 0);
  CHECK(glu(tensor({2.0, 3.0, 0.0, 0.0}, f64)).values<double>() == std::vector<double>{1, 1.5});
  CHECK_THROWS_WITH_AS(glu(tensor({1.0, 2.0, 3.0})), doctest::Contains("two halves"), Error);
  CHECK(at_pair(prelu, -2, 0.25) == Pair{-0.5, 0.25, -2});
  CHECK(at_pair(prelu, 2, 0.25) == Pair{2, 1, 0});
}

TEST_CASE("N33: mish and softsign have their limits far out, without NaN") {
  for (const double x : {-800.0, -kInf}) {
    CHECK(value(mish, x) == doctest::Approx(0));
    CHECK(slope(mish, x) == doctest::Approx(0));
  }
  CHECK(value(mish, 800) == 800);
  CHECK(slope(mish, kInf) == 1);
  CHECK(value(softsign, -kInf) == -1);
  CHECK(slope(softsign, kInf) == 0);
}

TEST_CASE("lerp meets both ends exactly and has the gradients of its formula between them") {
  const Tensor a = tensor(0.1, f64), b = tensor(1e3, f64);
  CHECK(lerp(a, b, tensor(0.0, f64)).item<double>() == 0.1);
  CHECK(lerp(a, b, tensor(1.0, f64)).item<double>() == 1e3);
  const auto f = [](const Tensors& in) { return lerp(in[0], in[1], in[2]); };
  CHECK(
      gradcheck(f, {tensor({1.0, 2.0}, f64), tensor({3.0, -1.0}, f64), tensor({0.25, 0.75}, f64)}, {.order = 2}).ok());
}

TEST_CASE("the activations that are functions are differentiated right to second order") {
  const Tensor x = tensor({-2.5, -0.7, 0.3, 2.2}, f64);
  for (const Unary f : {selu, relu6, hard_sigmoid, hard_silu, hard_tanh, log_sigmoid}) {
    const GradcheckReport report = gradcheck([f](const Tensors& in) { return f(in[0]); }, {x}, {.order = 2});
    INFO(report.text());
    CHECK(report.ok());
  }
  CHECK(gradcheck([](const Tensors& in) { return glu(in[0]); }, {x}, {.order = 2}).ok());
  CHECK(gradcheck([](const Tensors& in) { return prelu(in[0], in[1]); }, {x, tensor(0.3, f64)}, {.order = 2}).ok());
}
