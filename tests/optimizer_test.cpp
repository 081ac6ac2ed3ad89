#include <doctest/doctest.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/optim/clipping.h>
#include <twopass/optim/optimizer.h>

using namespace twopass;

namespace {
double after(const Optimizer& optimizer, double start, std::initializer_list<double> gradients) {
  const Parameter p(tensor({start}, f64), "p");
  for (const double g : gradients) optimizer.apply(Tensors{tensor({g}, f64)}, Parameters{p});
  return p.value().at<double>(0);
}
}  // namespace

TEST_CASE("two updates of sgd with momentum are those of the formula") {
  CHECK(after(sgd({.learning_rate = 0.1}), 1, {0.5, 0.25}) == doctest::Approx(0.925));
  // v: -0.05, then -0.045 - 0.025 = -0.07
  CHECK(after(sgd({.learning_rate = 0.1, .momentum = 0.9}), 1, {0.5, 0.25}) == doctest::Approx(0.88));
  // 0.9 v - lr g: -0.095, then -0.088
  CHECK(after(sgd({.learning_rate = 0.1, .momentum = 0.9, .nesterov = true}), 1, {0.5, 0.25}) ==
        doctest::Approx(0.817));
}

TEST_CASE("two updates of adam are those of the formula") {
  double m = 0, v = 0, p = 1;
  for (int t = 1; t <= 2; ++t) {
    const double g = t == 1 ? 0.5 : 0.25;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    p -= 0.1 * std::sqrt(1 - std::pow(0.999, t)) / (1 - std::pow(0.9, t)) * m / (std::sqrt(v) + 1e-7);
  }
  CHECK(after(adam({.learning_rate = 0.1}), 1, {0.5, 0.25}) == doctest::Approx(p).epsilon(1e-12));
}

TEST_CASE("T10: adam stays finite where the gradient is always 0, and refuses epsilon 0") {
  CHECK(after(adam(), 1, {0, 0, 0}) == 1);
  CHECK_THROWS_AS(adam({.epsilon = 0}), Error);
}

TEST_CASE("T11: clipping changes nothing at norm 0 and refuses norms that are not finite") {
  CHECK(clip_by_global_norm({tensor({0.0, 0.0}, f64)}, 1)[0].at<double>(0) == 0);
  CHECK(clip_by_norm({tensor({3.0, 4.0}, f64)}, 1)[0].at<double>(1) == doctest::Approx(0.8));
  CHECK_THROWS_AS(clip_by_global_norm({tensor({INFINITY}, f64)}, 1), Error);
}

TEST_CASE("T13: a learning rate of 0 changes nothing; negative and NaN are refused") {
  CHECK(after(sgd({.learning_rate = 0}), 1, {5}) == 1);
  CHECK_THROWS_AS(sgd({.learning_rate = -1}), Error);
  CHECK_THROWS_AS(sgd({.learning_rate = NAN}), Error);
}

TEST_CASE("T14: a NaN in one gradient leaves every parameter as it was") {
  const Parameter a(tensor({1.0}, f64), "a"), b(tensor({2.0}, f64), "b");
  const Optimizer optimizer = adam();
  CHECK_THROWS_AS(optimizer.apply(Tensors{tensor({1.0}, f64), tensor({NAN}, f64)}, Parameters{a, b}), Error);
  CHECK(a.value().at<double>(0) == 1);
  CHECK(optimizer.iterations() == 0);
}
