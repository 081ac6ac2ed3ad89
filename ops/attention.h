// Attention (Vaswani et al., 2017).
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

struct AttentionOptions {
  /// bool, broadcast to [..., queries, keys]: whether a query may look at a key. Undefined: at all.
  Tensor mask = {};
  /// Whether a query may look at keys up to its own place only.
  bool causal = false;
  /// What scores are multiplied by; 0 stands for 1 / sqrt(width).
  double scale = 0;
};
/// softmax(scale q kᵀ) v for q [..., queries, width], k [..., keys, width] and v [..., keys, values]. A query that may
/// look at nothing gets NaN.
Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options = {});

}  // namespace twopass
