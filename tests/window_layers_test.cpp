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

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

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
  same(Conv1DTranspose(3, 2, {.strides = 2}), Conv1DTranspose(3, 2, {.strides = 2, .channels_last = true}), sequences);
  same(Conv3DTranspose(3, 2, {.strides = 2}), Conv3DTranspose(3, 2, {.strides = 2, .channels_last = true}), volumes);
  same(DepthwiseConv1D(3), DepthwiseConv1D(3, {.channels_last = true}), sequences);
  same(SeparableConv1D(3, 2), SeparableConv1D(3, 2, {.channels_last = true}), sequences);
  same(SeparableConv2D(3, 2, {.activation = "relu"}),
       SeparableConv2D(3, 2, {.activation = "relu", .channels_last = true}), images);
  same(AdaptiveMaxPooling1D(3), AdaptiveMaxPooling1D(3, {.channels_last = true}), sequences);
  same(AdaptiveMaxPooling2D({2, 4}), AdaptiveMaxPooling2D({2, 4}, {.channels_last = true}), images);
  same(AdaptiveAveragePooling3D(2), AdaptiveAveragePooling3D(2, {.channels_last = true}), volumes);
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

TEST_CASE("transposed, depthwise and separable layers compute what PyTorch's functions give for their weights") {
  const Tensor sequences = sines({2, 3, 6}, 0.1);
  check_ends(with_sines(Conv1DTranspose(4, 3, {.strides = 2}), {sequences}),
             {0.835690024421552, 0.344393455149559, -0.598175160911037, 1.68584785387611, 1.30436307886873},
             {-0.0608901969137456, -1.80285081464477, 0.342703396659646, 1.61772114014971});
  const Tensor deep = with_sines(Conv3DTranspose(3, {2, 1, 2}, {.strides = 2}), {sines({1, 2, 2, 3, 2}, 0.1)});
  CHECK(deep.shape() == Shape({1, 3, 4, 6, 4}));
  check_ends(deep, {0.570329068864701, 0.216242634002953, 0.384256480848039, 1.52122341659465, 0.389418342308651},
             {0.675463180551151, 0.675463180551151, 0.675463180551151, 0.675463180551151});
  check_ends(with_sines(DepthwiseConv1D(3, {.depth_multiplier = 2}), {sequences}),
             {1.93779394234279, 1.40463659726721, -0.0619077294984123, -1.11350494724144, -0.55973903724716},
             {-1.72666658242376, -2.21294771289032, -1.37513102772972, 0.0164986765109827});
  check_ends(with_sines(SeparableConv1D(4, 3, {.depth_multiplier = 2}), {sequences}),
             {0.781258385654185, 0.706253954849045, 0.501052581069896, 0.354315461034666, 1.17084733550394},
             {-0.4457997740935, -0.392164066100942, -0.384825779070134, -0.430531700254956});
  check_ends(with_sines(SeparableConv2D(3, {2, 3}, {.strides = {1, 2}}), {sines({1, 2, 4, 5}, 0.1)}),
             {-0.0355251041875047, -0.761753650367992, 2.05657355585399, -1.02662974868276, 2.01121891379922},
             {-1.64718089087564, 1.75890638109682, -0.46012385499357, -0.86682750663791});
}

TEST_CASE("transposed and separable layers of other extents have Keras's sizes, weights and refusals") {
  const auto steps = [](const Conv1DTransposeOptions& options) {
    return Conv1DTranspose(3, 2, options)(input({2, 5})).shape();
  };
  CHECK(steps({}) == Shape({kOpen, 3, 6}));
  CHECK(steps({.strides = 3}) == Shape({kOpen, 3, 15}));
  CHECK(steps({.strides = 3, .padding = "same"}) == Shape({kOpen, 3, 15}));
  CHECK(steps({.strides = 3, .output_padding = 0}) == Shape({kOpen, 3, 14}));
  CHECK(Conv3DTranspose(3, {1, 2, 4}, {.strides = {3, 3, 1}})(input({2, 2, 5, 6})).shape() ==
        Shape({kOpen, 3, 6, 15, 9}));
  const SeparableConv2D layer(5, 3, {.depth_multiplier = 2});
  CHECK(layer(ones({1, 4, 5, 5})).shape() == Shape({1, 5, 3, 3}));
  const auto weights = layer->named_parameters();
  REQUIRE(weights.size() == 3);
  CHECK(weights[0].first == "depthwise_kernel");
  CHECK(weights[0].second.shape() == Shape({8, 1, 3, 3}));
  CHECK(max(abs(weights[0].second.value())).item<float>() <= 0.33333333f);  // sqrt(6 / (9 4 + 9 2))
  CHECK(weights[1].first == "pointwise_kernel");
  CHECK(weights[1].second.shape() == Shape({5, 8, 1, 1}));
  const float limit = 0.67936622f;  // sqrt(6 / (8 + 5))
  CHECK(max(abs(weights[1].second.value())).item<float>() <= limit);
  CHECK(max(abs(weights[1].second.value())).item<float>() > 0.9f * limit);
  CHECK(weights[2].first == "bias");
  CHECK(weights[2].second.shape() == Shape({5}));
  CHECK(SeparableConv1D(2, 3, {.use_bias = false})(input({4, 7})).shape() == Shape({kOpen, 2, 5}));
  CHECK_THROWS_WITH_AS(SeparableConv2D(2, 3, {.depth_multiplier = 0}),
                       "SeparableConv2D: the depth multiplier must be 1 or more, not 0", Error);
  CHECK_THROWS_WITH_AS(DepthwiseConv1D(3)(input({2, 3, 4})), Contains("DepthwiseConv1D needs [n, channels, steps]"),
                       Error);
  CHECK_THROWS_WITH_AS(Conv1DTranspose(2, 3, {.padding = "causal"}), Contains("no causal padding"), Error);
  CHECK_THROWS_WITH_AS(SeparableConv1D(2, 3, {.activation = "softmax"}), Contains("which holds steps here"), Error);
  CHECK_THROWS_WITH_AS(AdaptiveMaxPooling3D({1, 0, 2}),
                       "AdaptiveMaxPooling3D: the output size must be 1 or more, not 1 and 0 and 2", Error);
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
  const Attributes pool{{"pool_size", std::int64_t{3}},
                        {"strides", std::int64_t{0}},
                        {"same", true},
                        {"padding", std::vector<std::int64_t>{0, 0}},
                        {"channels_last", false}};
  CHECK(LayerHandle(layer_from("MaxPooling1D", pool))(ones({1, 2, 7})).shape() == Shape({1, 2, 3}));
  old[1].second = std::vector<std::int64_t>{2};
  CHECK_THROWS_WITH_AS(layer_from("Conv2D", old), Contains("\"kernel_size\" must have 2 numbers, not 1"), Error);
  CHECK_THROWS_WITH_AS(register_layer("GRU", {}), Contains("there is a layer class \"GRU\" already"), Error);
}
