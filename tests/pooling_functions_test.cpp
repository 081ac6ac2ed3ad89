// Pools that are norms, places of maxima, and norms over neighbouring channels. Numbers are PyTorch's.
#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/normalization.h>
#include <twopass/ops/patches.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("lp pools are norms of windows, without overflow and with gradient 0 where all is 0") {
  const Tensor x = sines({1, 2, 5, 6}, 0.1);
  const Pool2dOptions options{.window = {2, 3}, .strides = {1, 2}};
  check_ends(lp_pool2d(x, 3, options), {1.38518708269251, 1.33518367362866, 1.36193851026601, 1.3442633763444},
             {1.38789508245385, 1.38603162958866, 1.38712578591642, 1.3636737522546});
  CHECK(lp_pool2d(x, 3, options).shape() == Shape{1, 2, 4, 2});
  check_ends(
      lp_pool1d(sines({1, 2, 7}, 0.2), 2.5, {.window = 3, .strides = 2}),
      {1.15831706506714, 1.10988689269367, 1.15856663984686, 1.15798664794111, 1.13815607325784, 1.10904166287013});
  CHECK(lp_pool2d(x, kInf, options).values<double>() == max_pool2d(abs(x), options).values<double>());
  CHECK(lp_pool2d(full({1, 1, 2, 2}, 1e300, f64), 2).item<double>() == doctest::Approx(2e300));
  const Tensor none = variable(zeros({1, 1, 2, 2}, f64));
  CHECK(backward(lp_pool2d(none, 2))[none].values<double>() == Values{0, 0, 0, 0});
  const Pool2dOptions padded{.window = 3, .strides = 2, .padding = 1, .channels_last = true};
  check_channels_last(lp_pool2d(x, 2, {.window = 3, .strides = 2, .padding = 1}),
                      lp_pool2d(moveaxis(x, 1, -1), 2, padded));
  check_gradients([&](const Tensors& in) { return lp_pool2d(in[0], 3, options); }, {x}, 2);
  check_gradients([&](const Tensors& in) { return lp_pool1d(in[0], 1.5, {.window = 2}); }, {sines({1, 2, 5}, 0.3)}, 2);
  CHECK_THROWS_WITH_AS(lp_pool2d(sines({2, 3}, 0), 2), "lp_pool2d(2, 3): x must have 4 axes, not 2", Error);
  CHECK_THROWS_WITH_AS(lp_pool1d(x, 2), "lp_pool1d(1, 2, 5, 6): x must have three axes", Error);
  CHECK_THROWS_WITH_AS(lp_pool2d(x, -2), Contains("p must be positive, not -2"), Error);
}

TEST_CASE("the places of maxima are PyTorch's, and unpooling puts them back there") {
  const Tensor x = sines({1, 2, 5, 6}, 0.1);
  const Pool2dOptions odd{.window = {3, 2}, .strides = {2, 1}, .padding = 1};
  const PlacedMaxima found = max_pool2d_places(x, odd);
  CHECK(found.places.values<int>() == std::vector<int>{0,  1,  8,  8,  9,  10, 5,  6,  7,  14, 14, 21, 22, 23,
                                                       18, 19, 20, 20, 27, 28, 29, 0,  1,  2,  3,  3,  10, 11,
                                                       18, 7,  8,  9,  9,  22, 23, 24, 24, 20, 21, 28, 28, 29});
  CHECK(found.values.values<double>() == max_pool2d(x, odd).values<double>());
  const PlacedMaxima plain = max_pool2d_places(x);
  const Tensor back = max_unpool2d(plain.values, plain.places, {5, 6});
  CHECK(back.shape() == Shape{1, 2, 5, 6});
  CHECK(back.at<double>(1) == doctest::Approx(0.891207360061435));
  CHECK(back.at<double>(10) == doctest::Approx(-0.625070648892882));
  CHECK(back.at<double>(52) == doctest::Approx(0.965426637129742));
  CHECK(sum(back).item<double>() == doctest::Approx(sum(plain.values).item<double>()));
  const Tensor odd_one = tensor({{{{1.0, 3.0}, {std::numeric_limits<double>::quiet_NaN(), 9.0}}}}, f64);
  CHECK(max_pool2d_places(odd_one).places.item<int>() == 2);
  const Tensor low = full({1, 1, 2, 2}, -kInf, f64);
  CHECK(max_pool2d_places(low, {.window = 2, .strides = 1, .padding = 1}).places.at<int>(8) == 3);
  check_gradients(
      [&](const Tensors& in) {
        return square(max_unpool2d(in[0], plain.places, {5, 6}));
      },
      {plain.values}, 2);
  check_gradients([&](const Tensors& in) { return square(max_pool2d_places(in[0]).values); }, {x}, 2);
  CHECK_THROWS_WITH_AS(max_unpool2d(plain.values, plain.places, {2, 2}), Contains("is outside [0, 3]"), Error);
  CHECK_THROWS_WITH_AS(max_unpool2d(x, plain.places, 9), Contains("x goes with as many places, not with (1, 2, 2, 3)"),
                       Error);
  CHECK_THROWS_WITH_AS(max_pool2d_places(x, {.channels_last = true}), Contains("channels come first"), Error);
}

TEST_CASE("local response normalisation divides by the neighbouring channels") {
  const Tensor x = sines({1, 5, 2, 2}, 0.1);
  check_ends(local_response_norm(x, 3, {0.5, 0.75, 2}),
             {0.0569589063895037, 0.481071583914517, 0.489637222425274, 0.0239309708740741},
             {-0.222359794362784, -0.543924029016319, -0.37162837778943, 0.143890460899267});
  check_ends(local_response_norm(x, 4, {0.5, 0.5, 1}), {0.0958456638671498, 0.811388735658944, 0.824053848829646},
             {-0.911281458707366, -0.613898303982325, 0.228917184927248});
  CHECK(local_response_norm(input({3, 4}), 2).shape() == Shape{kOpen, 3, 4});
  check_gradients([](const Tensors& in) { return local_response_norm(in[0], 3, {0.5, 0.75, 2}); }, {x}, 2);
  CHECK_THROWS_WITH_AS(local_response_norm(ones({2, 3}), 2), Contains("nothing lies beside the channels"), Error);
  CHECK_THROWS_WITH_AS(local_response_norm(x, 0), Contains("0 channels have no mean"), Error);
}
