// Images and sequences in other sizes.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

enum class Interpolation : std::uint8_t { nearest, linear };

struct ResizeOptions {
  /// The axes that the sizes are for: by default height and width of [batch, height, width, channels].
  std::vector<std::int64_t> axes = {1, 2};
  Interpolation interpolation = Interpolation::linear;
  /// Whether first and last elements keep their places; else pixels have their centres at halves, as in Keras.
  bool align_corners = false;
};
/// x with other sizes along some axes: of two axes, linear is bilinear. Nothing is smoothed where it shrinks.
Tensor resize(const Tensor& x, const std::vector<std::int64_t>& sizes, const ResizeOptions& options = {});

}  // namespace twopass
