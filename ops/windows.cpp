#include <twopass/ops/windows.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace twopass::windows {
namespace {

void check_list(const std::vector<std::int64_t>& list, std::size_t size, std::int64_t least, const char* name) {
  if (list.size() != size) throw Error(fmt::format("the {} must be {} numbers, not {}", name, size, list.size()));
  for (const std::int64_t each : list)
    if (each < least || each > kMost)
      throw Error(fmt::format("the {} must be from {} to 2^31 - 1, not {}", name, least, fmt::join(list, " and ")));
}

std::int64_t total_padding(const Wish& wish, int which, const Axis& axis) {
  if (!wish.same)
    return wish.padding[static_cast<std::size_t>(2 * which)] + wish.padding[static_cast<std::size_t>(2 * which + 1)];
  const std::int64_t outputs = (axis.input + axis.stride - 1) / axis.stride;
  return std::max<std::int64_t>(0, (outputs - 1) * axis.stride + (axis.window - 1) * axis.spacing + 1 - axis.input);
}

}  // namespace

void check(const Wish& wish) {
  check_list(wish.strides, 2, 1, "strides");
  check_list(wish.padding, 4, 0, "padding");
  check_list(wish.spacing, 2, 1, "dilation");
}

Axis axis(const Wish& wish, int which, std::int64_t input, std::int64_t window) {
  const auto at = static_cast<std::size_t>(which);
  Axis axis{input, window, kOpen, wish.strides[at], 0, wish.spacing[at]};
  if (window < 1 || window > kMost) throw Error(fmt::format("a window must have 1 to 2^31 - 1 places, not {}", window));
  if (input == kOpen) return axis;
  const std::int64_t total = total_padding(wish, which, axis), reach = (window - 1) * axis.spacing + 1;
  axis.before = wish.same ? total / 2 : wish.padding[2 * at];
  if (reach > input + total)
    throw Error(fmt::format("the window reaches over {} {} but the padded input has {}", reach,
                            which == 0 ? "rows" : "columns", input + total));
  axis.output = (input + total - reach) / axis.stride + 1;
  return axis;
}

Axis depth_axis(const Extent3d& strides, const Padding3d& padding, const Extent3d& dilation, std::int64_t input,
                std::int64_t window) {
  const std::vector<std::int64_t> step{strides.depth, 1}, spacing{dilation.depth, 1};
  const std::vector<std::int64_t> around{padding.front(), padding.back(), 0, 0};
  const Wish wish{step, around, padding.same(), spacing};
  check(wish);
  return axis(wish, 0, input, window);
}

std::vector<std::int64_t> resolved_padding(const Wish& wish, const Axis& rows, const Axis& columns) {
  if (!wish.same) return wish.padding;
  const std::int64_t high = total_padding(wish, 0, rows), wide = total_padding(wish, 1, columns);
  return {high / 2, high - high / 2, wide / 2, wide - wide / 2};
}

Pool pool(const std::vector<std::int64_t>& window, const std::vector<std::int64_t>& strides,
          const std::vector<std::int64_t>& padding, bool same, std::int64_t rows, std::int64_t columns) {
  static const std::vector<std::int64_t> dense = {1, 1};
  const Wish wish{strides, padding, same, dense};
  check(wish);
  if (window.size() != 2) throw Error(fmt::format("the window must be 2 numbers, not {}", window.size()));
  for (std::size_t side = 0; side < 4; ++side)
    if (!same && padding[side] > window[side / 2] / 2)
      throw Error(fmt::format("padding of {} is more than half the window of {}: a window could be all padding",
                              padding[side], window[side / 2]));
  return {axis(wish, 0, rows, window[0]), axis(wish, 1, columns, window[1])};
}

void check_ranks(const char* name, const Tensor& x, const Tensor& kernel, int rank) {
  if (x.rank() != rank || kernel.rank() != rank)
    throw Error(fmt::format("{}({}, {}): x and the kernel must have {} axes", name, x.shape().text(),
                            kernel.shape().text(), rank));
}

void check_images(const Specs& in, std::size_t k, const char* name) {
  if (!is_floating(in.dtype(k)))
    throw Error(fmt::format("only f32 and f64 have this, not {}: cast {} first", name_of(in.dtype(k)), name));
  if (in.shape(k).rank() != 4) throw Error(fmt::format("{} must have four axes, not {}", name, in.shape(k).rank()));
  if (in.dtype(k) != in.dtype(0))
    throw Error(fmt::format("the first is {} but another is {}: cast one", name_of(in.dtype(0)), name_of(in.dtype(k))));
}

}  // namespace twopass::windows
