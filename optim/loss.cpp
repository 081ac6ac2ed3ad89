#include <twopass/optim/loss.h>

#include <fmt/format.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/core/users_code.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>
#include <twopass/optim/loss_parts.h>

namespace twopass {

namespace losses {
namespace {

bool same_size(std::int64_t a, std::int64_t b) { return a == b || a == kOpen || b == kOpen; }

bool same_shape_or_open(const Shape& a, const Shape& b) {
  if (a.rank() != b.rank()) return false;
  for (int k = 0; k < a.rank(); ++k)
    if (!same_size(a[k], b[k])) return false;
  return true;
}

void check_predictions(const Tensor& predictions) {
  if (!is_floating(predictions.dtype()))
    throw Error(fmt::format("predictions are f32 or f64, not {}", name_of(predictions.dtype())));
  if (predictions.rank() == 0) throw Error("predictions have no batch axis");
}

}  // namespace

void check_vectors(const Tensor& predictions) {
  if (predictions.rank() < 2)
    throw Error(fmt::format("predictions of shape {} have no axis beside the batch", predictions.shape().text()));
}

std::string shape_advice(const Shape& targets, const Shape& wanted) {
  const auto column = [](const Shape& wide, const Shape& narrow) {
    return wide.rank() == narrow.rank() + 1 && wide.back() == 1 && same_shape_or_open(wide.without(-1), narrow);
  };
  if (column(wanted, targets)) return ": expand_dims(targets, -1) has the right one";
  if (column(targets, wanted)) return ": squeeze(targets, -1) has the right one";
  if (targets.rank() < 1 || wanted.rank() < 1 || !same_size(targets[0], wanted[0])) return "";
  const Shape given = targets.without(0), needed = wanted.without(0);
  if (given.open() || needed.open() || given.elements() != needed.elements()) return "";
  std::string sizes = "-1";
  for (const std::int64_t size : needed.sizes()) sizes += fmt::format(", {}", size);
  return fmt::format(": reshape(targets, {{{}}}) has the right one, if the order of the values is", sizes);
}

Tensor targets_like(const Tensor& targets, const Tensor& predictions) {
  if (!same_shape_or_open(targets.shape(), predictions.shape()))
    throw Error(fmt::format("targets have shape {} but predictions {}{}", targets.shape().text(),
                            predictions.shape().text(), shape_advice(targets.shape(), predictions.shape())));
  return targets.dtype() == predictions.dtype() ? targets : cast(targets, predictions.dtype());
}

Tensor mean_of_last(const Tensor& x) { return x.rank() > 1 ? mean(x, -1) : x; }

Tensor probabilities(const Tensor& predictions) {
  const Tensor p = within(predictions, 0, INFINITY, kLogitsAdvice);
  return clip(p / sum(p, -1, keep_axis), kEpsilon, 1 - kEpsilon);
}

void check_smoothing(double smoothing) {
  if (!(smoothing >= 0 && smoothing <= 1)) throw Error(fmt::format("label_smoothing is {}, not in [0, 1]", smoothing));
}

void check_classes(const Tensor& predictions) {
  if (predictions.rank() < 2 || predictions.shape().back() == 1)
    throw Error(fmt::format("predictions of shape {} have one class only: binary_crossentropy is the loss for those",
                            predictions.shape().text()));
}

Tensor labels_for(const Tensor& targets, const Tensor& predictions) {
  const Shape wanted = predictions.shape().without(-1);
  if (targets.dtype() != i64) {
    const char* one_hot = same_shape_or_open(targets.shape(), predictions.shape())
                              ? ": one-hot targets are for categorical_crossentropy"
                              : "";
    throw Error(fmt::format("labels are i64, not {} {}{}", name_of(targets.dtype()), targets.shape().text(), one_hot));
  }
  if (same_shape_or_open(targets.shape(), wanted)) return targets;
  if (targets.rank() == predictions.rank() && targets.shape().back() == 1 &&
      same_shape_or_open(targets.shape().without(-1), wanted))
    return squeeze(targets, -1);
  const char* one_hot = same_shape_or_open(targets.shape(), predictions.shape())
                            ? ": one-hot targets are for categorical_crossentropy"
                            : "";
  throw Error(fmt::format("labels have shape {} where predictions {} need {}{}{}", targets.shape().text(),
                          predictions.shape().text(), wanted.text(), one_hot,
                          *one_hot ? "" : shape_advice(targets.shape(), wanted)));
}

double number(const Attributes& attributes, const char* name, double otherwise) {
  for (const auto& [key, value] : attributes)
    if (key == name) return attribute::as_double(value, name);
  return otherwise;
}

bool truth(const Attributes& attributes, const char* name) {
  for (const auto& [key, value] : attributes)
    if (key == name) return attribute::as_bool(value, name);
  return false;
}

}  // namespace losses

using namespace losses;

Loss::Loss(const char* name) : Loss(std::string(name ? name : "")) {}
Loss::Loss(const std::string& name) : Loss(loss_from(name)) {}

const std::string& Loss::name() const { return body_->name; }
const Attributes& Loss::attributes() const { return body_->attributes; }
bool Loss::saveable() const { return !body_->own; }
bool Loss::takes_labels() const { return body_->labels; }

Tensor Loss::per_sample(const Tensor& targets, const Tensor& predictions) const {
  try {
    losses::check_predictions(predictions);
    Tensor each = users_code([&] { return body_->function(targets, predictions); });
    if (!each.defined()) throw Error(fmt::format("gives an undefined tensor: {}", kUndefined));
    return each;
  } catch (const Error& reason) {
    throw Error(
        fmt::format("{}({}, {}): {}", name(), targets.shape().text(), predictions.shape().text(), reason.what()),
        reason.cause());
  }
}

Loss categorical_crossentropy(const CrossentropyOptions& options) {
  check_smoothing(options.label_smoothing);
  return LossMaker::make(
      "categorical_crossentropy", {{"from_logits", options.from_logits}, {"label_smoothing", options.label_smoothing}},
      [options](const Tensor& targets, const Tensor& p) {
        check_classes(p);
        if (targets.rank() + 1 == p.rank() || targets.shape().back() == 1)
          throw Error("labels are for sparse_categorical_crossentropy; this takes one-hot targets");
        Tensor t = targets_like(targets, p);
        const double s = options.label_smoothing;
        if (s > 0) t = t * (1 - s) + s / static_cast<double>(p.shape().back());
        return options.from_logits ? softmax_cross_entropy(p, t) : -sum(t * log(probabilities(p)), -1);
      });
}

Loss sparse_categorical_crossentropy(const SparseCrossentropyOptions& options) {
  return LossMaker::made({.name = "sparse_categorical_crossentropy",
                          .attributes = {{"from_logits", options.from_logits}},
                          .function =
                              [options](const Tensor& targets, const Tensor& p) {
                                check_classes(p);
                                const Tensor labels = labels_for(targets, p);
                                if (options.from_logits) return sparse_softmax_cross_entropy(p, labels);
                                return -sum(one_hot(labels, p.shape().back(), p.dtype()) * log(probabilities(p)), -1);
                              },
                          .labels = true});
}

Loss binary_crossentropy(const CrossentropyOptions& options) {
  check_smoothing(options.label_smoothing);
  return LossMaker::make("binary_crossentropy",
                         {{"from_logits", options.from_logits}, {"label_smoothing", options.label_smoothing}},
                         [options](const Tensor& targets, const Tensor& predictions) {
                           Tensor t = targets_like(targets, predictions);
                           const double s = options.label_smoothing;
                           if (s > 0) t = t * (1 - s) + s / 2;
                           if (options.from_logits) return mean_of_last(sigmoid_cross_entropy(predictions, t));
                           const Tensor p = clip(within(predictions, 0, 1, kLogitsAdvice), kEpsilon, 1 - kEpsilon);
                           return mean_of_last(-(t * log(p) + (1.0 - t) * log(1.0 - p)));
                         });
}

Loss mean_squared_error() {
  return LossMaker::make("mean_squared_error", {}, [](const Tensor& targets, const Tensor& p) {
    return mean_of_last(square(p - targets_like(targets, p)));
  });
}

Loss mean_absolute_error() {
  return LossMaker::make("mean_absolute_error", {}, [](const Tensor& targets, const Tensor& p) {
    return mean_of_last(abs(p - targets_like(targets, p)));
  });
}

Loss huber(const HuberOptions& options) {
  if (!(options.delta > 0) || std::isinf(options.delta))
    throw Error(fmt::format("huber: delta is {}, not positive", options.delta));
  return LossMaker::make(
      "huber", {{"delta", options.delta}}, [delta = options.delta](const Tensor& targets, const Tensor& p) {
        const Tensor error = p - targets_like(targets, p);
        const Tensor size = abs(error);
        return mean_of_last(where(size <= delta, square(error) * 0.5, size * delta - 0.5 * delta * delta));
      });
}

Loss loss(const std::string& name, Loss::Function function) {
  if (name.empty() || !function) throw Error("a loss needs a name and a function");
  return LossMaker::made({.name = name, .function = std::move(function), .own = true});
}

}  // namespace twopass
