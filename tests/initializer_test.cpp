#include <doctest/doctest.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/optim/initializer.h>

using namespace twopass;

TEST_CASE("glorot_uniform fills ±sqrt(6 / (in + out)) and no more") {
  Random random(1);
  double largest = 0;
  for (const double x : glorot_uniform()({100, 200}, f64, random).values<double>())
    largest = std::fmax(largest, std::abs(x));
  CHECK(largest <= std::sqrt(0.02));
  CHECK(largest > 0.99 * std::sqrt(0.02));
}

TEST_CASE("an initializer's unknown name is refused") { CHECK_THROWS_AS(initializer_named("glorot"), Error); }
