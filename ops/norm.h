// Lengths of vectors, and vectors of length 1.
#pragma once
#include <twopass/core/tensor.h>
#include <twopass/ops/reduction.h>

namespace twopass {

/// (Σ |x|^p)^(1/p) over axes (all where none is named), without overflow; p = INFINITY is the largest |x|. The gradient
/// at 0 is 0. Refuses p below 1.
Tensor norm(const Tensor& x, double p = 2, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
/// x / max(norm(x), epsilon) along axes: of length 1, or 0 where x is 0.
Tensor normalize(const Tensor& x, const Axes& axes = -1, double epsilon = 1e-12);
/// Σ normalize(a) normalize(b) along an axis: from -1 to 1, and 0 where a or b is 0.
Tensor cosine_similarity(const Tensor& a, const Tensor& b, int axis = -1);

}  // namespace twopass
