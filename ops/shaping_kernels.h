// Kernels that move elements, shared by shaping, indexing and reductions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include <twopass/core/shape.h>

namespace twopass::shaping {

/// A shape seen as [outer, size, inner] around one axis.
struct Around {
  std::int64_t outer = 1;
  std::int64_t size = 1;
  std::int64_t inner = 1;
};
Around around(const Shape& shape, int axis);

/// The elements of a tensor of `shape`, `bytes_each` wide, written with its axes in another order.
void permute(const std::byte* from, const Shape& shape, const std::vector<int>& order, std::size_t bytes_each,
             std::byte* to);

/// Elements written along the axes of `sizes`, read with these strides (0 repeats); both lists outermost first.
void copy_strided(const std::byte* from, std::vector<std::int64_t> sizes, std::vector<std::int64_t> strides,
                  std::size_t bytes_each, std::byte* to);

}  // namespace twopass::shaping
