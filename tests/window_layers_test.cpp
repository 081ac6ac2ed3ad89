// Layers of windows over sequences, images and volumes.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/layers/convolutional.h>
#include <twopass/graph/layers/pooling.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "with_sines.h"

using namespace twopass;
using doctest::Contains;

namespace {}  // namespace

TEST_CASE("layers of convolution take channels last, with the same weights") {
  const auto same = [](const LayerHandle& first, const LayerHandle& last, const Tensor& x) {
    const Tensor y = with_sines(first, {x}), moved = with_sines(last, {moveaxis(x, 1, -1)});
    CHECK(moveaxis(moved, -1, 1).values<double>() == y.values<double>());
  };
  const Tensor images = sines({2, 4, 5, 6}, 0.1), sequences = sines({2, 4, 7}, 0.3);
  same(Conv2D(6, {2, 3}, {.groups = 2, .activation = "relu"}),
       Conv2D(6, {2, 3}, {.groups = 2, .activation = "relu", .channels_last = true}), images);
  same(Conv1D(3, 2), Conv1D(3, 2, {.channels_last = true}), sequences);
  same(DepthwiseConv2D(2), DepthwiseConv2D(2, {.channels_last = true}), images);
  same(Conv2DTranspose(3, 2, {.strides = 2}), Conv2DTranspose(3, 2, {.strides = 2, .channels_last = true}), images);
  same(MaxPooling2D(), MaxPooling2D(2, {.channels_last = true}), images);
  const Tensor volumes = sines({2, 4, 3, 4, 5}, 0.2);
  same(Conv3D(6, {2, 3, 2}, {.groups = 2, .activation = "relu"}),
       Conv3D(6, {2, 3, 2}, {.groups = 2, .activation = "relu", .channels_last = true}), volumes);
  same(AveragePooling3D(), AveragePooling3D(2, {.channels_last = true}), volumes);
  CHECK(GlobalAveragePooling3D({.channels_last = true})(moveaxis(volumes, 1, -1)).shape() == Shape({2, 4}));
  CHECK(GlobalMaxPooling2D({.keepdims = true})(images).shape() == Shape({2, 4, 1, 1}));
}

TEST_CASE("a convolution of volumes has Keras's sizes, weights and refusals") {
  const Conv3D layer(6, {2, 3, 4}, {.strides = {1, 2, 2}, .padding = "same"});
  CHECK(layer(input({2, 5, 6, 7})).shape() == Shape({kOpen, 6, 5, 3, 4}));
  layer(ones({1, 2, 5, 6, 7}));
  CHECK(layer.parameters()[0].shape() == Shape({6, 2, 2, 3, 4}));
  const float limit = 0.17677670f;  // sqrt(6 / (24 2 + 24 6))
  CHECK(max(abs(layer.parameters()[0].value())).item<float>() <= limit);
  CHECK(max(abs(layer.parameters()[0].value())).item<float>() > 0.9f * limit);
  CHECK(MaxPooling3D()(input({2, 5, 6, 7})).shape() == Shape({kOpen, 2, 2, 3, 3}));
  CHECK_THROWS_WITH_AS(Conv3D(2, 2)(input({2, 3, 4})),
                       Contains("Conv3D needs [n, channels, depth, rows, columns]: its input has shape"), Error);
  CHECK_THROWS_WITH_AS(MaxPooling3D()(input({2, 3, 4})), Contains("MaxPooling3D needs volumes of five axes"), Error);
  CHECK_THROWS_WITH_AS(Conv3D(4, 2, {.groups = 3})(input({2, 3, 4, 4})), Contains("3 groups do not divide 2"), Error);
}

TEST_CASE("a transposed convolution has Keras's sizes, and a depthwise one Keras's filters") {
  const auto shape = [](const Conv2DTransposeOptions& options) {
    return Conv2DTranspose(3, {2, 4}, options)(input({2, 5, 6})).shape();
  };
  // deconv_output_length of Keras: n stride + max(kernel - stride, 0), or n stride
  CHECK(shape({}) == Shape({kOpen, 3, 6, 9}));
  CHECK(shape({.strides = 3}) == Shape({kOpen, 3, 15, 19}));
  CHECK(shape({.strides = 3, .padding = "same"}) == Shape({kOpen, 3, 15, 18}));
  CHECK(shape({.strides = {3, 1}, .output_padding = {0, 0}}) == Shape({kOpen, 3, 14, 9}));
  const DepthwiseConv2D depthwise(3, {.depth_multiplier = 2});
  CHECK(depthwise(ones({1, 4, 5, 5})).shape() == Shape({1, 8, 3, 3}));
  const float limit = 0.33333333f;  // sqrt(6 / (9 4 + 9 2))
  CHECK(max(abs(depthwise.parameters()[0].value())).item<float>() <= limit);
  CHECK(max(abs(depthwise.parameters()[0].value())).item<float>() > 0.9f * limit);
}

TEST_CASE("layers that files held before they knew channels last are read, and bad attributes refused") {
  Attributes old{{"filters", std::int64_t{2}},
                 {"kernel_size", std::vector<std::int64_t>{2, 2}},
                 {"strides", std::vector<std::int64_t>{1, 1}},
                 {"same", false},
                 {"padding", std::vector<std::int64_t>{0, 0, 0, 0}},
                 {"dilation_rate", std::vector<std::int64_t>{1, 1}},
                 {"groups", std::int64_t{1}},
                 {"activation", std::string("relu")},
                 {"use_bias", true}};
  CHECK(layer_from("Conv2D", old)->type() == "Conv2D");
  old[1].second = std::vector<std::int64_t>{2};
  CHECK_THROWS_WITH_AS(layer_from("Conv2D", old), Contains("\"kernel_size\" must have 2 numbers, not 1"), Error);
  CHECK_THROWS_WITH_AS(register_layer("GRU", {}), Contains("there is a layer class \"GRU\" already"), Error);
}
