// Order along an axis, and elements picked along it.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>

namespace twopass {

enum class Order : bool { ascending, descending };

/// The i64 indices that put x in order along an axis: equal elements keep theirs, NaN counts as largest.
Tensor argsort(const Tensor& x, int axis = -1, Order order = Order::ascending);
/// x in order along an axis; each element's gradient goes where it came from.
Tensor sort(const Tensor& x, int axis = -1, Order order = Order::ascending);

struct TopK {
  Tensor values, indices;
};
/// The k largest along an axis, largest first, and their i64 indices; of equal ones the first. Refuses a k that is
/// larger than the axis.
TopK topk(const Tensor& x, std::int64_t k, int axis = -1);

/// y[i, j] = x[i, indices[i, j]]: along an axis, the elements at i64 indices of the same rank, whose other axes are
/// those of x; negative indices count from the end. Gradients of an element that is picked twice add up.
Tensor take_along_axis(const Tensor& x, const Tensor& indices, int axis = -1);
/// The transpose of take_along_axis: adds g's elements into a tensor of zeros of the given size along the axis.
Tensor scatter_along_axis(const Tensor& g, const Tensor& indices, std::int64_t size, int axis = -1);

}  // namespace twopass
