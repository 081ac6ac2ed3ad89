// Transposed convolutions. Numbers of images are SciPy's, from the definitions; those of sequences and volumes
// PyTorch's.
#include <doctest/doctest.h>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

TEST_CASE("a transposed convolution has PyTorch's sizes, and Keras's with padding \"same\"") {
  const Tensor x = sines({2, 4, 3, 2}, 0.1), kernel = sines({4, 3, 3, 2}, 0.2), bias = sines({6}, 0.3);
  Conv2dTransposeOptions options{
      .strides = {2, 3}, .padding = {1, 1, 0, 1}, .dilation = {1, 2}, .groups = 2, .output_padding = {1, 2}};
  const Tensor y = conv2d_transpose(x, kernel, bias, options);
  CHECK(y.shape() == Shape({2, 6, 6, 7}));
  check_ends(
      y,
      {0.198477255764797, 0.29552020666134, 0.160145607173372, 1.727401098500288, 0.29552020666134, 0.761911254437917},
      {-0.832267442223901, -0.864183840777005, -0.832267442223901});
  check_gradients([&](const Tensors& in) { return conv2d_transpose(in[0], in[1], in[2], options); }, {x, kernel, bias});
  options.channels_last = true;
  check_channels_last(y, conv2d_transpose(moveaxis(x, 1, -1), kernel, bias, options));
  const Tensor same =
      conv2d_transpose(sines({1, 1, 2, 2}, 0.1), sines({1, 1, 3, 3}, 0.2), {}, {.strides = 2, .padding = "same"});
  CHECK(same.shape() == Shape({1, 1, 4, 4}));
  check_ends(same, {0.01983383807621, 0.093048646400495, 0.257770528163022, 0.830640093278925},
             {-0.050389107376792, -0.752352370491636, -0.765033569379887, -0.036240697977764});
}

TEST_CASE("a transposed convolution is what conv2d passes back") {
  const Tensor x = variable(sines({1, 2, 6, 5}, 0.4)), kernel = sines({3, 2, 3, 2}, 0.2);
  const Tensor y = conv2d(x, kernel, {}, {.strides = {2, 1}, .padding = 1}), g = sines(y.shape(), 0.7);
  CHECK(conv2d_transpose(g, kernel, {}, {.strides = {2, 1}, .padding = 1, .output_padding = {1, 0}}).values<double>() ==
        backward(sum(g * y))[x].values<double>());
  const Tensor wide = sines({3, 2, 3, 4}, 0.3);
  const Tensor z = conv2d(x, wide, {}, {.strides = {2, 1}, .padding = "same"}), h = sines(z.shape(), 0.7);
  CHECK(conv2d_transpose(h, wide, {}, {.strides = {2, 1}, .padding = "same"}).values<double>() ==
        backward(sum(h * z))[x].values<double>());
}

TEST_CASE("a transposed convolution of sequences has PyTorch's sizes, and Keras's with padding \"same\"") {
  const Tensor x = sines({2, 4, 5}, 0.1), kernel = sines({4, 3, 3}, 0.2), bias = sines({6}, 0.3);
  Conv1dTransposeOptions options{.strides = 3, .padding = 1, .dilation = 2, .groups = 2, .output_padding = 2};
  const Tensor y = conv1d_transpose(x, kernel, bias, options);
  CHECK(y.shape() == Shape({2, 6, 17}));
  check_ends(
      y, {0.29552020666134, 1.03652311462547, 0.431973591554885, 1.28277228325794, 1.25365122570895, 0.629493280604896},
      {-0.45766786278317, -0.832267442223901, -1.03592530403627, -0.832267442223901});
  check_gradients([&](const Tensors& in) { return conv1d_transpose(in[0], in[1], in[2], options); }, {x, kernel, bias});
  options.channels_last = true;
  check_channels_last(y, conv1d_transpose(moveaxis(x, 1, -1), kernel, bias, options));
  // of 9 steps one is cut before and two after
  const Tensor same =
      conv1d_transpose(sines({1, 2, 3}, 0.1), sines({2, 1, 5}, 0.2), {}, {.strides = 2, .padding = "same"});
  CHECK(same.shape() == Shape({1, 1, 6}));
  check_ends(same, {0.089593733990157, 1.01368248713297, 0.931918759312269, 0.982761740588085, 0.0596685096941655,
                    -0.996028150785799});
}

TEST_CASE("a transposed convolution of volumes has PyTorch's sizes, planes that nothing reaches too, and Keras's") {
  const Tensor x = sines({2, 4, 3, 2, 3}, 0.1), kernel = sines({4, 3, 2, 3, 2}, 0.2), bias = sines({6}, 0.3);
  Conv3dTransposeOptions options{.strides = {3, 2, 1},
                                 .padding = {1, 1, {1, 1, 0, 0}},
                                 .dilation = {1, 1, 2},
                                 .groups = 2,
                                 .output_padding = {2, 1, 0}};
  const Tensor y = conv3d_transpose(x, kernel, bias, options);
  CHECK(y.shape() == Shape({2, 6, 8, 4, 5}));
  const Values first{0.242281454640017, 1.18743523565921, 0.695536516049651,
                     0.726706028089055, 1.37849153005643, -1.0819238854485};
  const Values last{-0.832267442223901, -0.832267442223901, -0.832267442223901, -0.832267442223901};
  check_ends(y, first, last);
  check_ends(conv3d_transpose(cast(x, f32), cast(kernel, f32), cast(bias, f32), options), first, last, 1e-5);
  options.channels_last = true;
  check_channels_last(y, conv3d_transpose(moveaxis(x, 1, -1), kernel, bias, options));
  const Tensor wide =
      conv3d_transpose(x, kernel, {}, {.strides = {2, 1, 1}, .dilation = {3, 1, 1}, .output_padding = {1, 0, 0}});
  CHECK(wide.shape() == Shape({2, 3, 9, 4, 4}));
  check_ends(wide, {0.0149233648540827, -0.287413040558026, -0.691672755064532, -0.263150959849262, 0.642186866874931},
             {0, 0, 0, 0});
  const Tensor same =
      conv3d_transpose(sines({1, 1, 2, 2, 2}, 0.1), sines({1, 1, 3, 3, 3}, 0.2), {}, {.strides = 2, .padding = "same"});
  CHECK(same.shape() == Shape({1, 1, 4, 4, 4}));
  check_ends(same, {0.0198338380762099, 0.093048646400495, 0.257770528163022, 0.830640093278925, -0.00582769018220731},
             {0.0652559431558561, -0.107853594152249, -0.442941090406272, 0.431603261700078});
}

TEST_CASE("a transposed convolution of volumes is what conv3d passes back, and has right gradients") {
  const Tensor x = variable(sines({1, 2, 5, 4, 3}, 0.4)), kernel = sines({3, 2, 2, 3, 2}, 0.2);
  const Tensor y = conv3d(x, kernel, {}, {.strides = {3, 1, 2}, .padding = {1, 1, {1, 0, 0, 1}}});
  const Tensor g = sines(y.shape(), 0.7);
  const Tensor back = conv3d_transpose(
      g, kernel, {}, {.strides = {3, 1, 2}, .padding = {1, 1, {1, 0, 0, 1}}, .output_padding = {2, 0, 0}});
  CHECK(back.shape() == x.shape());
  check_ends(back, backward(sum(g * y))[x].values<double>());
  check_gradients(
      [&](const Tensors& in) {
        return conv3d_transpose(in[0], in[1], in[2],
                                {.strides = {3, 1, 1}, .padding = {1, 0, Padding()}, .output_padding = {2, 0, 0}});
      },
      {sines({1, 1, 2, 2, 2}, 0.1), sines({1, 2, 2, 2, 1}, 0.2), sines({2}, 0.3)});
}

TEST_CASE("transposed convolutions are recorded on symbols whose batch is open, and run later") {
  const Tensor x = input({2, 3, 2, 2}, "x", f64), kernel = sines({2, 1, 2, 2, 1}, 0.2);
  const auto f = [&](const Tensor& volumes) {
    const Tensor up = conv3d_transpose(volumes, kernel, {}, {.strides = {3, 1, 1}});
    return conv1d_transpose(reshape(up, {-1, 4, 12}), sines({4, 2, 3}, 0.1), {}, {.padding = "same"});
  };
  const Tensor y = f(x);
  CHECK(y.shape() == Shape({kOpen, 2, 12}));
  const Tensor values = sines({2, 2, 3, 2, 2}, 0.8);
  CHECK(Model(x, y)(values).values<double>() == f(values).values<double>());
  CHECK(conv3d_transpose(ones({0, 2, 3, 2, 2}, f64), kernel).shape() == Shape({0, 1, 4, 3, 2}));
}

TEST_CASE("transposed convolutions refuse what does not fit with both numbers") {
  const Tensor x = ones({1, 2, 3, 4});
  CHECK_THROWS_WITH_AS(conv2d_transpose(x, ones({2, 1, 2, 2}), {}, {.strides = 2, .output_padding = 2}),
                       Contains("from 0 to the stride of 2 less one, and 0 beside padding \"same\", not 2"), Error);
  CHECK_THROWS_WITH_AS(conv2d_transpose(x, ones({2, 1, 2, 2}), {}, {.padding = 3}), Contains("leaves no rows"), Error);
  CHECK_THROWS_WITH_AS(conv2d_transpose(x, ones({3, 1, 2, 2})), Contains("g must be (1, 3, 3, 4), not (1, 2, 3, 4)"),
                       Error);
  CHECK_THROWS_WITH_AS(conv2d_transpose(x, ones({2, 3, 2, 2}), ones({2})), Contains("the bias must be (3,)"), Error);
  CHECK_THROWS_WITH_AS(conv2d_transpose(input({2, kOpen, 4}), ones({2, 1, 2, 2})), Contains("rows is open"), Error);
  CHECK_THROWS_WITH_AS(conv1d_transpose(x, x), Contains("must have 3 axes"), Error);
  CHECK_THROWS_WITH_AS(conv1d_transpose(ones({1, 2, 3}), ones({2, 1, 2}), {}, {.padding = "causal"}),
                       "conv1d_transpose: transposed convolutions have no causal padding", Error);
  const Tensor volumes = ones({1, 2, 3, 4, 4});
  CHECK_THROWS_WITH_AS(conv3d_transpose(x, x), Contains("must have 5 axes"), Error);
  CHECK_THROWS_WITH_AS(conv3d_transpose(volumes, ones({2, 1, 2, 2, 2}), ones({2})),
                       "conv3d_transpose: the bias must be (1,), one for each filter, not (2,)", Error);
  CHECK_THROWS_WITH_AS(conv3d_transpose(volumes, ones({2, 1, 2, 2, 2}), {}, {.padding = {2, 2, Padding()}}),
                       "conv3d_transpose: padding of 2 and 2 leaves no planes", Error);
  CHECK_THROWS_WITH_AS(conv3d_transpose(input({2, kOpen, 4, 4}), ones({2, 1, 2, 2, 2})), Contains("planes is open"),
                       Error);
  CHECK_THROWS_WITH_AS(conv3d_transpose(volumes, ones({2, 1, 2, 2, 2}), {}, {.strides = {0, 1, 1}}),
                       Contains("the strides must be from 1"), Error);
}
