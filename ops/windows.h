// Windows that move over images: what convolution and pooling share. For the .cpp files of this folder.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include <twopass/core/shape.h>
#include <twopass/ops/extents.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/record.h>

namespace twopass::windows {

/// The largest stride, padding, spacing or window.
constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;

/// One axis: output o sees inputs o stride - before + k spacing for k in 0 … window-1.
struct Axis {
  std::int64_t input, window, output, stride, before, spacing;

  /// The outputs whose input at window place k is inside: first … end-1.
  std::int64_t first(std::int64_t k) const {
    const std::int64_t short_of = before - k * spacing;
    return short_of > 0 ? std::min(output, (short_of + stride - 1) / stride) : 0;
  }
  std::int64_t end(std::int64_t k) const {
    const std::int64_t room = input - 1 + before - k * spacing;
    return room < 0 ? 0 : std::min(output, room / stride + 1);
  }
  /// What the last window reaches beyond the input; negative where it ends before the last place.
  std::int64_t after() const { return (output - 1) * stride + (window - 1) * spacing + 1 - input - before; }
};

/// What is asked for along an axis: 0 is rows, 1 columns.
struct Wish {
  const std::vector<std::int64_t>& strides;
  const std::vector<std::int64_t>& padding;  // top, bottom, left, right
  bool same;
  const std::vector<std::int64_t>& spacing;
};

/// Refuses lists of the wrong length and numbers out of range.
void check(const Wish& wish);
/// The axis of an image of `input` rows or columns; an open one gives an open output. Refuses a window that reaches
/// beyond the padded input.
Axis axis(const Wish& wish, int which, std::int64_t input, std::int64_t window);
/// That of a volume's depth, as rows. Refuses as `check` does too.
Axis depth_axis(const Extent3d& strides, const Padding3d& padding, const Extent3d& dilation, std::int64_t input,
                std::int64_t window);
/// Padding as top, bottom, left and right for these inputs.
std::vector<std::int64_t> resolved_padding(const Wish& wish, const Axis& rows, const Axis& columns);
/// The windows of pooling, which have no gaps.
struct Pool {
  Axis rows, columns;
};
/// Refuses what does not fit, and padding of more than half a window.
Pool pool(const std::vector<std::int64_t>& window, const std::vector<std::int64_t>& strides,
          const std::vector<std::int64_t>& padding, bool same, std::int64_t rows, std::int64_t columns);

/// f of x with its channels first, and its result as x was.
template <typename F>
Tensor channels_first(const Tensor& x, bool channels_last, const F& f) {
  return channels_last ? moveaxis(f(moveaxis(x, -1, 1)), 1, -1) : f(x);
}

/// Refuses x and a kernel that do not have `rank` axes.
void check_ranks(const char* name, const Tensor& x, const Tensor& kernel, int rank);
/// Refuses what is not f32 or f64 of four axes.
void check_images(const Specs& in, std::size_t k, const char* name);

}  // namespace twopass::windows
