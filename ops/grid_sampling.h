// Images seen through grids of points (Jaderberg et al., 2015, spatial transformers).
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>
#include <twopass/ops/extents.h>
#include <twopass/ops/interpolation.h>

namespace twopass {

/// What a point beyond the image sees: nothing, the nearest element, or the image in a mirror at its border.
enum class GridPadding : std::uint8_t { zeros, border, reflection };

struct GridSampleOptions {
  Interpolation interpolation = Interpolation::linear;
  GridPadding padding = GridPadding::zeros;
  /// Whether -1 and 1 are the centres of the first and last elements; else their outer edges.
  bool align_corners = false;
};
/// The elements of images x [n, c, h, w] at the points of grid [n, rows, columns, 2], which are x and y from -1 to 1 as
/// in PyTorch: [n, c, rows, columns]. Gradients pass to points held at a border nowhere, and to x and y by the linear
/// interpolation alone. A point that is NaN gives NaN. Only the batch may be open.
Tensor grid_sample(const Tensor& x, const Tensor& grid, const GridSampleOptions& options = {});
/// The grid [n, rows, columns, 2] of affine maps theta [n, 2, 3]: each point of `size` evenly spaced ones, from -1 to
/// 1, mapped by theta. Refuses sizes below 1.
Tensor affine_grid(const Tensor& theta, Extent size, bool align_corners = false);

}  // namespace twopass
