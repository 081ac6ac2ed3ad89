#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "thread_counts.h"

using namespace twopass;

namespace {

using Doubles = std::vector<double>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename F>
Tensor gradient_of(const Tensor& value, const F& f) {
  const Tensor x = variable(value);
  return backward(f(x))[x];
}

}  // namespace

TEST_CASE("N28: sums are pairwise, over everything and over rows") {
  CHECK(std::abs(sum(full({1000000}, 0.1)).item<double>() - 100000) <= 1);
  CHECK(sum(ones({20000000})).item<double>() == 2e7);
  CHECK(sum(ones({20000000, 1}), 0).item<double>() == 2e7);
  const Tensor columns = sum(full({500000, 2}, 0.1), 0);
  CHECK(std::abs(columns.at<double>(0) - 50000) <= 0.5);
  CHECK(std::abs(columns.at<double>(1) - 50000) <= 0.5);
}

TEST_CASE("sums are bit-equal for any number of threads") {
  const Tensor x = twopass::sin(arange(0, 300000));
  check_equal_for_thread_counts([&] {
    return std::array{sum(x).values<float>(), sum(reshape(x, {-1, 3}), 0).values<float>(),
                      sum(reshape(x, {300, 1000}), 0).values<float>()};
  });
}

TEST_CASE("sums over any axes are right, of i64 exact, and of bool a count") {
  const Tensor x = reshape(arange(0, 24, 1, f64), {2, 3, 4});
  CHECK(sum(x).item<double>() == 276);
  CHECK(sum(x, 1).values<double>() == Doubles{12, 15, 18, 21, 48, 51, 54, 57});
  CHECK(sum(x, {0, 2}).values<double>() == Doubles{60, 92, 124});
  CHECK(sum(x, {0, -1}, keep_axis).shape() == Shape({1, 3, 1}));
  const Tensor images = reshape(arange(0, 1200, 1, f64), {3, 2, 5, 40});
  CHECK(sum(images, {0, 2, 3}).values<double>() == Doubles{299700, 419700});
  CHECK(mean(images, {0, 2, 3}).values<double>() == Doubles{499.5, 699.5});
  Doubles rows;
  for (int image = 0; image < 3; ++image)
    for (int row = 0; row < 5; ++row) rows.push_back(1600 * (20 * image + 5 + 2 * row) + 1560);
  CHECK(sum(images, {1, 3}).values<double>() == rows);
  CHECK(sum(tensor({std::int64_t{9007199254740993}, std::int64_t{1}})).item<std::int64_t>() == 9007199254740994);
  const Tensor count = sum(tensor({true, true, false}));
  CHECK(count.dtype() == i64);
  CHECK(count.item<int>() == 2);
}

TEST_CASE("S5: over nothing a sum is 0, a product 1, and mean, max and argmax are refused") {
  const Tensor nothing = zeros({0});
  CHECK(sum(nothing).item<double>() == 0);
  CHECK(prod(nothing).item<double>() == 1);
  CHECK_THROWS_WITH_AS(mean(nothing), doctest::Contains("nothing has no mean"), Error);
  CHECK_THROWS_WITH_AS(twopass::max(nothing), doctest::Contains("axis 0 has size 0"), Error);
  CHECK_THROWS_WITH_AS(argmax(nothing), doctest::Contains("axis 0 has size 0"), Error);
}

TEST_CASE("S6: an empty axis of (2, 0, 4) reduces to (2, 1, 4) of 0, 1 and -inf, and has no maximum") {
  const Tensor x = zeros({2, 0, 4});
  CHECK(sum(x, 1, keep_axis).shape() == Shape({2, 1, 4}));
  CHECK(sum(x, 1, keep_axis).values<double>() == Doubles(8, 0));
  CHECK(prod(x, 1, keep_axis).values<double>() == Doubles(8, 1));
  CHECK(logsumexp(x, 1, keep_axis).values<double>() == Doubles(8, -kInfinity));
  CHECK_THROWS_WITH_AS(twopass::max(x, 1), doctest::Contains("axis 1 has size 0"), Error);
  CHECK(twopass::max(zeros({0, 3}), 1).shape() == Shape({0}));
  CHECK(sum(zeros({2, 3, 40, 0}), {0, 2}).shape() == Shape({3, 0}));  // empty beside many that are added
  CHECK(mean(zeros({2, 3, 40, 0}, f64), {0, 2}).shape() == Shape({3, 0}));
}

TEST_CASE("S11: negative axes count from the end; others that are not there or come twice are refused") {
  const Tensor x = tensor({{1.0, 2.0}, {3.0, 4.0}});
  CHECK(sum(x, -1).values<double>() == Doubles{3, 7});
  CHECK_THROWS_WITH_AS(sum(x, 2), doctest::Contains("sum((2, 2), axes=[2]): axis 2 is out of range for rank 2"), Error);
  CHECK_THROWS_WITH_AS(sum(x, {0, -2}), doctest::Contains("axis 0 is named twice"), Error);
}

TEST_CASE("N13: ties of max and min share the gradient evenly") {
  const Tensor ties = tensor({1.0, 3.0, 3.0, 2.0});
  CHECK(gradient_of(ties, [](const Tensor& x) { return twopass::max(x); }).values<double>() == Doubles{0, 0.5, 0.5, 0});
  CHECK(gradient_of(-ties, [](const Tensor& x) { return twopass::min(x); }).values<double>() ==
        Doubles{0, 0.5, 0.5, 0});
}

TEST_CASE("NaN wins max and min, and argmax finds the first") {
  const Tensor x = tensor({1.0, std::nan(""), 3.0});
  CHECK(std::isnan(twopass::max(x).item<double>()));
  CHECK(std::isnan(twopass::min(x).item<double>()));
  CHECK(argmax(x).item<int>() == 1);
  CHECK(argmax(tensor({2.0, 5.0, 5.0})).item<int>() == 1);
}

TEST_CASE("N19: logsumexp of infinities and of nothing") {
  CHECK(logsumexp(tensor({0.0, kInfinity})).item<double>() == kInfinity);
  CHECK(logsumexp(tensor({-kInfinity, -kInfinity})).item<double>() == -kInfinity);
  CHECK(logsumexp(zeros({0})).item<double>() == -kInfinity);
  CHECK(logsumexp(tensor({-kInfinity, 3.0})).item<double>() == 3);
  const auto lse = [](const Tensor& x) { return logsumexp(x); };
  CHECK(gradient_of(tensor({-kInfinity, -kInfinity}), lse).values<double>() == Doubles{0, 0});
}

TEST_CASE("N20: the gradient of logsumexp at [1000, 1000] is exactly a half, and at [0, 1000] nothing overflows") {
  const auto lse = [](const Tensor& x) { return logsumexp(x); };
  CHECK(gradient_of(tensor({1000.0, 1000.0}), lse).values<double>() == Doubles{0.5, 0.5});
  CHECK(gradient_of(tensor({0.0, 1000.0}), lse).values<double>() == Doubles{0, 1});
  CHECK(gradient_of(tensor({-kInfinity, 1.0}), lse).values<double>() == Doubles{0, 1});
}

TEST_CASE("N25: the gradient of a product is right with one zero and with two") {
  const auto product = [](const Tensor& x) { return prod(x); };
  CHECK(gradient_of(tensor({2.0, 0.0, 3.0}), product).values<double>() == Doubles{0, 6, 0});
  CHECK(gradient_of(tensor({2.0, 0.0, 0.0}), product).values<double>() == Doubles{0, 0, 0});
}

TEST_CASE("N26: a constant has standard deviation 0 with gradient 0; a correction that leaves nothing is refused") {
  const Tensor x = full({3}, 0.1);
  CHECK(twopass::std(x).item<double>() == 0);
  CHECK(var(full({7}, 0.1, f64)).item<double>() == 0);
  CHECK(gradient_of(x, [](const Tensor& t) { return twopass::std(t); }).values<double>() == Doubles{0, 0, 0});
  CHECK_THROWS_WITH_AS(var(ones({1}), {}, KeepAxis::no, 1),
                       doctest::Contains("1 elements with a correction of 1 leave 0 to divide by"), Error);
}

TEST_CASE("N27: the variance of [10000, 10001, 10002] in f32 is two thirds") {
  CHECK(var(tensor({10000.0, 10001.0, 10002.0})).item<double>() == doctest::Approx(2.0 / 3).epsilon(1e-6));
}

TEST_CASE("means of integers are refused, any and all ask bool tensors") {
  CHECK_THROWS_WITH_AS(mean(tensor({1, 2})), doctest::Contains("not i64"), Error);
  CHECK(any(tensor({false, true})).item<bool>());
  CHECK_FALSE(all(tensor({false, true})).item<bool>());
  CHECK_FALSE(any(zeros({0}, boolean)).item<bool>());
  CHECK(all(zeros({0}, boolean)).item<bool>());
}

TEST_CASE("sum_to gives back exactly the shape that was broadcast") {
  const Tensor g = ones({3, 2});
  CHECK(sum_to(g, {}).item<double>() == 6);
  CHECK(sum_to(g, {3, 1}).values<double>() == Doubles{2, 2, 2});
  CHECK(sum_to(g, {1, 2}).shape() == Shape({1, 2}));
  CHECK(sum_to(g, {2}).values<double>() == Doubles{3, 3});
  CHECK(sum_to(ones({0, 3}), {1, 3}).values<double>() == Doubles{0, 0, 0});
  CHECK_THROWS_AS(sum_to(g, {4}), Error);
}

TEST_CASE("an open batch may stay or be reduced away") {
  const Tensor x = symbol({kOpen, 3}, f32, "x");
  CHECK(sum(x, 1).shape() == Shape({kOpen}));
  CHECK(sum(x).shape() == Shape());
  CHECK(mean(x, 0).shape() == Shape({3}));
}
