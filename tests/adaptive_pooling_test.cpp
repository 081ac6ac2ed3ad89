// Pools to a given size and of everything. Numbers of images are NumPy's, those of sequences and volumes PyTorch's.
#include <doctest/doctest.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

TEST_CASE("adaptive pools of images have PyTorch's windows, which may overlap, and give any size") {
  const Tensor x = sines({1, 1, 5, 7}, 0.1);
  check_ends(adaptive_average_pool2d(x, {3, 2}), {0.411089671277233, -0.430660359061256, 0.042709966376424,
                                                  -0.09789215087875, -0.365584710510458, 0.326362021622815});
  check_ends(adaptive_max_pool2d(x, {3, 2}), {0.969889810845086, 0.508661464372374, 0.999309388747918,
                                              0.949124553647895, 0.777794161801093, 0.993591002680395});
  check_ends(adaptive_average_pool2d(x, {6, 3}), {0.618083381119046, 0.028837639339251, -0.64208476588808});
  check_gradients([](const Tensors& in) { return square(adaptive_average_pool2d(in[0], {3, 2})); }, {x});
  check_gradients([](const Tensors& in) { return square(adaptive_max_pool2d(in[0], {3, 2})); }, {x});
  const Tensor even = sines({1, 2, 4, 6}, 0.1);
  CHECK(adaptive_average_pool2d(even, {2, 3}).values<double>() == average_pool2d(even).values<double>());
  CHECK(adaptive_max_pool2d(even, {2, 3}).values<double>() == max_pool2d(even).values<double>());
  CHECK_THROWS_WITH_AS(adaptive_max_pool2d(x, {0, 1}), Contains("from 1 to 2^31 - 1, not 0 and 1"), Error);
}

TEST_CASE("adaptive pools of sequences and volumes have PyTorch's windows along every axis") {
  const Tensor x = sines({2, 2, 7}, 0.1), v = sines({1, 2, 5, 4, 7}, 0.1);
  check_ends(adaptive_average_pool1d(x, 3), {0.618083381119046, 0.0288376393392513, -0.64208476588808},
             {0.171881665358452, -0.0753432671475562, -0.595543249920152, 0.571010146110107});
  check_ends(adaptive_max_pool1d(x, 3), {0.891207360061435, 0.863209366648874, -0.182162504272096, 0.969889810845086},
             {0.949124553647895, 0.777794161801093, -0.0327353793308453, 0.922432816923086});
  CHECK(adaptive_average_pool3d(v, {3, 2, 4}).shape() == Shape({1, 2, 3, 2, 4}));
  check_ends(adaptive_average_pool3d(v, {3, 2, 4}),
             {0.0765613502804513, -0.0605625210272432, -0.0338573645837476, 0.100594993231051, -0.0710147759676171},
             {0.112169562948569, 0.00094111327788141, -0.0811382538143988, 0.0383011994929575});
  check_ends(adaptive_max_pool3d(v, {3, 2, 4}),
             {0.969889810845086, 0.969889810845086, 0.993591002680395, 0.993591002680395, 0.999309388747918},
             {0.870281242651076, 0.973245727999676, 0.997616984950223, 0.997616984950223});
  check_gradients(
      [](const Tensors& in) {
        return square(adaptive_average_pool3d(in[0], {2, 3, 2}));
      },
      {sines({1, 1, 3, 4, 3}, 0.1)});
  check_gradients([](const Tensors& in) { return square(adaptive_max_pool1d(in[0], 3)); }, {x});
  const Tensor even = sines({1, 2, 4, 2, 6}, 0.1);
  CHECK(adaptive_max_pool3d(even, {2, 1, 3}).values<double>() == max_pool3d(even).values<double>());
  CHECK(adaptive_average_pool1d(sines({1, 2, 6}, 0.1), 3).values<double>() ==
        average_pool1d(sines({1, 2, 6}, 0.1)).values<double>());
  CHECK(adaptive_average_pool3d(input({2, 5, 4, 7}), {3, 2, 4}).shape() == Shape({kOpen, 2, 3, 2, 4}));
  CHECK_THROWS_WITH_AS(adaptive_max_pool1d(v, 2), "adaptive_max_pool1d(1, 2, 5, 4, 7): x must have three axes", Error);
  CHECK_THROWS_WITH_AS(adaptive_max_pool3d(v, {1, 0, 2}), Contains("from 1 to 2^31 - 1, not 1 and 0 and 2"), Error);
  CHECK_THROWS_WITH_AS(adaptive_max_pool1d(input({2, kOpen}), 2), Contains("must be known"), Error);
}

TEST_CASE("adaptive and global pools take channels last") {
  const Tensor sequences = sines({2, 3, 7}, 0.1), images = sines({2, 3, 5, 7}, 0.2),
               volumes = sines({1, 2, 5, 4, 3}, 0.3);
  const auto last = [](const Tensor& x) { return moveaxis(x, 1, -1); };
  const AdaptivePoolOptions options{.channels_last = true};
  check_channels_last(adaptive_max_pool1d(sequences, 3), adaptive_max_pool1d(last(sequences), 3, options));
  check_channels_last(adaptive_average_pool1d(sequences, 7), adaptive_average_pool1d(last(sequences), 7, options));
  check_channels_last(adaptive_max_pool2d(images, {5, 2}), adaptive_max_pool2d(last(images), {5, 2}, options));
  check_channels_last(adaptive_average_pool2d(images, 3), adaptive_average_pool2d(last(images), 3, options));
  check_channels_last(adaptive_max_pool3d(volumes, 2), adaptive_max_pool3d(last(volumes), 2, options));
  check_channels_last(adaptive_average_pool3d(volumes, 2), adaptive_average_pool3d(last(volumes), 2, options));
  for (const Tensor& x : {sequences, images, volumes}) {
    CHECK(global_max_pool(last(x), {.channels_last = true}).values<double>() == global_max_pool(x).values<double>());
    check_ends(global_average_pool(last(x), {.channels_last = true}), global_average_pool(x).values<double>());
  }
}

TEST_CASE("global pools are adaptive ones to one place, and keep the axes if asked") {
  const Tensor even = sines({1, 2, 4, 6}, 0.1);
  check_ends(adaptive_average_pool2d(even, 1), global_average_pool(even).values<double>());
  CHECK(adaptive_max_pool2d(even, 1).values<double>() == global_max_pool(even).values<double>());
  CHECK(global_max_pool(even, {.keepdims = true}).shape() == Shape({1, 2, 1, 1}));
  CHECK(global_average_pool(even, {.keepdims = true, .channels_last = true}).shape() == Shape({1, 1, 1, 6}));
  CHECK_THROWS_WITH_AS(global_max_pool(ones({2, 3})), Contains("nothing lies beside the channels"), Error);
}

TEST_CASE("N15: NaN wins in adaptive and global pools, in the windows that see it alone") {
  const double nan = std::nan("");
  const Tensor x = tensor({{{1.0, nan, 3.0, 4.0, 2.0}}}, f64);
  const Values most = adaptive_max_pool1d(x, 2).values<double>();
  CHECK(std::isnan(most[0]));
  CHECK(most[1] == 4);
  CHECK(std::isnan(global_max_pool(x).item<double>()));
}
