// Ops that move elements without computing. Reshapes and leading-axis slices share memory; others are written densely.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// The same elements in another shape; one size may be -1: what is left. On symbols a -1 may stand for the open batch.
Tensor reshape(const Tensor& x, const Shape& shape);
/// Axes from `axis` on joined into one: (n, a, b) becomes (n, a b).
Tensor flatten(const Tensor& x, int axis = 1);
/// Axes in another order; none given reverses them.
Tensor transpose(const Tensor& x, const std::vector<std::int64_t>& order = {});
/// An axis of size 1 put in before `axis`, or taken away (refuses another size).
Tensor expand_dims(const Tensor& x, int axis);
Tensor squeeze(const Tensor& x, int axis);
/// x repeated along axes of size 1 and new leading ones; refuses a shape that it does not broadcast to.
Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// Tensors joined along an axis that exists (concat) or is new (stack).
Tensor concat(const Tensors& parts, int axis = 0);
Tensor stack(const Tensors& parts, int axis = 0);
/// Cut along an axis into parts of the given sizes.
Tensors split(const Tensor& x, const std::vector<std::int64_t>& sizes, int axis = 0);
/// Elements start, start + step, … below stop along one axis; negative bounds count from the end, bounds beyond are cut
/// as in Python; step may be negative, not 0.
Tensor slice(const Tensor& x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step = 1);
/// `before` and `after` elements of `value` put around each axis: one pair per axis.
Tensor pad(const Tensor& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& widths, double value = 0);

}  // namespace twopass
