#include <doctest/doctest.h>

#include <cmath>
#include <utility>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/optim/initializer.h>

using namespace twopass;

TEST_CASE("an orthogonal draw has orthonormal columns, or rows where these are fewer, times its gain") {
  for (const Shape& shape : {Shape{7, 4}, Shape{4, 7}, Shape{2, 3, 5}}) {
    Random random(3);
    const Tensor drawn = reshape(orthogonal(2)(shape, f64, random), {-1, shape.back()});
    const bool wide = drawn.shape()[0] < drawn.shape()[1];
    const Tensor products = matmul(drawn, drawn, {.transpose_a = !wide, .transpose_b = wide});
    CHECK(max(abs(products - diag(full({products.shape()[0]}, 4, f64)))).item<double>() < 1e-14);
  }
}

TEST_CASE("glorot_uniform fills ±sqrt(6 / (in + out)) and no more") {
  Random random(1);
  double largest = 0;
  for (const double x : glorot_uniform()({100, 200}, f64, random).values<double>())
    largest = std::fmax(largest, std::abs(x));
  CHECK(largest <= std::sqrt(0.02));
  CHECK(largest > 0.99 * std::sqrt(0.02));
}

TEST_CASE("the variance of each initializer is that of its paper, and truncated ones stop at two deviations") {
  // fan_in 80 and fan_out 120; a uniform distribution within ±a has variance a²/3.
  const std::pair<Initializer, double> expected[] = {
      {glorot_uniform(), 2.0 / 200}, {glorot_normal(), 2.0 / 200},   {he_uniform(), 2.0 / 80},
      {he_normal(), 2.0 / 80},       {lecun_uniform(), 1.0 / 80},    {lecun_normal(), 1.0 / 80},
      {random_normal(), 0.0025},     {random_uniform(), 0.0025 / 3}, {truncated_normal(0, 0.05), 0.0025 * 0.7737413}};
  for (const auto& [initializer, variance] : expected) {
    Random random(2);
    double squares = 0, total = 0;
    const auto values = initializer({80, 120}, f64, random).values<double>();
    for (const double x : values) squares += x * x, total += x;
    const auto n = static_cast<double>(values.size());
    CHECK(squares / n == doctest::Approx(variance).epsilon(0.04));
    CHECK(std::abs(total / n) < 5 * std::sqrt(variance / n));
  }
  Random random(2);
  const double bound = 2 * std::sqrt(2.0 / 80) / 0.87962566103423978;
  for (const double x : he_normal()({80, 120}, f64, random).values<double>()) CHECK(std::abs(x) <= bound);
}

TEST_CASE("the fans of more axes count what stands before, and constants are constant") {
  Random random(2);
  double largest = 0;
  for (const double x : he_uniform()({3, 3, 10, 20}, f64, random).values<double>()) largest = std::fmax(largest, x);
  CHECK(largest <= std::sqrt(6.0 / 90));
  CHECK(largest > 0.99 * std::sqrt(6.0 / 90));
  CHECK(constant_initializer(2.5)({2}, f32, random).values<double>() == std::vector<double>{2.5, 2.5});
  CHECK(zeros_initializer()({1}, f32, random).at<float>(0) == 0);
  CHECK(ones_initializer()({1}, f32, random).at<float>(0) == 1);
  CHECK(initializer_named("he_normal")({4}, f32, random).shape() == Shape{4});
}

TEST_CASE("an initializer's unknown name is refused") { CHECK_THROWS_AS(initializer_named("glorot"), Error); }
