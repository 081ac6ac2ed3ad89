#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/dot/dot.h>
#include <twopass/graph/layers/convolutional.h>
#include <twopass/graph/layers/pooling.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "thread_counts.h"

using namespace twopass;
using doctest::Contains;

namespace {

using Doubles = std::vector<double>;

Tensor image(const Doubles& values, std::int64_t rows, std::int64_t columns) {
  return from_values(values, {1, 1, rows, columns}, f64);
}

// The definition, place by place; whole numbers keep every sum exact.
struct Case {
  std::int64_t n, c, h, w, filters, kh, kw;
  Conv2dOptions options;
};
Tensor whole_numbers(Random& random, const Shape& shape, DType dtype) {
  return cast(random.integers(shape, -3, 4), dtype);
}
Doubles by_definition(const Case& of, const Doubles& x, const Doubles& kernel, const Shape& y) {
  const auto& pad = of.options.padding.widths();
  const std::int64_t each = of.c / of.options.groups, per = of.filters / of.options.groups;
  Doubles out;
  for (std::int64_t n = 0; n < of.n; ++n)
    for (std::int64_t f = 0; f < of.filters; ++f)
      for (std::int64_t r = 0; r < y[2]; ++r)
        for (std::int64_t q = 0; q < y[3]; ++q) {
          double sum = 0;
          for (std::int64_t c = 0; c < each; ++c)
            for (std::int64_t i = 0; i < of.kh; ++i)
              for (std::int64_t j = 0; j < of.kw; ++j) {
                const std::int64_t row = r * of.options.strides.rows - pad[0] + i * of.options.dilation.rows,
                                   column = q * of.options.strides.columns - pad[2] + j * of.options.dilation.columns,
                                   channel = f / per * each + c;
                if (row < 0 || row >= of.h || column < 0 || column >= of.w) continue;
                sum += x[static_cast<std::size_t>(((n * of.c + channel) * of.h + row) * of.w + column)] *
                       kernel[static_cast<std::size_t>(((f * each + c) * of.kh + i) * of.kw + j)];
              }
          out.push_back(sum);
        }
  return out;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {2, 3, 7, 6, 4, 3, 3, {}},
      {1, 2, 9, 8, 3, 3, 3, {.padding = 1}},
      {2, 3, 8, 9, 5, 1, 1, {}},
      {2, 4, 6, 6, 6, 1, 1, {.groups = 2}},
      {1, 1, 5, 11, 2, 2, 5, {.strides = {1, 2}, .padding = {1, 0, 3, 2}}},
      {3, 4, 12, 10, 8, 3, 2, {.strides = 2, .padding = {0, 2, 1, 1}, .dilation = {2, 3}, .groups = 4}},
      {2, 6, 10, 9, 6, 3, 3, {.padding = 1, .groups = 6}},
      {1, 3, 6, 6, 2, 5, 5, {.strides = 3, .padding = 4}},
      {3, 16, 20, 20, 32, 3, 3, {.padding = 1}},
      {2, 32, 40, 33, 16, 3, 3, {.strides = {1, 2}, .padding = 1}},
      {20, 2, 4, 5, 3, 2, 2, {}},
  };
  return all;
}

}  // namespace

TEST_CASE("convolutions of every stride, padding, dilation and grouping are exact on whole numbers") {
  for (const DType dtype : {f32, f64})
    for (const Case& of : cases()) {
      Random random(3);
      const Tensor x = whole_numbers(random, {of.n, of.c, of.h, of.w}, dtype),
                   kernel = whole_numbers(random, {of.filters, of.c / of.options.groups, of.kh, of.kw}, dtype);
      const Tensor y = conv2d(x, kernel, {}, of.options);
      CAPTURE(x.shape().text());
      CAPTURE(kernel.shape().text());
      CHECK(y.values<double>() == by_definition(of, x.values<double>(), kernel.values<double>(), y.shape()));
    }
}

// Σ g (x * k) is linear in each of its three, so <g, x * k> = <dx, x> = <dk, k> exactly.
TEST_CASE("both gradients of a convolution are its adjoints, exactly on whole numbers") {
  for (const DType dtype : {f32, f64})
    for (const Case& of : cases()) {
      Random random(4);
      const Tensor x = variable(whole_numbers(random, {of.n, of.c, of.h, of.w}, dtype)),
                   kernel =
                       variable(whole_numbers(random, {of.filters, of.c / of.options.groups, of.kh, of.kw}, dtype));
      const Tensor y = conv2d(x, kernel, {}, of.options);
      const Tensor g = whole_numbers(random, y.shape(), dtype);
      const Gradients gradients = backward(sum(g * y));
      const auto inner = [](const Tensor& a, const Tensor& b) {
        return sum(cast(a, f64) * cast(b, f64)).item<double>();
      };
      CAPTURE(x.shape().text());
      CAPTURE(kernel.shape().text());
      CHECK(inner(gradients[x], x) == inner(g, y));
      CHECK(inner(gradients[kernel], kernel) == inner(g, y));
    }
}

TEST_CASE("padding \"same\" gives ceil(size / stride), with the odd row and column after") {
  // TensorFlow's rule: 5 columns at stride 2 under 3 are padded by one each side, 4 by one after.
  const Tensor kernel = image({1, 10, 100}, 1, 3);
  CHECK(conv2d(image({1, 2, 3, 4, 5}, 1, 5), kernel, {}, {.strides = 2, .padding = "same"}).values<double>() ==
        Doubles{210, 432, 54});
  CHECK(conv2d(image({1, 2, 3, 4}, 1, 4), kernel, {}, {.strides = 2, .padding = "same"}).values<double>() ==
        Doubles{321, 43});
  CHECK(conv2d(ones({2, 3, 7, 9}), ones({4, 3, 3, 2}), {}, {.strides = {2, 3}, .padding = "same"}).shape() ==
        Shape({2, 4, 4, 3}));
  CHECK(conv2d(image({1, 2, 3, 4}, 2, 2), image({1, 10, 100, 1000}, 2, 2), {}, {.padding = "same"}).values<double>() ==
        Doubles{4321, 402, 43, 4});
}

TEST_CASE("a convolution with bias and relu equals its parts bit for bit") {
  Random random(8);
  const Tensor x = random.normal({3, 5, 9, 7}), kernel = random.normal({6, 5, 3, 3}), bias = random.normal({6});
  const Tensor parts = conv2d(x, kernel) + reshape(bias, {6, 1, 1});
  CHECK(conv2d(x, kernel, bias).values<float>() == parts.values<float>());
  CHECK(conv2d(x, kernel, bias, {.activation = FusedActivation::relu}).values<float>() == relu(parts).values<float>());
}

TEST_CASE("convolutions and pools are bit-equal for any number of threads") {
  Random random(9);
  const Tensor x = variable(random.normal({20, 8, 24, 24})), kernel = variable(random.normal({16, 8, 3, 3}));
  check_equal_for_thread_counts([&] {
    const Tensor y = max_pool2d(conv2d(x, kernel, {}, {.padding = 1, .activation = FusedActivation::relu}));
    const Gradients g = backward(sum(square(y)));
    std::vector<float> all = y.values<float>();
    for (const Tensor& each : {g[x], g[kernel]}) {
      const auto values = each.values<float>();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  });
}

TEST_CASE("S8: an empty batch passes through convolution and pooling, and leaves gradients of exactly zero") {
  const Tensor x = variable(zeros({0, 3, 8, 8})), kernel = variable(ones({4, 3, 3, 3})), bias = variable(ones({4}));
  const Tensor y = max_pool2d(conv2d(x, kernel, bias, {.padding = "same", .activation = FusedActivation::relu}));
  CHECK(y.shape() == Shape({0, 4, 4, 4}));
  const Gradients g = backward(sum(y));
  CHECK(g[x].shape() == Shape({0, 3, 8, 8}));
  CHECK(g[kernel].values<double>() == Doubles(108, 0.0));
  CHECK(g[bias].values<double>() == Doubles(4, 0.0));
}

TEST_CASE("S18: kernels beyond the padded input, stride 0 and groups that do not divide are refused with the numbers") {
  const Tensor x = ones({1, 4, 5, 3}), kernel = ones({6, 4, 3, 4});
  CHECK_THROWS_WITH_AS(
      conv2d(x, kernel),
      "conv2d((1, 4, 5, 3), (6, 4, 3, 4)): the window reaches over 4 columns but the padded input has 3", Error);
  CHECK_THROWS_WITH_AS(conv2d(x, ones({6, 4, 3, 3}), {}, {.dilation = {3, 1}}),
                       Contains("the window reaches over 7 rows but the padded input has 5"), Error);
  CHECK_THROWS_WITH_AS(conv2d(x, kernel, {}, {.strides = 0}), Contains("the strides must be from 1 to 2^31"), Error);
  CHECK_THROWS_WITH_AS(conv2d(x, kernel, {}, {.groups = 3}), Contains("3 groups do not divide 4 channels"), Error);
  CHECK_THROWS_WITH_AS(conv2d(x, ones({6, 1, 3, 3}), {}, {.groups = 4}), Contains("4 groups do not divide 6 filters"),
                       Error);
  CHECK_THROWS_WITH_AS(conv2d(x, kernel, {}, {.groups = 0}), Contains("1 group or more, not 0"), Error);
  CHECK_THROWS_WITH_AS(conv2d(x, kernel, {}, {.padding = -1}), Contains("the padding must be from 0"), Error);
  CHECK_THROWS_WITH_AS(Padding("full"), Contains("there is no padding \"full\""), Error);
  // Just as large as the padded input is one place.
  CHECK(conv2d(x, kernel, {}, {.padding = {0, 0, 1, 0}}).shape() == Shape({1, 6, 3, 1}));
}

TEST_CASE("a Conv2D layer computes conv2d with Keras's first values, and refuses what is no image") {
  const Conv2D conv(6, {3, 2}, {.padding = "same", .activation = "relu"});
  const Tensor x = Random(2).normal({2, 4, 5, 5});
  const Tensor y = conv(x);
  CHECK(y.shape() == Shape({2, 6, 5, 5}));
  const auto parameters = conv.parameters();
  CHECK(parameters[0].value().shape() == Shape({6, 4, 3, 2}));
  CHECK(y.values<float>() ==
        conv2d(x, parameters[0], parameters[1], {.padding = "same", .activation = FusedActivation::relu})
            .values<float>());
  const float limit = 0.31622777f;  // sqrt(6 / (24 + 36))
  CHECK(max(abs(parameters[0].value())).item<float>() <= limit);
  CHECK(max(abs(parameters[0].value())).item<float>() > 0.9f * limit);
  CHECK_THROWS_WITH_AS(Conv2D(3, 2)(ones({2, 3})), Contains("Conv2D needs [n, channels, rows, columns]"), Error);
  CHECK_THROWS_WITH_AS(Conv2D(0, 2), Contains("filters must be"), Error);
  CHECK_THROWS_WITH_AS(Conv2D(2, 2, {.activation = "softmax"}), Contains("columns here, not channels"), Error);
  CHECK_THROWS_WITH_AS(Conv2D(2, 2, {.groups = 2})(ones({1, 3, 4, 4})), Contains("2 groups do not divide 3"), Error);
}

TEST_CASE("a model of convolutions and pools learns, and comes back from its file") {
  const Tensor image = input({1, 8, 8}, "image");
  Tensor x = Conv2D(8, 3, {.strides = 1, .padding = "same", .activation = "relu"})(image);
  x = MaxPooling2D()(x);
  x = Conv2D(8, {3, 2}, {.padding = {1, 1, 0, 1}, .groups = 2, .activation = "tanh"})(x);
  x = MaxPooling2D(2, {.strides = 1, .padding = "same"})(x);
  Model model(image, Dense(2, {.activation = "softmax"})(Flatten()(x)), {.seed = 5});
  CHECK(model.outputs()[0].shape() == Shape({kOpen, 2}));
  // 8 x 9 and 8 x (4 6) weights with 8 biases each, 8 x 4 x 4 and 8 x 3 x 4 pixels before and after the pools.
  CHECK(model.count_parameters() == 80 + 200 + 8 * 16 * 2 + 2);
  CHECK(model.summary_text().find("Conv2D") != std::string::npos);
  CHECK(to_dot(model).find("MaxPooling2D") != std::string::npos);
  // Horizontal and vertical bars.
  Random random(4);
  Tensor pictures = 0.3 * random.normal({64, 1, 8, 8});
  std::vector<double> bars(64 * 64), labels;
  for (std::size_t k = 0; k < 64; ++k) {
    labels.push_back(static_cast<double>(k % 2));
    for (std::size_t at = 0; at < 8; ++at) bars[k * 64 + (k % 2 ? at * 8 + k / 2 % 8 : k / 2 % 8 * 8 + at)] = 2;
  }
  pictures = pictures + from_values(bars, {64, 1, 8, 8}, f32);
  const Tensor targets = one_hot(from_values(labels, {64}, i64), 2);
  model.compile(
      {.optimizer = adam({.learning_rate = 0.01}), .loss = categorical_crossentropy(), .metrics = {accuracy()}});
  model.fit(pictures, targets, {.epochs = 15, .batch_size = 16, .verbose = 0});
  CHECK(model.evaluate(pictures, targets)["accuracy"] > 0.95);
  const std::string path =
      (std::filesystem::temp_directory_path() / ("twopass_convolution_" + std::to_string(getpid()))).string();
  model.save(path);
  Model loaded = load(path);
  std::filesystem::remove(path);
  CHECK(loaded.predict(pictures).values<float>() == model.predict(pictures).values<float>());
}
