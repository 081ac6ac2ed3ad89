// Convolutions of sequences and volumes, depthwise and separable ones, and the pools. Numbers are SciPy's (correlate)
// and NumPy's, from the definitions, and PyTorch's.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

TEST_CASE("a convolution of sequences has stride, padding, dilation and groups") {
  const Tensor x = sines({2, 4, 7}, 0.1), kernel = sines({6, 2, 3}, 0.2), bias = sines({6}, 0.3);
  Conv1dOptions options{.strides = 2, .padding = {1, 2}, .dilation = 2, .groups = 2};
  const Tensor y = conv1d(x, kernel, bias, options);
  CHECK(y.shape() == Shape({2, 6, 3}));
  check_ends(
      y,
      {0.866667229861075, 0.648235830497779, -0.1307246613244, 1.643250957018487, 1.145501937110922, 0.400688847293683},
      {-0.668021045952232, 0.275662381946701, -0.960454495057678});
  check_gradients([&](const Tensors& in) { return conv1d(in[0], in[1], in[2], options); }, {x, kernel, bias});
  options.channels_last = true;
  check_channels_last(y, conv1d(moveaxis(x, 1, -1), kernel, bias, options));
}

TEST_CASE("a causal convolution sees nothing that comes after, and padding \"same\" keeps every step") {
  const Tensor x = sines({1, 1, 4}, 0.1), kernel = sines({1, 1, 3}, 0.2);
  check_ends(conv1d(x, kernel, {}, {.padding = "causal", .dilation = 2}),
             {0.080714958339983, 0.720537945667221, 0.790950315079496, 0.864257909324676});
  CHECK(conv1d(x, kernel, {}, {.padding = "causal"}).shape() == x.shape());
  CHECK(conv1d(x, kernel, {}, {.padding = "same"}).shape() == x.shape());
  CHECK(conv1d(tensor({{{1.0, 2.0, 3.0}}}), tensor({{{1.0, 10.0, 100.0}}}), {}, {.padding = "same"}).values<double>() ==
        Values{210, 321, 32});
  CHECK_THROWS_WITH_AS(Padding1d("caussal"), Contains("there is no padding \"caussal\""), Error);
}

TEST_CASE("a convolution of volumes has strides, padding, dilation and groups in every direction") {
  const Tensor x = sines({2, 4, 5, 4, 3}, 0.1), kernel = sines({6, 2, 2, 3, 2}, 0.2), bias = sines({6}, 0.3);
  Conv3dOptions options{.strides = {2, 1, 1}, .padding = {1, 0, {1, 1, 0, 1}}, .dilation = {2, 1, 1}, .groups = 2};
  const Tensor y = conv3d(x, kernel, bias, options);
  CHECK(y.shape() == Shape({2, 6, 2, 4, 3}));
  check_ends(y,
             {-0.961517916340708, -0.24703871838009, 0.778968125538078, 1.653193684080377, 1.866257523870864,
              0.379769972460461},
             {1.453438879214494, 2.02303855867613, -0.182660425122334});
  const Tensor same = conv3d(x, kernel, {}, {.strides = 2, .padding = "same", .groups = 2});
  CHECK(same.shape() == Shape({2, 6, 3, 2, 2}));
  check_ends(same, {3.051064992249448, 0.067635660071065, 1.112604169755536, 1.254902899187011},
             {-0.57831596237077, 0.947595878165988});
  options.channels_last = true;
  check_channels_last(y, conv3d(moveaxis(x, 1, -1), kernel, bias, options));
  options.channels_last = false;
  check_gradients([&](const Tensors& in) { return conv3d(in[0], in[1], in[2], options); },
                  {sines({1, 2, 3, 3, 2}, 0.1), sines({2, 1, 2, 3, 2}, 0.2), sines({2}, 0.3)});
}

TEST_CASE("a depthwise convolution keeps channels apart, several filters for each") {
  const Tensor x = sines({1, 2, 4, 4}, 0.1), kernel = sines({4, 1, 2, 3}, 0.2);
  const Tensor y = depthwise_conv2d(x, kernel);
  CHECK(y.shape() == Shape({1, 4, 3, 2}));
  check_ends(y, {2.563991784837374, 0.584019227002802, -0.955253079615954, 1.640466744537963},
             {2.49230452511947, 1.171093418140727});
  check_channels_last(y, depthwise_conv2d(moveaxis(x, 1, -1), kernel, {}, {.channels_last = true}));
  CHECK_THROWS_WITH_AS(depthwise_conv2d(x, sines({3, 1, 2, 2}, 0)), Contains("2 groups do not divide 3 filters"),
                       Error);
  const Tensor sequences = sines({1, 3, 7}, 0.1), bias = sines({6}, 0.3);
  Conv1dOptions options{.strides = 2, .padding = 1, .dilation = 2};
  const Tensor z = depthwise_conv1d(sequences, sines({6, 1, 3}, 0.2), bias, options);
  CHECK(z.shape() == Shape({1, 6, 3}));
  check_ends(z, {1.15977811598602, -0.237187262172734, -0.559114461250801, 0.150068812376354, 1.693209312616},
             {-0.416908965719525, -0.121098933458145, -0.336610027603581, -1.42799769927532});
  options.channels_last = true;
  check_channels_last(z, depthwise_conv1d(moveaxis(sequences, 1, -1), sines({6, 1, 3}, 0.2), bias, options));
  check_ends(depthwise_conv3d(sines({1, 2, 4, 3, 4}, 0.1), sines({4, 1, 2, 2, 3}, 0.2), {}, {.dilation = {2, 1, 1}}),
             {4.88450959562861, 2.92562275992267, -3.45041087685939, 1.05904824220872, 3.93911599807339},
             {2.12879190215174, 4.74047640396936, -4.62050334718245, -3.48756276410918});
  CHECK_THROWS_WITH_AS(depthwise_conv1d(x, kernel), Contains("must have 3 axes"), Error);
  CHECK_THROWS_WITH_AS(depthwise_conv3d(input({kOpen, 2, 2, 2}), sines({2, 1, 1, 1, 1}, 0)),
                       "depthwise_conv3d: the number of channels is open: it must be known", Error);
}

TEST_CASE("a separable convolution sees places channel by channel, then channels place by place") {
  const Tensor x = sines({2, 3, 5, 6}, 0.1), own = sines({6, 1, 2, 3}, 0.2), across = sines({4, 6, 1, 1}, 0.3),
               bias = sines({4}, 0.4);
  Conv2dOptions options{.strides = 2, .dilation = {1, 2}};
  const Tensor y = separable_conv2d(x, own, across, bias, options);
  CHECK(y.shape() == Shape({2, 4, 2, 1}));
  check_ends(y, {-0.418491253466007, -0.507511951626434, 0.158942948040478, 0.164328842127454, -0.103801731157124},
             {1.06181190608346, 0.63767513728499, -0.0900051053094401, -0.473434425133073});
  check_gradients([&](const Tensors& in) { return separable_conv2d(in[0], in[1], in[2], in[3], options); },
                  {x, own, across, bias});
  options.activation = FusedActivation::relu;
  check_ends(separable_conv2d(x, own, across, bias, options), {0, 0, 0.158942948040478, 0.164328842127454, 0});
  options = {.strides = 2, .dilation = {1, 2}, .channels_last = true};
  check_channels_last(y, separable_conv2d(moveaxis(x, 1, -1), own, across, bias, options));
  const Tensor sequences = sines({2, 3, 8}, 0.1), steps = sines({6, 1, 3}, 0.2), channels = sines({4, 6, 1}, 0.3);
  check_ends(separable_conv1d(sequences, steps, channels, bias, {.strides = 2}),
             {-0.813198487499611, -0.218614173726924, 2.09809678824892, -0.65201884228908, 0.899499704603692},
             {2.43594657274894, -1.20869137536929, -1.55311710585162, 1.77757346965796});
  check_ends(separable_conv1d(sequences, steps, channels, bias, {.padding = "causal", .dilation = 2}),
             {1.19083262066316, 0.200162275352243, 0.0652756174986563, -0.640347705574526, -0.463885802986836},
             {-1.54794706606143, -0.277118178416724, 1.01354857375307, 1.13742013071772});
  CHECK_THROWS_WITH_AS(separable_conv1d(sequences, steps, sines({4, 6, 2}, 0)),
                       "separable_conv1d: the pointwise kernel must have one place, not (4, 6, 2)", Error);
}

TEST_CASE("kinds of convolution refuse what does not fit with both numbers") {
  const Tensor x = ones({1, 2, 3, 4});
  CHECK_THROWS_WITH_AS(conv1d(x, ones({1, 2, 3})), "conv1d((1, 2, 3, 4), (1, 2, 3)): x and the kernel must have 3 axes",
                       Error);
  CHECK_THROWS_WITH_AS(conv1d(ones({1, 2, 3}), ones({1, 2, 4})), Contains("reaches over 4 columns but"), Error);
  CHECK_THROWS_WITH_AS(conv3d(x, x), Contains("must have 5 axes"), Error);
  CHECK_THROWS_WITH_AS(conv3d(ones({1, 1, 2, 3, 3}), ones({1, 1, 3, 1, 1})), Contains("reaches over 3 rows but"),
                       Error);
}

TEST_CASE("pools of sequences leave padding out of means, or count it") {
  const Tensor x = sines({1, 2, 7}, 0.1);
  Pool1dOptions options{.window = 3, .strides = 2, .padding = 1};
  const Tensor y = average_pool1d(x, options);
  check_ends(y, {0.495520388354132, 0.5986657963812, -0.567503710319617, -0.553988593299914},
             {0.849429425485481, 0.221305841433852, -0.689756900543824, 0.029506999918886});
  check_ends(max_pool1d(x, options), {0.891207360061435, 0.891207360061435, 0.04158066243329, -0.182162504272096},
             {0.969889810845086, 0.969889810845086, -0.449647464534602, 0.508661464372374});
  options.channels_last = true;
  check_channels_last(y, average_pool1d(moveaxis(x, 1, -1), options));
  options = {.window = 3, .strides = 2, .padding = 1, .count_padding = true};
  check_ends(average_pool1d(x, options), {0.330346925569421, 0.5986657963812, -0.567503710319617, -0.369325728866609});
  CHECK(max_pool1d(x).shape() == Shape({1, 2, 3}));
  CHECK_THROWS_WITH_AS(max_pool1d(x, {.padding = "causal"}), Contains("no causal padding"), Error);
}

TEST_CASE("pools of volumes see windows of planes, rows and columns, and leave padding out of means or count it") {
  const Tensor x = sines({2, 2, 4, 5, 3}, 0.1);
  Pool3dOptions options{.window = {3, 2, 2}, .strides = {2, 1, 2}, .padding = {1, 0, {1, 0, 0, 1}}};
  const Tensor y = average_pool3d(x, options);
  CHECK(y.shape() == Shape({2, 2, 2, 5, 2}));
  check_ends(y, {0.295041557296061, -0.0604278192163848, -0.00375122212742711, -0.0243864417781519},
             {0.0104374239543724, 0.00375319300082761, -0.00997144451590241, -0.00536068182813596});
  check_ends(max_pool3d(x, options), {0.891207360061435, 0.863209366648874, 0.891207360061435, 0.949124553647895},
             {0.998682016618311, 0.927815748652288, 0.998682016618311, 0.983103502903942});
  options.channels_last = true;
  check_channels_last(y, average_pool3d(moveaxis(x, 1, -1), options));
  options.channels_last = false;
  options.count_padding = true;
  check_ends(average_pool3d(x, options), {0.0983471857653536, -0.0100713032027308, -0.00250081475161807},
             {0.0104374239543724, 0.00187659650041381, -0.00997144451590241, -0.00268034091406798});
  const Pool3dOptions same{.window = {3, 2, 2}, .padding = "same"};
  CHECK(max_pool3d(x, same).shape() == Shape({2, 2, 2, 3, 2}));
  check_ends(max_pool3d(x, same), {0.891207360061435, 0.949124553647895, 0.777794161801093, 0.969889810845086},
             {0.998682016618311, 0.927815748652288, 0.815202303825544, 0.332504869472909});
  check_ends(average_pool3d(x, same), {-0.00375122212742711, -0.0243864417781519, 0.00231867921831103},
             {-0.0120553527946082, 0.019288135530299, -0.210393040032205, -0.266691261651321});
  check_gradients([&](const Tensors& in) { return square(max_pool3d(in[0], options)); }, {x});
  check_gradients([&](const Tensors& in) { return square(average_pool3d(in[0], options)); }, {x});
}

TEST_CASE("N14: of a volume's ties the first in order takes the gradient, and NaN wins") {
  const Tensor x = variable(from_values(Values{0, 1, 3, 2, 3, 0, 1, 3}, {1, 1, 2, 2, 2}));
  const Tensor y = max_pool3d(x);
  CHECK(y.values<double>() == Values{3});
  CHECK(backward(sum(y))[x].values<double>() == Values{0, 0, 1, 0, 0, 0, 0, 0});
  const double nan = std::nan("");
  const Tensor z = variable(from_values(Values{0, 9, nan, 1}, {1, 1, 2, 1, 2}));
  const Tensor most = max_pool3d(z, {.window = {2, 1, 2}});
  CHECK(std::isnan(most.item<double>()));
  CHECK(backward(sum(most))[z].values<double>() == Values{0, 0, 1, 0});
}

TEST_CASE("pools of volumes refuse what does not fit") {
  CHECK_THROWS_WITH_AS(max_pool3d(ones({1, 2, 3, 4})), "max_pool3d(1, 2, 3, 4): x must have five axes", Error);
  CHECK_THROWS_WITH_AS(average_pool3d(input({2, kOpen, 4, 4})), Contains("all but the batch must be known"), Error);
  CHECK_THROWS_WITH_AS(max_pool3d(ones({1, 1, 4, 4, 4}), {.padding = {2, 0, Padding()}}),
                       Contains("more than half the window"), Error);
  CHECK(max_pool3d(input({2, 4, 4, 4})).shape() == Shape({kOpen, 2, 2, 2, 2}));
  CHECK(average_pool3d(ones({0, 2, 4, 4, 4})).shape() == Shape({0, 2, 2, 2, 2}));
}

TEST_CASE("pools of images take channels last") {
  const Tensor x = sines({2, 3, 5, 4}, 0.3), last = moveaxis(x, 1, -1), kernel = sines({2, 3, 2, 2}, 0.1);
  check_channels_last(max_pool2d(x, {.window = {3, 2}}), max_pool2d(last, {.window = {3, 2}, .channels_last = true}));
  check_channels_last(average_pool2d(x, {.strides = 1}), average_pool2d(last, {.strides = 1, .channels_last = true}));
  check_channels_last(conv2d(x, kernel), conv2d(last, kernel, {}, {.channels_last = true}));
}

TEST_CASE("kinds of convolution and pool are recorded on symbols whose batch is open, and run later") {
  const Tensor x = input({2, 6, 5}, "x", f64);
  const Tensor kernel = sines({2, 2, 2, 2}, 0.2), line = sines({4, 3, 2}, 0.1), cube = sines({1, 2, 2, 2, 2}, 0.5);
  const auto f = [&](const Tensor& images) {
    const Tensor up = conv2d_transpose(images, kernel, {}, {.strides = 2});
    const Tensor pooled = adaptive_max_pool2d(average_pool2d(up, {.padding = "same"}), {4, 3});
    const Tensor deep = conv3d(expand_dims(pooled, 2), cube, {}, {.padding = "same"});
    const Tensor front = conv3d(concat({deep, deep}, 1), cube, {}, {.padding = {1, 0, Padding()}});
    return conv1d(squeeze(squeeze(front, 2), 1), line);
  };
  const Tensor y = f(x);
  Model model(x, y);
  CHECK(y.shape() == Shape({kOpen, 4, 1}));
  const Tensor images = sines({3, 2, 6, 5}, 0.8);
  CHECK(model(images).values<double>() == f(images).values<double>());
}
