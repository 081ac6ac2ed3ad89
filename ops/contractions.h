// Products over chosen axes, by way of matmul.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// Σ a b of two vectors.
Tensor dot(const Tensor& a, const Tensor& b);
/// y[i, j] = a[i] b[j] of two vectors.
Tensor outer(const Tensor& a, const Tensor& b);
/// Σ over the axes of a and those of b, pair by pair; the other axes of a come first, then those of b.
Tensor tensordot(const Tensor& a, const Tensor& b, const std::vector<std::int64_t>& axes_a,
                 const std::vector<std::int64_t>& axes_b);
/// The same over the last `count` axes of a and the first of b.
Tensor tensordot(const Tensor& a, const Tensor& b, int count);

/// y_o = Σ a_i kernel_oij b_j + bias_o over the last axes of a [..., i] and b [..., j]; kernel [o, i, j], bias [o] or
/// undefined: [..., o].
Tensor bilinear(const Tensor& a, const Tensor& b, const Tensor& kernel, const Tensor& bias = {});

/// Einstein's summation, "bij,bjk->bik": a letter is an axis, axes of one letter are multiplied together and summed
/// where the output has no such letter. As in NumPy a letter may stand twice in one input (its diagonal), "..." stands
/// for leading axes, and without "->" the output has the letters that occur once, in alphabetical order. Sizes are not
/// broadcast. Inputs are multiplied from left to right.
Tensor einsum(std::string_view equation, const Tensors& inputs);

}  // namespace twopass
