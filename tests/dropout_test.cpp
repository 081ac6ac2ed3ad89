#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/random.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "thread_counts.h"
#include "window_checks.h"

using namespace twopass;

namespace {

using Doubles = std::vector<double>;
Tensor step(std::int64_t number) { return tensor(number); }

std::string refusal(double rate) {
  try {
    dropout(ones({2}), rate, 1, step(0));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("N35: dropout at rate 0 is the identity, at rate 1 zeros with gradient 0 even of inf") {
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor x = variable(tensor({1.0, -infinity, 3.0}));
  CHECK(dropout(x, 0, 1, step(0)).values<double>() == x.values<double>());
  const Tensor none = dropout(x, 1, 1, step(0));
  CHECK(none.values<double>() == Doubles{0, 0, 0});
  CHECK(backward(none, {.seed = tensor({infinity, 1.0, 2.0})})[x].values<double>() == Doubles{0, 0, 0});
}

TEST_CASE("N35: rates outside [0, 1] and NaN are refused") {
  CHECK(refusal(1.5).find("rate 1.5 is outside [0, 1]") != std::string::npos);
  CHECK(refusal(-0.1).find("rate -0.1 is outside [0, 1]") != std::string::npos);
  CHECK(refusal(std::nan("")).find("rate nan is outside [0, 1]") != std::string::npos);
}

TEST_CASE("dropout keeps its share of elements, scaled so that the mean stays") {
  const std::int64_t n = 100000;
  for (const double rate : {0.1, 0.5, 0.8}) {
    const Tensor y = dropout(ones({n}, f64), rate, 42, step(7));
    std::int64_t kept = 0;
    for (const double value : y.values<double>()) {
      CHECK((value == 0 || value == doctest::Approx(1 / (1 - rate))));
      kept += value != 0;
    }
    const double deviation = std::sqrt(static_cast<double>(n) * rate * (1 - rate));
    CHECK(std::abs(static_cast<double>(kept) - static_cast<double>(n) * (1 - rate)) < 5 * deviation);
  }
}

TEST_CASE("a mask follows from key and step alone: the same again, another with another") {
  const Tensor x = ones({1000});
  const auto first = dropout(x, 0.5, 9, step(1)).values<float>();
  CHECK(dropout(x, 0.5, 9, step(1)).values<float>() == first);
  CHECK(dropout(reshape(x, {10, 100}), 0.5, 9, step(1)).values<float>() == first);
  CHECK(dropout(x, 0.5, 9, step(2)).values<float>() != first);
  CHECK(dropout(x, 0.5, 10, step(1)).values<float>() != first);
  CHECK(dropout(x, 0.5, 9 + (std::uint64_t{1} << 63), step(1)).values<float>() != first);
}

TEST_CASE("a mask is bit-equal for any number of threads") {
  const Tensor x = ones({200003});
  check_equal_for_thread_counts([&] { return dropout(x, 0.3, 5, step(0)).values<float>(); });
}

TEST_CASE("the gradient of dropout passes where the mask kept and nowhere else") {
  const Tensor x = variable(ones({1000}));
  const Tensor y = dropout(x, 0.25, 3, step(4));
  CHECK(backward(sum(y))[x].values<float>() == y.values<float>());
}

TEST_CASE("alpha dropout keeps mean and variance, and its dropped elements are one number") {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::int64_t n = 100000;
  const double rate = 0.3, limit = -1.7580993408473766;  // of selu
  const double scale = 1 / std::sqrt((1 - rate) * (1 + rate * limit * limit));
  const Tensor ones_kept = alpha_dropout(ones({n}, f64), rate, 42, step(7));
  const Tensor mask = dropout(ones({n}, f64), rate, 42, step(7));
  for (std::int64_t k = 0; k < 100; ++k)
    CHECK(ones_kept.at<double>(k) ==
          doctest::Approx(scale * ((mask.at<double>(k) > 0 ? 1 : limit) - rate * limit)).epsilon(1e-12));
  Random random(3);
  const Tensor y = alpha_dropout(random.normal({n}, f64), rate, 1, step(0));
  CHECK(std::abs(mean(y).item<double>()) < 0.02);
  CHECK(var(y).item<double>() == doctest::Approx(1).epsilon(0.03));
  const Tensor x = tensor({1.0, -infinity, 3.0}, f64);
  CHECK(alpha_dropout(x, 0, 1, step(0)).values<double>() == x.values<double>());
  CHECK(alpha_dropout(x, 1, 1, step(0)).values<double>() == Values{0, 0, 0});
  check_gradients([](const Tensors& in) { return square(alpha_dropout(in[0], 0.4, 5, step(1))); }, {sines({3, 4}, 0.1)},
                  2);
  CHECK_THROWS_WITH_AS(alpha_dropout(x, 1.5, 1, step(0)), doctest::Contains("rate 1.5 is outside [0, 1]"), Error);
}

TEST_CASE("channels are dropped whole, each with its share") {
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor y = channel_dropout(ones({200, 50, 2, 3}, f64), 0.4, 9, step(2));
  std::int64_t kept = 0;
  for (std::int64_t channel = 0; channel < 10000; ++channel) {
    const double first = y.at<double>(channel * 6);
    CHECK((first == 0 || first == doctest::Approx(1 / 0.6)));
    for (std::int64_t k = 1; k < 6; ++k)
      if (y.at<double>(channel * 6 + k) != first) FAIL("a channel is cut");
    kept += first != 0;
  }
  CHECK(std::abs(static_cast<double>(kept) - 6000) < 5 * std::sqrt(10000 * 0.24));
  const Tensor last = channel_dropout(ones({2, 3, 5}, f64), 0.5, 9, step(2), -1);
  for (std::int64_t k = 0; k < 5; ++k) CHECK(last.at<double>(k) == last.at<double>(10 + k));
  CHECK(channel_dropout(full({4, 3, 2}, infinity), 1, 9, step(2)).values<float>() == std::vector<float>(24, 0));
  CHECK(channel_dropout(input({3, 2}), 0.5, 9, step(2)).shape() == Shape{kOpen, 3, 2});
  check_gradients([](const Tensors& in) { return square(channel_dropout(in[0], 0.4, 5, step(1))); },
                  {sines({3, 4, 2}, 0.1)}, 2);
  CHECK_THROWS_WITH_AS(channel_dropout(ones({2, 3}), 0.5, 1, step(0), 0),
                       doctest::Contains("axis 0 is not one of channels"), Error);
}
