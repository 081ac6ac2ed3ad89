// Normalisations, attention, recurrent cells and interpolation. Numbers are NumPy's, from the formulas of the papers.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/attention.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/interpolation.h>
#include <twopass/ops/normalization.h>
#include <twopass/ops/recurrent.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

using namespace twopass;

namespace {

using Values = std::vector<double>;

// sin(first), sin(first + 1), …
Tensor sines(const Shape& shape, double first) {
  return reshape(sin(arange(0, static_cast<double>(shape.elements()), 1, f64) + first), shape);
}

void check_values(const Tensor& found, const Values& expected) {
  const Values values = found.values<double>();
  REQUIRE(values.size() >= expected.size());
  for (std::size_t k = 0; k < expected.size(); ++k) CHECK(values[k] == doctest::Approx(expected[k]).epsilon(1e-12));
}

void check_gradients(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs, int order = 2) {
  const GradcheckReport report = gradcheck(f, inputs, {.order = order});
  INFO(report.text());
  CHECK(report.ok());
}

}  // namespace

TEST_CASE("normalisations give what their papers say") {
  const Tensor x = sines({2, 3, 4}, 0.7);
  check_values(layer_norm(x), {0.461512046104405, 1.076210886009325, 0.077885475305584, -1.615608407419314});
  check_values(group_norm(x, 2), {0.775444987814914, 1.252470901868944, 0.696647101789062, -0.640452280712603});
  check_values(instance_norm(x), {0.694473733962731, 1.392159563630494, 0.723578209082053, -0.55180075998335});
  check_values(rms_norm(x), {0.944270004810363, 1.453544902424769, 0.626437320115603, -0.776613845344133});
  const BatchNorm batch = batch_norm(x);
  check_values(batch.output, {0.72553088051425, 1.281834908254224, 0.692449262989747, -0.590526697338683});
  check_values(batch.mean, {0.094084441276348, 0.074940597548149, -0.013103285959545, -0.089100068784933});
  check_values(batch.variance, {0.573941925041063, 0.51046181493836, 0.403652955578133, 0.556029403556771});
  check_values(batch_norm_with(x, batch.mean, batch.variance), batch.output.values<double>());
}

TEST_CASE("scales and offsets go with the channels, wherever their axis is") {
  const Tensor x = sines({2, 4, 3}, 0.7), scale = tensor({1.0, 2.0, 3.0, 4.0}, f64), offset = scale * 10.0;
  const Tensor last = transpose(x, {0, 2, 1});
  const auto same = [&](const Tensor& in_front, const Tensor& behind) {
    check_values(transpose(in_front, {0, 2, 1}), behind.values<double>());
  };
  same(batch_norm(x, scale, offset, {.axis = 1}).output, batch_norm(last, scale, offset).output);
  same(group_norm(x, 2, scale, offset, {.axis = 1}), group_norm(last, 2, scale, offset));
  same(instance_norm(x, scale, offset, {.axis = 1}), instance_norm(last, scale, offset));
  check_values(layer_norm(tensor({{1.0, 1.0}}, f64), tensor({2.0, 3.0}, f64), tensor({5.0, 7.0}, f64)), {5, 7});
}

TEST_CASE("N29: a constant row is normalised to 0 with a gradient of (s - mean s) / sqrt(epsilon)") {
  const Tensor x = variable(full({1, 4}, 0.1, f64)), s = tensor({{1.0, 2.0, 3.0, 6.0}}, f64);
  const Tensor y = layer_norm(x, {}, {}, 0.01);
  CHECK(y.values<double>() == Values{0, 0, 0, 0});
  check_values(backward(sum(y * s))[x], {-20, -10, 0, 30});
  const Tensor single = variable(full({1, 1}, 3, f64));
  CHECK(backward(sum(layer_norm(single)))[single].values<double>() == Values{0});
  CHECK(max(abs(layer_norm(full({1, 5}, 0.1, f32)))).item<double>() == 0);
}

TEST_CASE("N29: batch normalisation refuses one element a channel, which has no variance") {
  CHECK_THROWS_WITH_AS(batch_norm(zeros({1, 4})), doctest::Contains("one element a channel"), Error);
  CHECK(batch_norm(zeros({1, 2, 4})).output.shape() == Shape{1, 2, 4});
}

TEST_CASE("normalisations keep their digits far from 0") {
  const Tensor x = tensor({{10000.0, 10001.0, 10002.0}}, f32);
  const Values y = layer_norm(x, {}, {}, 1e-12).values<double>();
  CHECK(y[0] == doctest::Approx(-1.224744871).epsilon(1e-6));
  CHECK(y[1] == 0);
}

TEST_CASE("normalisations refuse what does not fit") {
  const Tensor x = zeros({2, 3, 4});
  CHECK_THROWS_WITH_AS(group_norm(x, 3), doctest::Contains("4 channels do not fall into 3 groups"), Error);
  CHECK_THROWS_WITH_AS(batch_norm(x, zeros({3})), doctest::Contains("4 channels do not go with"), Error);
  CHECK_THROWS_WITH_AS(batch_norm(x, {}, {}, {.axis = 0}), doctest::Contains("axis 0 is the batch"), Error);
  CHECK_THROWS_WITH_AS(layer_norm(x, zeros({3})), doctest::Contains("not that of its last axes"), Error);
  CHECK_THROWS_WITH_AS(instance_norm(zeros({2, 3})), doctest::Contains("no axes beside"), Error);
}

TEST_CASE("normalisations are differentiated right to second order, their scales and offsets too") {
  const Tensor x = sines({2, 2, 4}, 0.7), scale = sines({4}, 0.2), offset = sines({4}, 0.9);
  check_gradients([](const Tensors& in) { return layer_norm(in[0], in[1], in[2]); }, {x, scale, offset});
  check_gradients([](const Tensors& in) { return group_norm(in[0], 2, in[1], in[2]); }, {x, scale, offset});
  check_gradients([](const Tensors& in) { return instance_norm(in[0], in[1], in[2]); }, {x, scale, offset});
  check_gradients([](const Tensors& in) { return batch_norm(in[0], in[1], in[2]).output; }, {x, scale, offset});
  check_gradients([](const Tensors& in) { return rms_norm(in[0], in[1]); }, {x, scale});
}

TEST_CASE("attention gives the softmax-weighted values, causal or masked") {
  const Tensor q = sines({1, 2, 3}, 0.1), k = sines({1, 4, 3}, 0.2), v = sines({1, 4, 2}, 0.3);
  check_values(scaled_dot_product_attention(q, k, v),
               {-0.203616149290719, 0.11768494031424, 0.282559331031374, 0.300432191364923});
  const Values causal{0.29552020666134, 0.963558185417193, 0.679073397286194, 0.008218324257067};
  check_values(scaled_dot_product_attention(q, k, v, {.causal = true}), causal);
  const Tensor mask = tensor({{true, false, false, false}, {true, true, false, false}});
  check_values(scaled_dot_product_attention(q, k, v, {.mask = mask}), causal);
  check_gradients([](const Tensors& in) { return scaled_dot_product_attention(in[0], in[1], in[2], {.causal = true}); },
                  {q, k, v});
  CHECK_THROWS_WITH_AS(scaled_dot_product_attention(q, v, v), doctest::Contains("queries are 3 wide but keys 2"),
                       Error);
  CHECK_THROWS_WITH_AS(scaled_dot_product_attention(q, k, sines({1, 3, 2}, 0)),
                       doctest::Contains("4 keys but 3 values"), Error);
  CHECK_THROWS_WITH_AS(scaled_dot_product_attention(q, k, v, {.mask = zeros({2, 4})}),
                       doctest::Contains("mask must be bool"), Error);
}

TEST_CASE("a step of an LSTM and of a GRU, with Keras's gates") {
  const Tensor x = sines({2, 3}, 0.1), h = sines({2, 2}, 0.2), c = sines({2, 2}, 0.3);
  const Tensor kernel = sines({3, 8}, 0.4), recurrent = sines({2, 8}, 0.5), bias = sines({8}, 0.6);
  const LstmState state = lstm_cell(x, {h, c}, kernel, recurrent, bias);
  check_values(state.h, {-0.324810869264161, 0.382017383352244, -0.008487867180737, -0.694298732677915});
  check_values(state.c, {-0.401217035241889, 0.61058537571138, -0.016862470950145, -0.987292701963158});
  check_values(gru_cell(x, h, sines({3, 6}, 0.4), sines({2, 6}, 0.5), sines({2, 6}, 0.6)),
               {-0.084775221681529, 0.912439839193784, 0.519252667983379, 0.07909409294021});
  check_gradients(
      [](const Tensors& in) {
        const LstmState next = lstm_cell(in[0], {in[1], in[2]}, in[3], in[4], in[5]);
        return lstm_cell(in[0], next, in[3], in[4], in[5]).h;
      },
      {x, h, c, kernel, recurrent, bias}, 1);
  check_gradients([](const Tensors& in) { return gru_cell(in[0], in[1], in[2], in[3], in[4]); },
                  {x, h, sines({3, 6}, 0.4), sines({2, 6}, 0.5), sines({2, 6}, 0.6)}, 1);
  CHECK_THROWS_WITH_AS(lstm_cell(x, {h, c}, kernel, sines({2, 6}, 0)), doctest::Contains("(2, 8), not (2, 6)"), Error);
  CHECK_THROWS_WITH_AS(gru_cell(x, h, sines({3, 6}, 0), sines({2, 6}, 0), sines({6}, 0)),
                       doctest::Contains("(2, 6), not (6,)"), Error);
}

TEST_CASE("bilinear and nearest images are those of other frameworks") {
  // the examples of PyTorch's Upsample
  const Tensor x = reshape(tensor({1.0, 2.0, 3.0, 4.0}, f64), {1, 2, 2, 1});
  check_values(resize(x, {4, 4}), {1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4});
  check_values(resize(x, {4, 4}, {.align_corners = true}), {1, 4.0 / 3, 5.0 / 3, 2, 5.0 / 3, 2, 7.0 / 3, 8.0 / 3,
                                                            7.0 / 3, 8.0 / 3, 3, 10.0 / 3, 3, 10.0 / 3, 11.0 / 3, 4});
  check_values(resize(x, {4, 4}, {.interpolation = Interpolation::nearest}),
               {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4});
  const Tensor line = tensor({0.0, 1.0, 2.0, 3.0, 4.0, 5.0}, f64);
  check_values(resize(line, {3}, {.axes = {0}}), {0.5, 2.5, 4.5});
  check_values(resize(line, {3}, {.axes = {0}, .interpolation = Interpolation::nearest}), {1, 3, 5});
  CHECK_THROWS_WITH_AS(resize(x, {0, 2}), doctest::Contains("2 elements can't become 0"), Error);
  CHECK_THROWS_WITH_AS(resize(x, {2}), doctest::Contains("1 sizes for 2 axes"), Error);
  check_gradients([](const Tensors& in) { return square(resize(in[0], {3, 5})); }, {x});
}
