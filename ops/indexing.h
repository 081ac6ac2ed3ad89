// Ops that pick elements by index.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// The slices of x along `axis` at the i64 indices, which take that axis's place; negative indices count from the end.
/// Gradients of a slice that is picked twice add up. Refuses an index that is out of range, naming it and its place.
Tensor gather(const Tensor& x, const Tensor& indices, int axis = 0);
/// 1 at the index, 0 elsewhere, along a new last axis of size `classes`. Refuses indices outside 0 … classes-1 by
/// place.
Tensor one_hot(const Tensor& indices, std::int64_t classes, DType dtype = f32);
/// The transpose of gather: adds g's slices into a tensor of zeros of the given size along `axis` (gather's gradient).
Tensor scatter_add(const Tensor& g, const Tensor& indices, std::int64_t size, int axis = 0);

}  // namespace twopass
