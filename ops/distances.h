// Distances of vectors.
#pragma once
#include <twopass/core/tensor.h>
#include <twopass/ops/norm.h>

namespace twopass {

/// norm(a - b + epsilon, p) over the last axis, pair by pair, as in PyTorch: [..., d] and [..., d] give [...].
Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p = 2, double epsilon = 1e-6,
                         KeepAxis keep = KeepAxis::no);
/// norm(a_i - b_j, p) of each of a [..., m, d] and each of b [..., n, d]: [..., m, n]. From the differences, so that
/// near points lose no digits; they take m n d elements. The gradient where both are equal is 0.
Tensor cdist(const Tensor& a, const Tensor& b, double p = 2);
/// The distances of all pairs i < j of x [n, d], by i and then j: [n (n - 1) / 2].
Tensor pdist(const Tensor& x, double p = 2);

}  // namespace twopass
