// Patches of images as columns, back again, and where the largest of each lies.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>
#include <twopass/ops/convolution.h>

namespace twopass {

struct PatchOptions {
  Extent strides = 1;
  /// Zeros.
  Padding padding = {};
  Extent dilation = 1;
};
/// What each window of images [n, c, h, w] sees, as columns (im2col): [n, c rows columns, windows], as in PyTorch. Only
/// the batch may be open.
Tensor unfold(const Tensor& x, Extent window, const PatchOptions& options = {});
/// The transpose of unfold (col2im): columns added up where windows overlap, to images of `size`. Refuses columns that
/// are not those of this size.
Tensor fold(const Tensor& columns, Extent size, Extent window, const PatchOptions& options = {});

struct PlacedMaxima {
  /// What max_pool2d gives.
  Tensor values;
  /// Where each lies in its plane, row-major, i64; of ties the first.
  Tensor places;
};
/// For images [n, c, h, w]; options' channels_last is refused.
PlacedMaxima max_pool2d_places(const Tensor& x, const Pool2dOptions& options = {});
/// Planes of zeros [n, c, size] with the elements of x [n, c, h, w] at the places of max_pool2d_places; those of one
/// place, as of windows that overlap, add up. Refuses places that are not in the plane.
Tensor max_unpool2d(const Tensor& x, const Tensor& places, Extent size);

}  // namespace twopass
