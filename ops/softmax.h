// Softmax and the cross-entropies that are stable only when fused with it.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// e^x / Σ e^x along an axis, shifted by the maximum; -inf has probability 0, and where all are -inf the result is NaN.
Tensor softmax(const Tensor& x, int axis = -1);
/// softmax(-x): the smallest has the largest probability.
Tensor softmin(const Tensor& x, int axis = -1);
/// x - logsumexp(x) along an axis.
Tensor log_softmax(const Tensor& x, int axis = -1);
/// -Σ targets log_softmax(logits) over the last axis: [..., C] and targets [..., C] give [...]. Per sample, not
/// averaged.
Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& targets);
/// The same for i64 labels [...] below C; refuses others, naming index and value.
Tensor sparse_softmax_cross_entropy(const Tensor& logits, const Tensor& labels);
/// max(x, 0) - x t + log(1 + e^-|x|) element by element: binary cross-entropy from logits x with targets t.
Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& targets);

}  // namespace twopass
