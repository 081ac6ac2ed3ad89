// What training makes small: a number per sample from targets and predictions, by Keras 3's formulas.
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

/// A loss: an immutable value, made by the functions below.
class Loss {
 public:
  using Function = std::function<Tensor(const Tensor& targets, const Tensor& predictions)>;

  /// What loss_from has of this name: `.loss = "mse"`.
  Loss(const char* name);
  Loss(const std::string& name);

  const std::string& name() const;
  const Attributes& attributes() const;
  /// Whether `loss_from` can make it again: losses of the user's own can't be saved.
  bool saveable() const;
  /// Whether targets are i64 labels, not values in the shape of the predictions.
  bool takes_labels() const;
  /// [batch, ...] and [batch, ..., k] give [batch, ...]; predictions [batch] give [batch]. Shapes are never broadcast:
  /// targets of another shape are refused.
  Tensor per_sample(const Tensor& targets, const Tensor& predictions) const;

 private:
  struct Body;
  friend struct LossMaker;
  explicit Loss(std::shared_ptr<const Body> body) : body_(std::move(body)) {}
  std::shared_ptr<const Body> body_;
};

struct CrossentropyOptions {
  /// Whether predictions are logits; else they are probabilities, held to [1e-7, 1 - 1e-7].
  bool from_logits = false;
  /// Targets become t (1 - s) + s / classes (binary: + s / 2).
  double label_smoothing = 0;
};
struct SparseCrossentropyOptions {
  bool from_logits = false;
};
struct HuberOptions {
  double delta = 1;
};

/// -Σ t log(p / Σ p) over the last axis, for one-hot (or soft) targets. Refuses labels and negative probabilities.
Loss categorical_crossentropy(const CrossentropyOptions& options = {});
/// The same for i64 labels [...] or [..., 1]. Refuses one-hot targets and labels out of range.
Loss sparse_categorical_crossentropy(const SparseCrossentropyOptions& options = {});
/// -mean(t log p + (1 - t) log(1 - p)) over the last axis. Refuses probabilities outside [0, 1].
Loss binary_crossentropy(const CrossentropyOptions& options = {});
/// mean((p - t)²) over the last axis.
Loss mean_squared_error();
/// mean(|p - t|) over the last axis.
Loss mean_absolute_error();
/// The mean over the last axis of e²/2 where |e| <= delta, else delta |e| - delta²/2, with e = p - t (Huber, 1964).
Loss huber(const HuberOptions& options = {});
/// A loss of your own: a function of targets and predictions that gives [batch, ...], or one number for the batch,
/// which sample weights cannot weigh; an epoch's loss is the mean of these over rows.
Loss loss(const std::string& name, Loss::Function function);
/// The loss that has this name and these attributes, the defaults where none are given. A name is that of a function
/// here ("mean_squared_error") or of a class of Keras ("MeanSquaredError"), as neither case nor _ counts, or short for
/// one: mse, mae, mape, msle, bce, kld. Refuses others, listing those that there are.
Loss loss_from(const std::string& name, const Attributes& attributes = {});

/// A loss, or one per output name.
class LossMap {
 public:
  using Named = std::vector<std::pair<std::string, Loss>>;

  LossMap() = default;
  LossMap(const Loss& single) : single_(std::make_shared<const Loss>(single)) {}
  LossMap(const char* single) : LossMap(Loss(single)) {}
  LossMap(const std::string& single) : LossMap(Loss(single)) {}
  LossMap(std::initializer_list<std::pair<std::string, Loss>> named) : named_(named) {}
  LossMap(Named named) : named_(std::move(named)) {}
  bool empty() const { return !single_ && named_.empty(); }
  /// The loss for every output; none where they have names.
  const Loss* single() const { return single_.get(); }
  const Named& named() const { return named_; }

 private:
  std::shared_ptr<const Loss> single_;
  Named named_;
};

}  // namespace twopass
