// What training reports: a number per sample, averaged over rows by whoever counts them.
#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/ops/arguments.h>

namespace twopass {

class Loss;

/// A metric: an immutable value, made by the functions below.
class Metric {
 public:
  using Function = std::function<Tensor(const Tensor& targets, const Tensor& predictions)>;

  /// A loss as a metric, under the loss's name: so `.metrics = {mean_absolute_error()}`.
  Metric(const Loss& loss);
  /// What metric_from has of this name: `.metrics = {"accuracy"}`.
  Metric(const char* name);
  Metric(const std::string& name);

  const std::string& name() const;
  const Attributes& attributes() const;
  /// Whether `metric_from` can make it again.
  bool saveable() const;
  /// [batch, ...] numbers whose mean is the metric; no derivative passes. Shapes are never broadcast.
  Tensor per_sample(const Tensor& targets, const Tensor& predictions) const;

 private:
  struct Body;
  friend struct MetricMaker;
  explicit Metric(std::shared_ptr<const Body> body) : body_(std::move(body)) {}
  std::shared_ptr<const Body> body_;
};

struct BinaryAccuracyOptions {
  /// Predictions above it (not at it) count as 1.
  double threshold = 0.5;
};

/// Binary where predictions have one column, sparse where targets are labels, else categorical: Keras's "accuracy". For
/// several labels at once name binary_accuracy().
Metric accuracy();
/// The part of the last axis where (p > threshold) is the target.
Metric binary_accuracy(const BinaryAccuracyOptions& options = {});
/// 1 where the largest prediction stands where the largest target does.
Metric categorical_accuracy();
/// 1 where the largest prediction stands at the label.
Metric sparse_categorical_accuracy();
/// The same as Metric(loss).
Metric metric(const Loss& loss);
/// A metric of your own: a function of targets and predictions that gives [batch, ...], or one number for the batch.
Metric metric(const std::string& name, Metric::Function function);
/// The metric that has this name, written as in loss_from, and these attributes; logs know "acc", "mae" and other short
/// names as they are given. Refuses others, listing those that there are.
Metric metric_from(const std::string& name, const Attributes& attributes = {});

/// Metrics for every output, or some per output name.
class MetricMap {
 public:
  using Named = std::vector<std::pair<std::string, std::vector<Metric>>>;

  MetricMap() = default;
  MetricMap(const Metric& single) : common_{single} {}
  MetricMap(const Loss& single) : common_{single} {}
  MetricMap(const char* single) : common_{Metric(single)} {}
  MetricMap(const std::string& single) : common_{Metric(single)} {}
  MetricMap(std::initializer_list<Metric> common) : common_(common) {}
  MetricMap(std::vector<Metric> common) : common_(std::move(common)) {}
  MetricMap(std::initializer_list<std::pair<std::string, std::vector<Metric>>> named) : named_(named) {}
  MetricMap(Named named) : named_(std::move(named)) {}
  bool empty() const { return common_.empty() && named_.empty(); }
  const std::vector<Metric>& common() const { return common_; }
  const Named& named() const { return named_; }

 private:
  std::vector<Metric> common_;
  Named named_;
};

}  // namespace twopass
