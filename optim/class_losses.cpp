#include <fmt/format.h>

#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/ops/ctc.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>
#include <twopass/ops/sorting.h>
#include <twopass/optim/loss_parts.h>
#include <twopass/optim/losses.h>

namespace twopass {

using namespace losses;

namespace {

// Targets of 0 and 1 alone stand for -1 and 1: Keras's rule.
Tensor signs_of(const Tensor& t) {
  const Tensor binary = all(logical_or(equal(t, scalar_like(0, t)), equal(t, scalar_like(1, t))));
  return where(binary, t * 2.0 - 1.0, t);
}

Tensor margins(const Tensor& targets, const Tensor& p) { return relu(1.0 - signs_of(targets_like(targets, p)) * p); }

void check_gamma(const char* name, double gamma) {
  if (!(gamma >= 0) || std::isinf(gamma)) throw Error(fmt::format("{}: gamma is {}, not at least 0", name, gamma));
}

}  // namespace

Loss hinge() {
  return LossMaker::make("hinge", {},
                         [](const Tensor& targets, const Tensor& p) { return mean_of_last(margins(targets, p)); });
}

Loss squared_hinge() {
  return LossMaker::make("squared_hinge", {}, [](const Tensor& targets, const Tensor& p) {
    return mean_of_last(square(margins(targets, p)));
  });
}

Loss categorical_hinge() {
  return LossMaker::make("categorical_hinge", {}, [](const Tensor& targets, const Tensor& p) {
    check_vectors(p);
    const Tensor t = targets_like(targets, p);
    return relu(1.0 + max((1.0 - t) * p, -1) - sum(t * p, -1));
  });
}

Loss binary_focal_crossentropy(const BinaryFocalOptions& options) {
  check_smoothing(options.label_smoothing);
  check_gamma("binary_focal_crossentropy", options.gamma);
  return LossMaker::make(
      "binary_focal_crossentropy",
      {{"gamma", options.gamma},
       {"alpha", options.alpha},
       {"apply_class_balancing", options.apply_class_balancing},
       {"from_logits", options.from_logits},
       {"label_smoothing", options.label_smoothing}},
      [options](const Tensor& targets, const Tensor& predictions) {
        const double s = options.label_smoothing;
        const Tensor t = targets_like(targets, predictions) * (1 - s) + s / 2;
        const Tensor p = options.from_logits ? sigmoid(predictions)
                                             : clip(within(predictions, 0, 1, kLogitsAdvice), kEpsilon, 1 - kEpsilon);
        const Tensor entropy =
            options.from_logits ? sigmoid_cross_entropy(predictions, t) : neg(t * log(p) + (1.0 - t) * log(1.0 - p));
        const Tensor missed = 1.0 - (t * p + (1.0 - t) * (1.0 - p));
        const Tensor focal = pow(missed, options.gamma) * entropy;
        if (!options.apply_class_balancing) return mean_of_last(focal);
        return mean_of_last((t * options.alpha + (1.0 - t) * (1 - options.alpha)) * focal);
      });
}

Loss categorical_focal_crossentropy(const CategoricalFocalOptions& options) {
  check_smoothing(options.label_smoothing);
  check_gamma("categorical_focal_crossentropy", options.gamma);
  return LossMaker::make("categorical_focal_crossentropy",
                         {{"gamma", options.gamma},
                          {"alpha", options.alpha},
                          {"from_logits", options.from_logits},
                          {"label_smoothing", options.label_smoothing}},
                         [options](const Tensor& targets, const Tensor& predictions) {
                           check_classes(predictions);
                           const double s = options.label_smoothing;
                           const Tensor t = targets_like(targets, predictions) * (1 - s) +
                                            s / static_cast<double>(predictions.shape().back());
                           const Tensor p = probabilities(options.from_logits ? softmax(predictions) : predictions);
                           return sum(pow(1.0 - p, options.gamma) * t * log(p), -1) * -options.alpha;
                         });
}

Loss negative_log_likelihood() {
  return LossMaker::made({.name = "negative_log_likelihood",
                          .function =
                              [](const Tensor& targets, const Tensor& p) {
                                check_classes(p);
                                const Tensor labels = labels_for(targets, p);
                                return neg(squeeze(take_along_axis(p, expand_dims(labels, -1), -1), -1));
                              },
                          .labels = true});
}

Loss ctc() {
  return LossMaker::made({.name = "ctc",
                          .function =
                              [](const Tensor& targets, const Tensor& logits) {
                                if (logits.rank() != 3 || logits.shape()[1] == kOpen)
                                  throw Error(fmt::format(
                                      "logits have three axes, batch, steps and classes, whose steps are known, not {}",
                                      logits.shape().text()));
                                if (targets.dtype() != i64 || targets.rank() != 2)
                                  throw Error(fmt::format("labels are i64 [batch, most], not {} {}",
                                                          name_of(targets.dtype()), targets.shape().text()));
                                const Tensor counts = sum(cast(not_equal(targets, scalar_like(0, targets)), i64), 1);
                                const Tensor steps = counts * 0.0 + static_cast<double>(logits.shape()[1]);
                                return ctc_loss(logits, targets, steps, counts);
                              },
                          .labels = true});
}

Tensor triplet_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                    const TripletOptions& options) {
  if (anchor.rank() < 1 || !(anchor.shape() == positive.shape()) || !(anchor.shape() == negative.shape()))
    throw Error(fmt::format("triplet_loss: anchors {}, positives {} and negatives {} have one shape",
                            anchor.shape().text(), positive.shape().text(), negative.shape().text()));
  if (!(options.margin > 0)) throw Error(fmt::format("triplet_loss: the margin is {}, not positive", options.margin));
  return relu(norm(anchor - positive, options.p, -1) - norm(anchor - negative, options.p, -1) + options.margin);
}

}  // namespace twopass
