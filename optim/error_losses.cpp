#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numbers>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/special.h>
#include <twopass/optim/loss_parts.h>
#include <twopass/optim/losses.h>

namespace twopass {

using namespace losses;

namespace {

Tensor at_least(const Tensor& x, double least) { return clip(x, least, std::numeric_limits<double>::infinity()); }

}  // namespace

Loss mean_absolute_percentage_error() {
  return LossMaker::make("mean_absolute_percentage_error", {}, [](const Tensor& targets, const Tensor& p) {
    const Tensor t = targets_like(targets, p);
    return mean_of_last(abs(t - p) / at_least(abs(t), kEpsilon)) * 100.0;
  });
}

Loss mean_squared_logarithmic_error() {
  return LossMaker::make("mean_squared_logarithmic_error", {}, [](const Tensor& targets, const Tensor& p) {
    const Tensor t = targets_like(targets, p);
    return mean_of_last(square(log1p(at_least(p, kEpsilon)) - log1p(at_least(t, kEpsilon))));
  });
}

// log cosh e = e + log(1 + e^(-2e)) - log 2
Loss log_cosh() {
  return LossMaker::make("log_cosh", {}, [](const Tensor& targets, const Tensor& p) {
    const Tensor error = p - targets_like(targets, p);
    return mean_of_last(error + softplus(error * -2.0) - std::numbers::ln2);
  });
}

Loss smooth_absolute_error(const SmoothOptions& options) {
  if (!(options.beta >= 0) || std::isinf(options.beta))
    throw Error(fmt::format("smooth_absolute_error: beta is {}, not at least 0", options.beta));
  return LossMaker::make("smooth_absolute_error", {{"beta", options.beta}},
                         [beta = options.beta](const Tensor& targets, const Tensor& p) {
                           const Tensor error = p - targets_like(targets, p), size = abs(error);
                           if (beta == 0) return mean_of_last(size);
                           return mean_of_last(where(size < beta, square(error) / (2 * beta), size - beta / 2));
                         });
}

Loss cosine_similarity() {
  return LossMaker::make("cosine_similarity", {}, [](const Tensor& targets, const Tensor& p) {
    check_vectors(p);
    return neg(cosine_similarity(targets_like(targets, p), p, -1));
  });
}

Loss kl_divergence() {
  return LossMaker::make("kl_divergence", {}, [](const Tensor& targets, const Tensor& predictions) {
    check_vectors(predictions);
    const Tensor t = clip(targets_like(targets, predictions), kEpsilon, 1), p = clip(predictions, kEpsilon, 1);
    return sum(t * log(t / p), -1);
  });
}

Loss poisson() {
  return LossMaker::make("poisson", {}, [](const Tensor& targets, const Tensor& p) {
    return mean_of_last(p - targets_like(targets, p) * log(p + kEpsilon));
  });
}

Tensor gaussian_negative_log_likelihood(const Tensor& targets, const Tensor& means, const Tensor& variances,
                                        const GaussianOptions& options) {
  const char* const name = "gaussian_negative_log_likelihood";
  if (!(options.epsilon > 0)) throw Error(fmt::format("{}: epsilon is {}, not positive", name, options.epsilon));
  if (!(means.shape() == targets.shape()) || !(means.shape() == variances.shape()))
    throw Error(fmt::format("{}: targets {}, means {} and variances {} have one shape", name, targets.shape().text(),
                            means.shape().text(), variances.shape().text()));
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor v = at_least(within(variances, 0, infinity, "variances are at least 0"), options.epsilon);
  const Tensor each = (log(v) + square(targets - means) / v) * 0.5;
  return mean_of_last(options.full ? each + 0.5 * std::log(2 * std::numbers::pi) : each);
}

}  // namespace twopass
