// The largest of windows over images, and where its gradient goes.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

using namespace twopass;
using doctest::Contains;

namespace {

using Doubles = std::vector<double>;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor image(const Doubles& values, std::int64_t rows, std::int64_t columns) {
  return from_values(values, {1, 1, rows, columns}, f64);
}

// The definition, window by window: the largest elements, and what comes back to x of g.
struct Pooled {
  Doubles y, dx;
};
Pooled by_definition(const Tensor& x, const Tensor& g, const Pool2dOptions& options) {
  const std::int64_t rows = x.shape()[2], columns = x.shape()[3];
  const auto& pad = options.padding.widths();
  const Doubles values = x.values<double>(), slopes = g.values<double>();
  Pooled out{{}, Doubles(values.size(), 0.0)};
  for (std::int64_t plane = 0; plane < x.shape()[0] * x.shape()[1]; ++plane)
    for (std::int64_t r = 0; r < g.shape()[2]; ++r)
      for (std::int64_t q = 0; q < g.shape()[3]; ++q) {
        double best = -1e300;
        std::size_t place = 0;
        for (std::int64_t i = 0; i < options.window.rows; ++i)
          for (std::int64_t j = 0; j < options.window.columns; ++j) {
            const std::int64_t row = r * options.strides.rows - pad[0] + i,
                               column = q * options.strides.columns - pad[2] + j;
            if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
            const auto at = static_cast<std::size_t>((plane * rows + row) * columns + column);
            if (values[at] > best) best = values[place = at];
          }
        out.dx[place] += slopes[out.y.size()];
        out.y.push_back(best);
      }
  return out;
}

}  // namespace

TEST_CASE(
    "max-pools of any size, window, stride and padding take the largest of what is inside, and so does the gradient") {
  Random random(12);
  // Rows shorter and longer than what is worked on at once, many of them and few.
  for (const Shape& shape : {Shape{2, 3, 11, 13}, {1, 2, 4, 4}, {1, 1, 26, 20}, {2, 1, 6, 70}, {1, 1, 4, 130}}) {
    const Tensor x = variable(random.normal(shape, f64));
    for (const Pool2dOptions& options : {Pool2dOptions{.window = 2, .strides = 2},
                                         {.window = {3, 2}, .strides = {1, 3}, .padding = 1},
                                         {.window = {4, 4}, .strides = {3, 2}, .padding = 2},
                                         {.window = 1, .strides = 2},
                                         {.window = 3, .strides = 2, .padding = {0, 1, 0, 1}},
                                         {.window = 2, .strides = 2, .padding = {1, 0, 1, 0}},
                                         {.window = {2, 3}, .strides = 1, .padding = {0, 1, 1, 0}}}) {
      const Tensor y = max_pool2d(x, options), g = random.integers(y.shape(), -8, 9);
      const Tensor slopes = cast(g, f64);
      const Pooled expected = by_definition(x, slopes, options);
      CHECK(y.values<double>() == expected.y);
      CHECK(backward(sum(y * slopes))[x].values<double>() == expected.dx);
    }
  }
}

TEST_CASE(
    "an image of more places than 31 bits count is refused with its rows and columns, one of just so many is not") {
  const std::int64_t high = 65536, wide = std::int64_t{1} << 30;
  CHECK_THROWS_WITH_AS(max_pool2d(input({3, high, 32768})),
                       Contains("an image may have 2^31 - 1 places at most, not 65536 by 32768"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(symbol({kOpen, 0, high, 32768}, f32, "x")), Contains("not 65536 by 32768"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(input({1, 2, wide})), Contains("not 2 by 1073741824"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(input({1, 1, 2 * wide}), {.window = 1}), Contains("not 1 by 2147483648"), Error);
  CHECK(max_pool2d(input({1, 2, wide - 1})).shape() == Shape({kOpen, 1, 1, wide / 2 - 1}));
  CHECK_THROWS_WITH_AS(max_pool2d(zeros({1, 1, 0, 4})), Contains("the window reaches over 2 rows"), Error);
}

TEST_CASE("S19: max-pool padding of more than half the window is refused, half of it is not") {
  const Tensor x = ones({1, 1, 4, 4});
  CHECK_THROWS_WITH_AS(max_pool2d(x, {.window = 3, .padding = 2}),
                       Contains("padding of 2 is more than half the window of 3"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(x, {.window = {2, 1}, .padding = {0, 0, 0, 1}}),
                       Contains("padding of 1 is more than half the window of 1"), Error);
  CHECK(max_pool2d(-1 * x, {.window = 2, .padding = 1}).values<double>() == Doubles(9, -1.0));
}

TEST_CASE("N14: of equal elements in a window the first takes the gradient") {
  const Tensor x = variable(image({5, 5, 5, 5, 1, 7, 7, 0}, 2, 4));
  const Tensor y = max_pool2d(x);
  CHECK(y.values<double>() == Doubles{7, 7});
  CHECK(backward(sum(y))[x].values<double>() == Doubles{0, 0, 0, 0, 0, 1, 1, 0});
  const Tensor same = variable(zeros({1, 1, 4, 4}, f64));
  CHECK(backward(sum(max_pool2d(same)))[same].values<double>() ==
        Doubles{1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0});
}

TEST_CASE("N15: NaN wins a window wherever it stands, and takes the gradient") {
  for (std::size_t at = 0; at < 4; ++at) {
    Doubles values{1, 2, 3, 4};
    values[at] = kNaN;
    const Tensor x = variable(image(values, 2, 2));
    const Tensor y = max_pool2d(x);
    CHECK(std::isnan(y.item<double>()));
    Doubles expected(4, 0.0);
    expected[at] = 1;
    CHECK(backward(sum(y))[x].values<double>() == expected);
  }
  const double low = -std::numeric_limits<double>::infinity();
  const Tensor x = variable(image({low, low, low, low}, 2, 2));
  CHECK(backward(sum(max_pool2d(x)))[x].values<double>() == Doubles{1, 0, 0, 0});
}
