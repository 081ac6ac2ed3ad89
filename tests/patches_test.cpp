// Patches as columns, pads made of what is there, and channels as places. Numbers are PyTorch's.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/patches.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

namespace {

Tensor counted(const Shape& shape) { return reshape(arange(0, static_cast<double>(shape.elements()), 1, f64), shape); }
const PatchOptions kOdd{.strides = {1, 2}, .padding = 1, .dilation = {2, 1}};

}  // namespace

TEST_CASE("unfold lays out what windows see, with strides, padding and gaps") {
  const Tensor x = sines({1, 2, 4, 5}, 0.1), y = unfold(x, {2, 3}, kOdd);
  CHECK(y.shape() == Shape{1, 12, 12});
  check_ends(y,
             {0, 0, 0, 0, 0.891207360061435, 0.0415806624332905, 0, -0.182162504272096, 0.969889810845086, 0,
              -0.994552588203989, 0.508661464372374, 0, 0, 0, 0.0998334166468282},
             {0.985600298790633, 0, 0, 0, 0.823333000738082, 0.173452155245892, 0, -0.310697285094372,
              0.993591002680395, 0, -0.999599142552803, 0.390236235307946, 0, 0, 0, 0});
  CHECK(sum(y).item<double>() == doctest::Approx(sum(y * ones_like(y)).item<double>()));
  CHECK(unfold(counted({1, 1, 2, 3}), 2).values<int>() == std::vector<int>{0, 1, 1, 2, 3, 4, 4, 5});
  CHECK(unfold(counted({1, 1, 2, 2}), {1, 2}, {.padding = "same"}).values<int>() ==
        std::vector<int>{0, 1, 2, 3, 1, 0, 3, 0});
  CHECK(unfold(input({2, 4, 5}), 2).shape() == Shape{kOpen, 8, 12});
  CHECK(unfold(zeros({0, 2, 4, 5}), 2).shape() == Shape{0, 8, 12});
}

TEST_CASE("a convolution is a product with unfolded patches") {
  const Tensor x = sines({2, 3, 6, 5}, 0.1), kernel = sines({4, 3, 2, 3}, 0.3);
  const Tensor columns = unfold(x, {2, 3}, kOdd);
  const Tensor wanted = conv2d(x, kernel, {}, {.strides = {1, 2}, .padding = 1, .dilation = {2, 1}});
  check_ends(matmul(reshape(kernel, {4, 18}), columns), wanted.values<double>());
}

TEST_CASE("fold adds up columns where windows overlap, and is the transpose of unfold") {
  const Tensor columns = sines({1, 12, 12}, 0.2), y = fold(columns, {4, 5}, {2, 3}, kOdd);
  CHECK(y.shape() == Shape{1, 2, 4, 5});
  check_ends(y, {0.4863986888538, 0.00769728923713608, -0.472421986398466, -0.809189210135792, -0.996900066041596},
             {0.510953676443654, 0.831788932891844, 0.999404848812137, 0.863760671258546, 0.569007812174352});
  const Tensor x = variable(sines({1, 2, 4, 5}, 0.7));
  check_ends(backward(sum(unfold(x, {2, 3}, kOdd) * columns))[x], y.values<double>());
  CHECK(fold(ones({1, 4, 4}, f64), 3, 2).values<int>() == std::vector<int>{1, 2, 1, 2, 4, 2, 1, 2, 1});
}

TEST_CASE("unfold and fold refuse what does not fit, naming both numbers") {
  const Tensor x = sines({1, 2, 4, 5}, 0.1);
  CHECK_THROWS_WITH_AS(unfold(x, 6), "unfold(1, 2, 4, 5): the window reaches over 6 rows but the padded input has 4",
                       Error);
  CHECK_THROWS_WITH_AS(unfold(sines({4, 5}, 0), 2), "unfold(4, 5): x must have 4 axes, not 2", Error);
  CHECK_THROWS_WITH_AS(unfold(input({2, kOpen, 5}), 2), Contains("all but the batch must be known"), Error);
  CHECK_THROWS_WITH_AS(unfold(x, 2, {.strides = 0}), Contains("the strides must be from 1"), Error);
  CHECK_THROWS_WITH_AS(fold(ones({1, 5, 4}), 3, 2),
                       "fold(1, 5, 4): 5 elements a column are no channels of windows of 4", Error);
  CHECK_THROWS_WITH_AS(fold(ones({1, 4, 5}), 3, 2), "fold(1, 4, 5): there are 5 columns but 4 windows over 3 by 3",
                       Error);
}

TEST_CASE("pads of four modes have the elements that PyTorch and NumPy put there") {
  const Tensor x = counted({1, 1, 2, 3});
  const auto padded = [&](PadMode mode) { return pad(x, {{0, 0}, {0, 0}, {1, 0}, {2, 1}}, mode).values<int>(); };
  CHECK(padded(PadMode::reflect) == std::vector<int>{5, 4, 3, 4, 5, 4, 2, 1, 0, 1, 2, 1, 5, 4, 3, 4, 5, 4});
  CHECK(padded(PadMode::replicate) == std::vector<int>{0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 2, 2, 3, 3, 3, 4, 5, 5});
  CHECK(padded(PadMode::circular) == std::vector<int>{4, 5, 3, 4, 5, 3, 1, 2, 0, 1, 2, 0, 4, 5, 3, 4, 5, 3});
  CHECK(padded(PadMode::symmetric) == std::vector<int>{1, 0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 4, 3, 3, 4, 5, 5});
  CHECK(pad(counted({2}), {{0, 5}}, PadMode::replicate).values<int>() == std::vector<int>{0, 1, 1, 1, 1, 1, 1});
  CHECK(pad(counted({3}), {{3, 3}}, PadMode::symmetric).values<int>() == std::vector<int>{2, 1, 0, 0, 1, 2, 2, 1, 0});
  CHECK(pad(counted({3}), {{3, 3}}, PadMode::circular).values<int>() == std::vector<int>{0, 1, 2, 0, 1, 2, 0, 1, 2});
  CHECK(pad(input({3}), {{0, 0}, {1, 1}}, PadMode::reflect).shape() == Shape{kOpen, 5});
}

TEST_CASE("the gradient of a padded element goes where it came from") {
  const Tensor x = variable(counted({3}));
  const Tensor weights = tensor({1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0}, f64);
  const auto slopes = [&](PadMode mode) { return backward(sum(pad(x, {{2, 2}}, mode) * weights))[x].values<int>(); };
  CHECK(slopes(PadMode::reflect) == std::vector<int>{4 + 64, 2 + 8 + 32, 1 + 16});
  CHECK(slopes(PadMode::symmetric) == std::vector<int>{2 + 4, 1 + 8 + 64, 16 + 32});
  CHECK(slopes(PadMode::replicate) == std::vector<int>{1 + 2 + 4, 8, 16 + 32 + 64});
  CHECK(slopes(PadMode::circular) == std::vector<int>{4 + 32, 1 + 8 + 64, 2 + 16});
}

TEST_CASE("pads refuse more than there is, and what is not known") {
  const Tensor x = counted({2, 3});
  CHECK_THROWS_WITH_AS(pad(x, {{0, 0}, {3, 0}}, PadMode::reflect),
                       "pad(2, 3): 3 elements of axis 1 give 2 more at most on a side, not 3", Error);
  CHECK_THROWS_WITH_AS(pad(x, {{0, 0}, {0, 4}}, PadMode::circular), Contains("give 3 more at most on a side, not 4"),
                       Error);
  CHECK_THROWS_WITH_AS(pad(zeros({2}), {{INT64_MAX, 2}}, PadMode::replicate), Contains("axis 0 cannot have 9223"),
                       Error);
  CHECK_THROWS_WITH_AS(pad(zeros({0}), {{0, 1}}, PadMode::replicate), Contains("0 elements of axis 0 give 0"), Error);
  CHECK_THROWS_WITH_AS(pad(zeros({0}), {{1, 0}}, PadMode::reflect), Contains("0 elements of axis 0 give 0"), Error);
  CHECK_THROWS_WITH_AS(pad(x, {{0, 0}, {-1, 0}}, PadMode::reflect), Contains("the negative width -1"), Error);
  CHECK_THROWS_WITH_AS(pad(x, {{0, 0}}, PadMode::reflect), Contains("1 pairs of widths do not fit 2 axes"), Error);
  CHECK_THROWS_WITH_AS(pad(input({3}), {{1, 0}, {0, 0}}, PadMode::reflect), Contains("axis 0 is open"), Error);
}

TEST_CASE("pixels and channels are shuffled as in PyTorch, and back") {
  const Tensor x = counted({1, 8, 1, 2});
  CHECK(pixel_shuffle(x, 2).shape() == Shape{1, 2, 2, 4});
  CHECK(pixel_shuffle(x, 2).values<int>() == std::vector<int>{0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15});
  CHECK(pixel_unshuffle(pixel_shuffle(x, 2), 2).values<int>() == x.values<int>());
  CHECK(pixel_unshuffle(counted({1, 1, 4, 4}), 2).values<int>() ==
        std::vector<int>{0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15});
  CHECK(channel_shuffle(counted({1, 6, 1}), 3).values<int>() == std::vector<int>{0, 2, 4, 1, 3, 5});
  CHECK(pixel_shuffle(input({8, 1, 2}), 2).shape() == Shape{kOpen, 2, 2, 4});
  CHECK(channel_shuffle(input({6}), 3).shape() == Shape{kOpen, 6});
  CHECK_THROWS_WITH_AS(pixel_shuffle(x, 3), "pixel_shuffle(1, 8, 1, 2): 8 channels do not fall into squares of 3 by 3",
                       Error);
  CHECK_THROWS_WITH_AS(pixel_unshuffle(x, 2), Contains("1 by 2 elements do not fall into squares of 2 by 2"), Error);
  CHECK_THROWS_WITH_AS(pixel_shuffle(x, 0), Contains("the factor must be from 1 to 2^31, not 0"), Error);
  CHECK_THROWS_WITH_AS(channel_shuffle(x, 3), Contains("axis 1 does not fall into 3 groups"), Error);
}

TEST_CASE("patches, pads and shuffles are differentiated right to second order") {
  const Tensor x = sines({1, 4, 3, 4}, 0.1);
  const auto check = [](const std::function<Tensor(const Tensor&)>& f, const Tensor& at) {
    check_gradients([&](const Tensors& in) { return square(f(in[0])); }, {at}, 2);
  };
  check([](const Tensor& t) { return unfold(t, 2, {.strides = {1, 2}, .padding = 1}); }, x);
  check([](const Tensor& t) { return fold(t, {3, 4}, 2, {.strides = {1, 2}, .padding = 1}); }, sines({1, 4, 12}, 0.2));
  for (const PadMode mode : {PadMode::reflect, PadMode::symmetric, PadMode::replicate, PadMode::circular})
    check([mode](const Tensor& t) { return pad(t, {{0, 0}, {0, 1}, {2, 1}, {0, 2}}, mode); }, x);
  check([](const Tensor& t) { return pixel_shuffle(t, 2); }, x);
  check([](const Tensor& t) { return channel_shuffle(t, 2); }, x);
}
