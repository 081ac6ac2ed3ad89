// Tables of places and weights, in memory that is refused as that of any tensor. For the .cpp files of this folder.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// A tensor of T whose elements are f(0), f(1), … in row-major order, asked for in this order.
template <typename T = std::int64_t, typename F>
Tensor filled(const Shape& shape, F f) {
  const Tensor made = uninitialised(shape, dtype_of<T>());
  T* const to = writable<T>(made);
  for (std::int64_t k = 0, n = shape.elements(); k < n; ++k) to[k] = f(k);
  return made;
}

}  // namespace twopass
