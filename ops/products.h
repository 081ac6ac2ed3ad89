// Products of matrices.
#pragma once
#include <string>

#include <twopass/core/tensor.h>

namespace twopass {

struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
};
/// The product over the last two axes, [..., m, k] by [..., k, n], leading axes broadcast; vectors of one axis count as
/// a row on the left and a column on the right, and lose that axis. Flags transpose without moving memory.
Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options = {});

/// c + scale a b in one sweep, the product as above and c of its shape; scale is one number, or undefined: 1.
Tensor multiply_add(const Tensor& c, const Tensor& a, const Tensor& b, const Tensor& scale = {},
                    MatmulOptions options = {});

/// Activations that affine computes in the same sweep.
enum class FusedActivation : std::uint8_t { linear, relu, sigmoid, tanh };
/// activation(x w + b) for x [..., k], w [k, n], b [n] (or undefined: none): one product and one sweep.
Tensor affine(const Tensor& x, const Tensor& w, const Tensor& b, FusedActivation activation = FusedActivation::linear);

}  // namespace twopass
