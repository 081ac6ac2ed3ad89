#include <twopass/optim/metric.h>

#include <fmt/format.h>

#include <cctype>
#include <cmath>

#include <twopass/core/error.h>
#include <twopass/core/users_code.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/optim/loss_parts.h>

namespace twopass {

struct Metric::Body {
  std::string name;
  Attributes attributes;
  Function function;
  bool own;
};

struct MetricMaker {
  static Metric make(std::string name, Attributes attributes, Metric::Function function, bool own = false) {
    return Metric(std::make_shared<const Metric::Body>(
        Metric::Body{std::move(name), std::move(attributes), std::move(function), own}));
  }
  static Metric renamed(const Metric& metric, std::string name) {
    Metric::Body body = *metric.body_;
    body.name = std::move(name);
    return Metric(std::make_shared<const Metric::Body>(std::move(body)));
  }
};

namespace {

void check_same(const Tensor& targets, const Tensor& predictions) {
  if (targets.shape() != predictions.shape())
    throw Error(fmt::format("targets have shape {} but predictions {}{}", targets.shape().text(),
                            predictions.shape().text(), losses::shape_advice(targets.shape(), predictions.shape())));
}

Tensor binary(const Tensor& targets, const Tensor& p, double threshold) {
  check_same(targets, p);
  const Tensor same = cast(equal(cast(targets, f32), cast(p > threshold, f32)), f32);
  return same.rank() > 1 ? mean(same, -1) : same;
}

void check_classes(const Tensor& p) {
  if (p.rank() < 2) throw Error("predictions have no axis of classes beside the batch");
}

Tensor categorical(const Tensor& targets, const Tensor& p) {
  check_classes(p);
  check_same(targets, p);
  return cast(equal(argmax(targets, -1), argmax(p, -1)), f32);
}

Tensor sparse(const Tensor& targets, const Tensor& p) {
  check_classes(p);
  if (targets.dtype() != i64) throw Error(fmt::format("labels are i64, not {}", name_of(targets.dtype())));
  const bool column = targets.rank() == p.rank() && targets.shape().back() == 1;
  const Tensor labels = column ? squeeze(targets, -1) : targets;
  if (labels.shape() != p.shape().without(-1))
    throw Error(fmt::format("labels have shape {} where predictions {} need {}", targets.shape().text(),
                            p.shape().text(), p.shape().without(-1).text()));
  return cast(equal(labels, argmax(p, -1)), f32);
}

// Under a short name, where it was asked for by that, as Keras logs it.
Metric called(const Metric& metric, const std::string& name) {
  if (name.size() > 4 || name.size() >= metric.name().size()) return metric;
  std::string plain = name;
  for (char& c : plain) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return MetricMaker::renamed(metric, plain);
}

}  // namespace

Metric::Metric(const Loss& loss) : Metric(metric(loss)) {}
Metric::Metric(const char* name) : Metric(std::string(name ? name : "")) {}
Metric::Metric(const std::string& name) : Metric(metric_from(name)) {}

const std::string& Metric::name() const { return body_->name; }
const Attributes& Metric::attributes() const { return body_->attributes; }
bool Metric::saveable() const { return !body_->own; }

Tensor Metric::per_sample(const Tensor& targets, const Tensor& predictions) const {
  try {
    if (predictions.rank() == 0) throw Error("predictions have no batch axis");
    Tensor each = no_record([&] { return users_code([&] { return body_->function(targets, predictions); }); });
    if (!each.defined()) throw Error(fmt::format("gives an undefined tensor: {}", kUndefined));
    return each;
  } catch (const Error& reason) {
    throw Error(
        fmt::format("{}({}, {}): {}", name(), targets.shape().text(), predictions.shape().text(), reason.what()),
        reason.cause());
  }
}

Metric accuracy() {
  return MetricMaker::make("accuracy", {}, [](const Tensor& targets, const Tensor& p) {
    if (p.rank() == 1 || p.shape().back() == 1) return binary(targets, p, 0.5);
    if (targets.rank() < p.rank() || targets.shape().back() == 1) return sparse(targets, p);
    return categorical(targets, p);
  });
}

Metric binary_accuracy(const BinaryAccuracyOptions& options) {
  if (!std::isfinite(options.threshold))
    throw Error(fmt::format("binary_accuracy: the threshold is {}: it must be finite", options.threshold));
  return MetricMaker::make(
      "binary_accuracy", {{"threshold", options.threshold}},
      [at = options.threshold](const Tensor& targets, const Tensor& p) { return binary(targets, p, at); });
}

Metric categorical_accuracy() { return MetricMaker::make("categorical_accuracy", {}, categorical); }
Metric sparse_categorical_accuracy() { return MetricMaker::make("sparse_categorical_accuracy", {}, sparse); }

Metric metric(const Loss& loss) {
  return MetricMaker::make(
      loss.name(), loss.attributes(),
      [loss](const Tensor& targets, const Tensor& p) { return loss.per_sample(targets, p); }, !loss.saveable());
}

Metric metric(const std::string& name, Metric::Function function) {
  if (name.empty() || !function) throw Error("a metric needs a name and a function");
  return MetricMaker::make(name, {}, std::move(function), true);
}

Metric metric_from(const std::string& name, const Attributes& attributes) {
  const std::string full =
      losses::full_name(name, {"accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"});
  if (full == "accuracy") return called(accuracy(), name);
  if (full == "binary_accuracy")
    return binary_accuracy(
        {attributes.empty() ? 0.5 : attribute::as_double(attribute::named(attributes, "threshold"), "threshold")});
  if (full == "categorical_accuracy") return categorical_accuracy();
  if (full == "sparse_categorical_accuracy") return sparse_categorical_accuracy();
  try {
    return called(metric(loss_from(name, attributes)), name);
  } catch (const Error& reason) {
    throw Error(
        fmt::format("there is no metric \"{}\": there are accuracy, binary_accuracy, categorical_accuracy, "
                    "sparse_categorical_accuracy and the losses; {}",
                    name, reason.what()));
  }
}

}  // namespace twopass
