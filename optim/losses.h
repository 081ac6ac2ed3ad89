// Losses beyond those of loss.h: relative and logarithmic errors, divergences, margins, likelihoods. Keras 3's formulas
// where it has them, PyTorch's elsewhere.
#pragma once
#include <twopass/core/tensor.h>
#include <twopass/optim/loss.h>

namespace twopass {

/// 100 mean(|t - p| / max(|t|, 1e-7)) over the last axis.
Loss mean_absolute_percentage_error();
/// mean((log(1 + max(p, 1e-7)) - log(1 + max(t, 1e-7)))²) over the last axis.
Loss mean_squared_logarithmic_error();
/// mean(log(cosh(p - t))) over the last axis, without overflow.
Loss log_cosh();
struct SmoothOptions {
  double beta = 1;
};
/// The mean over the last axis of e² / (2 beta) where |e| < beta, else |e| - beta / 2 (PyTorch's smooth L1); beta 0 is
/// |e|.
Loss smooth_absolute_error(const SmoothOptions& options = {});
/// -Σ t p / (|t| |p|) over the last axis: from -1, the same direction, to 1; 0 where t or p is 0.
Loss cosine_similarity();

/// Σ t log(t / p) over the last axis, both held to [1e-7, 1] (Kullback and Leibler, 1951).
Loss kl_divergence();
/// mean(p - t log(p + 1e-7)) over the last axis.
Loss poisson();

/// mean(max(1 - t p, 0)) over the last axis, and its square; targets are -1 and 1, or 0 and 1, which are made so.
Loss hinge();
Loss squared_hinge();
/// max(1 + max((1 - t) p) - Σ t p, 0) over the last axis, for one-hot targets.
Loss categorical_hinge();

struct BinaryFocalOptions {
  double gamma = 2;
  /// The weight of class 1, 1 - alpha that of class 0, where classes are balanced.
  double alpha = 0.25;
  bool apply_class_balancing = false;
  bool from_logits = false;
  double label_smoothing = 0;
};
/// mean((1 - q)^gamma crossentropy) over the last axis, q the probability of the target's class (Lin et al., 2018).
Loss binary_focal_crossentropy(const BinaryFocalOptions& options = {});
struct CategoricalFocalOptions {
  double gamma = 2;
  double alpha = 0.25;
  bool from_logits = false;
  double label_smoothing = 0;
};
/// Σ alpha (1 - p)^gamma (-t log p) over the last axis.
Loss categorical_focal_crossentropy(const CategoricalFocalOptions& options = {});

/// -p[label] for log-probabilities p [..., classes] and i64 labels [...] or [..., 1].
Loss negative_log_likelihood();

/// Connectionist temporal classification (ops/ctc.h) of logits [batch, steps, classes] and i64 labels [batch, most], as
/// Keras has it: class 0 is the blank, and fills what a row of labels leaves.
Loss ctc();

struct TripletOptions {
  double margin = 1;
  /// The p of the norm.
  double p = 2;
};
/// max(|anchor - positive| - |anchor - negative| + margin, 0) over the last axis: [batch, width] gives [batch]
/// (PyTorch's triplet margin loss).
Tensor triplet_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                    const TripletOptions& options = {});
struct GaussianOptions {
  /// Whether log(2π) / 2 is counted.
  bool full = false;
  /// Variances below count as this.
  double epsilon = 1e-6;
};
/// The mean over the last axis of (log v + (t - m)² / v) / 2 for means m and variances v (PyTorch's Gaussian NLL).
/// Refuses negative variances.
Tensor gaussian_negative_log_likelihood(const Tensor& targets, const Tensor& means, const Tensor& variances,
                                        const GaussianOptions& options = {});

}  // namespace twopass
