#include <doctest/doctest.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/softmax.h>
#include <twopass/optim/loss.h>

using namespace twopass;

TEST_CASE("categorical cross-entropy is the example of Keras's documentation") {
  const Tensor t = tensor({{0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}}, f64),
               p = tensor({{0.05, 0.95, 0.0}, {0.1, 0.8, 0.1}}, f64);
  const Tensor each = categorical_crossentropy().per_sample(t, p);
  CHECK(each.at<double>(0) == doctest::Approx(-std::log(0.95)));
  CHECK(each.at<double>(1) == doctest::Approx(-std::log(0.1)));
  CHECK(sparse_categorical_crossentropy().per_sample(tensor({1, 2}), p).at<double>(1) ==
        doctest::Approx(-std::log(0.1)));
}

TEST_CASE("F15: targets (n, 1) are not broadcast against predictions (n,)") {
  CHECK_THROWS_AS(mean_squared_error().per_sample(tensor({{1.0}, {2.0}}), tensor({1.0, 2.0})), Error);
}

TEST_CASE("F16: one-hot targets and labels are not taken for each other") {
  const Tensor p = tensor({{0.5, 0.5}, {0.2, 0.8}});
  CHECK_THROWS_AS(sparse_categorical_crossentropy().per_sample(p, p), Error);
  CHECK_THROWS_AS(categorical_crossentropy().per_sample(tensor({0, 1}), p), Error);
}

TEST_CASE("N22: probabilities of exactly 0 and 1 give a finite loss, 1.5 is refused") {
  CHECK(std::isfinite(binary_crossentropy().per_sample(tensor({{1.0, 0.0}}), tensor({{0.0, 1.0}})).at<double>(0)));
  for (const DType dtype : {f32, f64})
    for (const double t : {0.0, 0.5, 1.0})
      for (const double at : {0.0, 1.0}) {
        const Tensor p = variable(tensor({{at}}, dtype));
        CHECK(std::isfinite(backward(sum(binary_crossentropy().per_sample(tensor({{t}}, dtype), p)))[p].at<double>(0)));
      }
  CHECK_THROWS_AS(binary_crossentropy().per_sample(tensor({{1.0}}), tensor({{1.5}})), Error);
}

TEST_CASE("squared, absolute and Huber's errors are means over the last axis") {
  const Tensor t = tensor({{0.0, 0.0}}, f64), p = tensor({{0.5, -3.0}}, f64);
  CHECK(mean_squared_error().per_sample(t, p).at<double>(0) == 4.625);
  CHECK(mean_absolute_error().per_sample(t, p).at<double>(0) == 1.75);
  CHECK(huber().per_sample(t, p).at<double>(0) == (0.125 + 2.5) / 2);              // e²/2; |e| - 1/2
  CHECK(huber({.delta = 2}).per_sample(t, p).at<double>(0) == (0.125 + 4.0) / 2);  // 2 · 3 - 2
}

TEST_CASE("N31: at delta both sides of Huber's loss agree, in value and slope") {
  for (const double e : {2.0 - 1e-9, 2.0, 2.0 + 1e-9}) {
    const Tensor p = variable(tensor({{e}}, f64));
    const Tensor y = sum(huber({.delta = 2}).per_sample(tensor({{0.0}}, f64), p));
    CHECK(y.item<double>() == doctest::Approx(2).epsilon(1e-8));
    CHECK(backward(y)[p].at<double>(0) == doctest::Approx(2).epsilon(1e-8));
  }
}

TEST_CASE("from logits and from probabilities the cross-entropies agree") {
  const Tensor z = tensor({{0.3, -1.2, 2.0}, {1.0, 0.0, -1.0}}, f64),
               t = tensor({{0.0, 1.0, 0.0}, {0.5, 0.5, 0.0}}, f64);
  const auto close = [](const Tensor& a, const Tensor& b) {
    for (int k = 0; k < 2; ++k) CHECK(a.at<double>(k) == doctest::Approx(b.at<double>(k)).epsilon(1e-9));
  };
  close(categorical_crossentropy({.from_logits = true}).per_sample(t, z),
        categorical_crossentropy().per_sample(t, softmax(z)));
  close(binary_crossentropy({.from_logits = true}).per_sample(t, z), binary_crossentropy().per_sample(t, sigmoid(z)));
  const Tensor labels = tensor({1, 0});
  close(sparse_categorical_crossentropy({.from_logits = true}).per_sample(labels, z),
        sparse_categorical_crossentropy().per_sample(labels, softmax(z)));
}

TEST_CASE("binary cross-entropy is the example of Keras's documentation") {
  // y_true [[0, 1], [0, 0]], y_pred [[0.6, 0.4], [0.4, 0.6]]: 0.916, 0.714
  const Tensor each =
      binary_crossentropy().per_sample(tensor({{0.0, 1.0}, {0.0, 0.0}}, f64), tensor({{0.6, 0.4}, {0.4, 0.6}}, f64));
  CHECK(each.at<double>(0) == doctest::Approx(0.91629073));
  CHECK(each.at<double>(1) == doctest::Approx(0.71355818));
}

TEST_CASE("label smoothing makes targets t (1 - s) + s / classes") {
  const Tensor t = tensor({{0.0, 1.0}}, f64), p = tensor({{0.25, 0.75}}, f64);
  const double expected = -(0.1 * std::log(0.25) + 0.9 * std::log(0.75));
  CHECK(categorical_crossentropy({.label_smoothing = 0.2}).per_sample(t, p).at<double>(0) == doctest::Approx(expected));
  // binary: 0 becomes 0.1 and 1 becomes 0.9, for each of both columns
  CHECK(binary_crossentropy({.label_smoothing = 0.2}).per_sample(t, p).at<double>(0) == doctest::Approx(expected));
  CHECK_THROWS_AS(categorical_crossentropy({.label_smoothing = 1.5}), Error);
}

TEST_CASE("probabilities are divided by their sum before their logarithm is taken") {
  CHECK(categorical_crossentropy().per_sample(tensor({{0.0, 1.0}}, f64), tensor({{1.0, 3.0}}, f64)).at<double>(0) ==
        doctest::Approx(-std::log(0.75)));
}

TEST_CASE("logits given for probabilities are refused with advice") {
  CHECK_THROWS_WITH_AS(categorical_crossentropy().per_sample(tensor({{0.0, 1.0}}), tensor({{-1.0, 3.0}})),
                       doctest::Contains("from_logits"), Error);
}

TEST_CASE("a loss is made again from its name and attributes, and a function can be one") {
  const Loss of = huber({.delta = 3});
  CHECK(loss_from(of.name(), of.attributes()).attributes() == of.attributes());
  CHECK_THROWS_WITH_AS(loss_from("mse2"), doctest::Contains("\"mse2\""), Error);
  const Loss own = loss("cube", [](const Tensor& t, const Tensor& p) { return sum(pow(p - t, 3.0), -1); });
  CHECK(own.per_sample(tensor({{0.0}}), tensor({{2.0}})).at<float>(0) == 8);
  CHECK_FALSE(own.saveable());
}
