// Lengths of vectors, and vectors of length 1.
#pragma once
#include <twopass/core/tensor.h>
#include <twopass/ops/reduction.h>

namespace twopass {

/// (Σ |x|^p)^(1/p) over axes (all where none is named), without overflow. p = INFINITY is the largest |x|, -INFINITY
/// the smallest, and 0 the number of elements that are not 0. Below 1 this is no norm, but may serve as one. Gradients
/// at elements that are 0 are 0, ties of the largest share theirs evenly. Refuses other p below 0.
Tensor norm(const Tensor& x, double p = 2, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
/// x / max(norm(x), epsilon) along axes: of length 1, or 0 where x is 0.
Tensor normalize(const Tensor& x, const Axes& axes = -1, double epsilon = 1e-12);
/// Σ normalize(a) normalize(b) along an axis: from -1 to 1, and 0 where a or b is 0.
Tensor cosine_similarity(const Tensor& a, const Tensor& b, int axis = -1);

}  // namespace twopass
