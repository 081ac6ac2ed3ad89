// Elements by their rank along an axis.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/ops/reduction.h>

namespace twopass {

struct RankedElement {
  Tensor value;
  /// i64.
  Tensor index;
};
/// The k-th smallest along an axis, k from 1, and where it is; NaN counts as largest. The gradient goes where it is.
/// Refuses a k that is not there.
RankedElement kthvalue(const Tensor& x, std::int64_t k, int axis = -1, KeepAxis keep = KeepAxis::no);

/// What a part q of the elements along an axis is below: of n in order, the one at q (n - 1), between two by linear
/// interpolation, as in NumPy and PyTorch; its gradient goes to these two. NaN wins. Refuses q outside [0, 1], an axis
/// of nothing and an open one.
Tensor quantile(const Tensor& x, double q, int axis = -1, KeepAxis keep = KeepAxis::no);
/// The same for several, along a new first axis.
Tensor quantile(const Tensor& x, const std::vector<double>& q, int axis = -1, KeepAxis keep = KeepAxis::no);

}  // namespace twopass
