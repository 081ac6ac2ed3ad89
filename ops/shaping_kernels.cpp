#include <twopass/ops/shaping_kernels.h>

#include <algorithm>
#include <cstring>

#include <twopass/core/threads.h>

namespace twopass::shaping {
namespace {

constexpr std::int64_t kTileElements = 32768;
constexpr std::int64_t kSide = 16;

struct Axis {
  std::int64_t size;
  std::int64_t from;
  std::int64_t to;
};

template <typename T>
void copy_plane(const T* from, T* to, const Axis& rows, const Axis& columns) {
  if (columns.from == 1) {
    for (std::int64_t r = 0; r < rows.size; ++r)
      std::memcpy(to + r * rows.to, from + r * rows.from, static_cast<std::size_t>(columns.size) * sizeof(T));
    return;
  }
  if (columns.from == 0) {
    for (std::int64_t r = 0; r < rows.size; ++r) std::fill_n(to + r * rows.to, columns.size, from[r * rows.from]);
    return;
  }
  // Both sides stay within a few cache lines when the plane is walked in small squares.
  for (std::int64_t r0 = 0; r0 < rows.size; r0 += kSide)
    for (std::int64_t c0 = 0; c0 < columns.size; c0 += kSide)
      for (std::int64_t r = r0; r < std::min(rows.size, r0 + kSide); ++r)
        for (std::int64_t c = c0; c < std::min(columns.size, c0 + kSide); ++c)
          to[r * rows.to + c] = from[r * rows.from + c * columns.from];
}

template <typename T>
void copy_axes(const T* from, T* to, const std::vector<Axis>& outer, const Axis& rows, const Axis& columns) {
  std::int64_t planes = 1;
  for (const Axis& axis : outer) planes *= axis.size;
  const std::int64_t plane = rows.size * columns.size;
  const std::int64_t per_tile = std::max<std::int64_t>(1, kTileElements / std::max<std::int64_t>(1, plane));
  parallel_for((planes + per_tile - 1) / per_tile, [&](std::int64_t tile) {
    for (std::int64_t k = tile * per_tile; k < std::min(planes, (tile + 1) * per_tile); ++k) {
      std::int64_t left = k, read = 0, write = 0;
      for (std::size_t axis = outer.size(); axis-- > 0; left /= outer[axis].size) {
        read += left % outer[axis].size * outer[axis].from;
        write += left % outer[axis].size * outer[axis].to;
      }
      copy_plane(from + read, to + write, rows, columns);
    }
  });
}

}  // namespace

Around around(const Shape& shape, int axis) {
  Around result;
  for (int k = 0; k < shape.rank(); ++k) (k < axis ? result.outer : k == axis ? result.size : result.inner) *= shape[k];
  return result;
}

void copy_strided(const std::byte* from, std::vector<std::int64_t> sizes, std::vector<std::int64_t> strides,
                  std::size_t bytes_each, std::byte* to) {
  std::vector<Axis> axes;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    if (sizes[k] == 0) return;
    if (sizes[k] == 1) continue;
    if (!axes.empty() && axes.back().from == strides[k] * sizes[k])
      axes.back() = {axes.back().size * sizes[k], strides[k], 0};
    else
      axes.push_back({sizes[k], strides[k], 0});
  }
  std::int64_t step = 1;
  for (std::size_t k = axes.size(); k-- > 0; step *= axes[k].size) axes[k].to = step;
  Axis columns{1, 1, 1}, rows{1, 0, 0};
  if (!axes.empty()) {
    columns = axes.back();
    axes.pop_back();
  }
  if (!axes.empty()) {  // the rows of a plane: the axis that is read contiguously, else the one next to the columns
    auto chosen = std::find_if(axes.begin(), axes.end(), [](const Axis& axis) { return axis.from == 1; });
    if (chosen == axes.end() || columns.from <= 1) chosen = axes.end() - 1;
    rows = *chosen;
    axes.erase(chosen);
  }
  const auto go = [&]<typename T>() {
    copy_axes(reinterpret_cast<const T*>(from), reinterpret_cast<T*>(to), axes, rows, columns);
  };
  if (bytes_each == 8)
    go.template operator()<std::uint64_t>();
  else if (bytes_each == 4)
    go.template operator()<std::uint32_t>();
  else
    go.template operator()<std::uint8_t>();
}

void permute(const std::byte* from, const Shape& shape, const std::vector<int>& order, std::size_t bytes_each,
             std::byte* to) {
  std::vector<std::int64_t> strides(order.size()), sizes, read;
  std::int64_t step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; step *= shape[axis--]) strides[static_cast<std::size_t>(axis)] = step;
  for (const int axis : order) {
    sizes.push_back(shape[axis]);
    read.push_back(strides[static_cast<std::size_t>(axis)]);
  }
  copy_strided(from, std::move(sizes), std::move(read), bytes_each, to);
}

}  // namespace twopass::shaping
