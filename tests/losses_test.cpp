// The losses of optim/losses.h. Means over the batch are those in the examples of Keras's documentation.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/softmax.h>
#include <twopass/optim/losses.h>

using namespace twopass;

namespace {

double mean_loss(const Loss& loss, const Tensor& t, const Tensor& p) {
  return mean(loss.per_sample(t, p)).item<double>();
}

const std::vector<Loss>& regressions() {
  static const std::vector<Loss> all{mean_absolute_percentage_error(),
                                     mean_squared_logarithmic_error(),
                                     log_cosh(),
                                     smooth_absolute_error(),
                                     cosine_similarity(),
                                     kl_divergence(),
                                     poisson(),
                                     hinge(),
                                     squared_hinge(),
                                     categorical_hinge()};
  return all;
}

}  // namespace

TEST_CASE("losses are the examples of Keras's documentation") {
  const Tensor t = tensor({{0.0, 1.0}, {0.0, 0.0}}, f64), p = tensor({{0.6, 0.4}, {0.4, 0.6}}, f64);
  const Tensor whole = tensor({{1.0, 1.0}, {0.0, 0.0}}, f64);
  CHECK(mean_loss(hinge(), t, p) == doctest::Approx(1.3));
  CHECK(mean_loss(squared_hinge(), t, p) == doctest::Approx(1.86));
  CHECK(mean_loss(categorical_hinge(), t, p) == doctest::Approx(1.4));
  CHECK(mean_loss(kl_divergence(), t, p) == doctest::Approx(0.458).epsilon(1e-3));
  CHECK(mean_loss(poisson(), t, whole) == doctest::Approx(0.5));
  CHECK(mean_loss(log_cosh(), t, whole) == doctest::Approx(0.108).epsilon(2e-3));
  CHECK(mean_loss(mean_squared_logarithmic_error(), t, tensor({{1.0, 1.0}, {1.0, 0.0}}, f64)) ==
        doctest::Approx(0.240).epsilon(1e-3));
  CHECK(mean_loss(mean_absolute_percentage_error(), tensor({{2.0, 1.0}, {2.0, 3.0}}, f64),
                  tensor({{1.0, 1.0}, {1.0, 0.0}}, f64)) == doctest::Approx(50));
  CHECK(mean_loss(cosine_similarity(), tensor({{0.0, 1.0}, {1.0, 1.0}}, f64), tensor({{1.0, 0.0}, {1.0, 1.0}}, f64)) ==
        doctest::Approx(-0.5));
  const Tensor truths = tensor({0.0, 1.0, 0.0, 0.0}, f64), logits = tensor({-18.6, 0.51, 2.94, -12.8}, f64);
  CHECK(mean_loss(binary_focal_crossentropy({.from_logits = true}), truths, logits) ==
        doctest::Approx(0.691).epsilon(1e-3));
  CHECK(mean_loss(binary_focal_crossentropy({.apply_class_balancing = true, .from_logits = true}), truths, logits) ==
        doctest::Approx(0.51).epsilon(2e-2));
  CHECK(mean_loss(categorical_focal_crossentropy(), tensor({{0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}}, f64),
                  tensor({{0.05, 0.95, 0.0}, {0.1, 0.8, 0.1}}, f64)) == doctest::Approx(0.23315276).epsilon(1e-6));
}

TEST_CASE("focal losses without focus are cross-entropies") {
  const Tensor t = tensor({{0.0, 1.0, 0.0}}, f64), z = tensor({{0.3, -1.2, 2.0}}, f64);
  CHECK(mean_loss(categorical_focal_crossentropy({.gamma = 0, .alpha = 1, .from_logits = true}), t, z) ==
        doctest::Approx(mean_loss(categorical_crossentropy({.from_logits = true}), t, z)));
  CHECK(mean_loss(binary_focal_crossentropy({.gamma = 0, .from_logits = true}), t, z) ==
        doctest::Approx(mean_loss(binary_crossentropy({.from_logits = true}), t, z)));
  CHECK(mean_loss(binary_focal_crossentropy({.from_logits = true, .label_smoothing = 0.1}), t, z) ==
        doctest::Approx(mean_loss(binary_focal_crossentropy({.label_smoothing = 0.1}), t, sigmoid(z))));
}

TEST_CASE("N31: absolute errors have slope 0 at 0, smoothed with beta 0 too, and both sides agree at beta") {
  const auto slope = [](const Loss& loss, double e) {
    const Tensor p = variable(tensor({{e}}, f64));
    return backward(sum(loss.per_sample(tensor({{0.0}}, f64), p)))[p].at<double>(0);
  };
  CHECK(slope(mean_absolute_error(), 0) == 0);
  CHECK(slope(smooth_absolute_error({.beta = 0}), 0) == 0);
  CHECK(slope(smooth_absolute_error({.beta = 0}), -2) == -1);
  for (const double e : {0.5 - 1e-9, 0.5, 0.5 + 1e-9}) {
    CHECK(mean_loss(smooth_absolute_error({.beta = 0.5}), tensor({{0.0}}, f64), tensor({{e}}, f64)) ==
          doctest::Approx(0.25).epsilon(1e-8));
    CHECK(slope(smooth_absolute_error({.beta = 0.5}), e) == doctest::Approx(1).epsilon(1e-8));
  }
  CHECK_THROWS_WITH_AS(smooth_absolute_error({.beta = -1}), doctest::Contains("beta is -1"), Error);
}

TEST_CASE("N30: the cosine loss of a prediction of 0 is 0 with a finite gradient") {
  const Tensor p = variable(tensor({{0.0, 0.0}}, f64));
  const Tensor y = sum(cosine_similarity().per_sample(tensor({{1.0, 2.0}}, f64), p));
  CHECK(y.item<double>() == 0);
  CHECK(std::isfinite(backward(y)[p].at<double>(0)));
}

TEST_CASE("log cosh does not overflow, divergences are finite where probabilities are 0") {
  CHECK(mean_loss(log_cosh(), tensor({{0.0}}, f64), tensor({{-1000.0}}, f64)) == doctest::Approx(1000 - std::log(2.0)));
  CHECK(std::isfinite(mean_loss(kl_divergence(), tensor({{1.0, 0.0}}, f64), tensor({{0.0, 1.0}}, f64))));
  CHECK(mean_loss(kl_divergence(), tensor({{0.5, 0.5}}, f64), tensor({{0.25, 0.75}}, f64)) ==
        doctest::Approx(0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3)));
}

TEST_CASE("the negative log-likelihood picks the label's column and is the cross-entropy of log_softmax") {
  const Tensor z = tensor({{0.3, -1.2, 2.0}, {1.0, 0.0, -1.0}}, f64), labels = tensor({2, 0});
  CHECK(negative_log_likelihood().takes_labels());
  CHECK(mean_loss(negative_log_likelihood(), labels, log_softmax(z)) ==
        doctest::Approx(mean_loss(sparse_categorical_crossentropy({.from_logits = true}), labels, z)));
  CHECK_THROWS_WITH_AS(negative_log_likelihood().per_sample(tensor({0, 3}), z), doctest::Contains("index 3"), Error);
}

TEST_CASE("triplets and Gaussian likelihoods by their formulas") {
  const Tensor anchor = variable(tensor({{0.0, 0.0}, {0.0, 0.0}}, f64));
  const Tensor near = tensor({{3.0, 4.0}, {0.0, 0.0}}, f64), far = tensor({{0.0, 1.0}, {6.0, 8.0}}, f64);
  const Tensor each = triplet_loss(anchor, near, far, {.margin = 2});
  CHECK(each.values<double>() == std::vector<double>{6, 0});
  CHECK(std::isfinite(backward(sum(triplet_loss(anchor, anchor, far, {.margin = 20})))[anchor].at<double>(0)));
  CHECK_THROWS_WITH_AS(triplet_loss(anchor, near, tensor({1.0})), doctest::Contains("have one shape"), Error);
  // (log 4 + 9 / 4) / 2
  const Tensor t = tensor({{1.0}}, f64), m = tensor({{4.0}}, f64), v = tensor({{4.0}}, f64);
  CHECK(gaussian_negative_log_likelihood(t, m, v).item<double>() == doctest::Approx(1.8181471805599454));
  CHECK(gaussian_negative_log_likelihood(t, m, v, {.full = true}).item<double>() ==
        doctest::Approx(1.8181471805599454 + 0.9189385332046727));
  CHECK(std::isfinite(gaussian_negative_log_likelihood(t, t, tensor({{0.0}}, f64)).item<double>()));
  CHECK_THROWS_WITH_AS(gaussian_negative_log_likelihood(t, m, neg(v)), doctest::Contains("at least 0"), Error);
}

TEST_CASE("losses are differentiated right to second order") {
  const Tensor t = tensor({{1.0, 0.0, 0.0}, {0.0, 0.0, 1.0}}, f64),
               p = tensor({{0.4, 0.35, 0.25}, {0.15, 0.5, 0.35}}, f64);
  std::vector<Loss> losses = regressions();
  losses.push_back(binary_focal_crossentropy({.apply_class_balancing = true, .label_smoothing = 0.1}));
  losses.push_back(categorical_focal_crossentropy({.from_logits = true}));
  for (const Loss& loss : losses) {
    if (loss.name() == "mean_absolute_percentage_error") continue;  // divided by 1e-7 where the target is 0
    const GradcheckReport report =
        gradcheck([&](const Tensors& in) { return loss.per_sample(t, in[0]); }, {p}, {.order = 2});
    INFO(loss.name(), "\n", report.text());
    CHECK(report.ok());
  }
}

TEST_CASE("losses are made again from names and attributes, and refuse what they cannot measure") {
  std::vector<Loss> losses = regressions();
  losses.push_back(binary_focal_crossentropy({.gamma = 3, .apply_class_balancing = true}));
  losses.push_back(categorical_focal_crossentropy({.gamma = 1, .alpha = 0.5}));
  losses.push_back(negative_log_likelihood());
  for (const Loss& loss : losses) {
    CHECK(loss.saveable());
    CHECK(loss_from(loss.name(), loss.attributes()).name() == loss.name());
    CHECK(loss_from(loss.name(), loss.attributes()).attributes() == loss.attributes());
  }
  CHECK_THROWS_WITH_AS(kl_divergence().per_sample(tensor({1.0}), tensor({1.0})), doctest::Contains("no axis beside"),
                       Error);
  CHECK_THROWS_WITH_AS(poisson().per_sample(tensor({{1.0}}), tensor({1.0})), doctest::Contains("poisson((1, 1), (1,))"),
                       Error);
  CHECK_THROWS_WITH_AS(binary_focal_crossentropy({.gamma = -1}), doctest::Contains("gamma is -1"), Error);
}
