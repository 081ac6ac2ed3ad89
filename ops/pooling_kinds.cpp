// Pools that are others', seen otherwise: of sequences and volumes.
#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/named.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

template <typename Pool>
Tensor pool_row(const char* name, const Pool& pool, const Tensor& x, const Pool1dOptions& options) {
  if (x.rank() != 3) throw Error(fmt::format("{}{}: x must have three axes", name, x.shape().text()));
  if (options.padding.causal()) throw Error(fmt::format("{}: pools have no causal padding", name));
  const auto rows = [&](const Tensor& sequences) {
    const Tensor y =
        pool(expand_dims(sequences, 2), {.window = {1, options.window},
                                         .strides = {1, options.strides == 0 ? options.window : options.strides},
                                         .padding = options.padding.of_row(options.window),
                                         .count_padding = options.count_padding});
    return squeeze(y, 2);
  };
  return named(name, {&x}, [&] { return windows::channels_first(x, options.channels_last, rows); });
}

// The largest of the planes' largest is the volume's, and the first of them the first; as each axis has its own count
// of what a window sees, the mean of the planes' means is the volume's too.
Tensor pool_volume(const char* name, Tensor (*pool)(const Tensor&, const Pool2dOptions&), const Tensor& x,
                   const Pool3dOptions& options) {
  if (x.rank() != 5) throw Error(fmt::format("{}{}: x must have five axes", name, x.shape().text()));
  const auto pooled = [&](const Tensor& volumes) {
    const Shape& size = volumes.shape();
    if (std::find(size.begin() + 1, size.end(), kOpen) != size.end())
      throw Error(fmt::format("{}{}: all but the batch must be known", name, x.shape().text()));
    const Extent3d &window = options.window, &strides = options.strides;
    const bool as_window = strides.depth == 0 && strides.plane.rows == 0 && strides.plane.columns == 0;
    const Padding3d& padding = options.padding;
    const Tensor planes = pool(reshape(volumes, {size[0], size[1] * size[2], size[3], size[4]}),
                               {.window = window.plane,
                                .strides = as_window ? window.plane : strides.plane,
                                .padding = padding.plane(),
                                .count_padding = options.count_padding});
    const std::int64_t rows = planes.shape()[2], columns = planes.shape()[3];
    const Tensor y = pool(reshape(planes, {size[0], size[1], size[2], rows * columns}),
                          {.window = {window.depth, 1},
                           .strides = {as_window ? window.depth : strides.depth, 1},
                           .padding = padding.same() ? Padding("same") : Padding(padding.front(), padding.back(), 0, 0),
                           .count_padding = options.count_padding});
    return reshape(y, {size[0], size[1], y.shape()[2], rows, columns});
  };
  return named(name, {&x}, [&] { return windows::channels_first(x, options.channels_last, pooled); });
}

}  // namespace

Tensor max_pool1d(const Tensor& x, const Pool1dOptions& options) {
  return pool_row("max_pool1d", max_pool2d, x, options);
}
Tensor average_pool1d(const Tensor& x, const Pool1dOptions& options) {
  return pool_row("average_pool1d", average_pool2d, x, options);
}

Tensor lp_pool1d(const Tensor& x, double p, const Pool1dOptions& options) {
  const auto pool = [p](const Tensor& rows, const Pool2dOptions& with) { return lp_pool2d(rows, p, with); };
  return pool_row("lp_pool1d", pool, x, options);
}

Tensor max_pool3d(const Tensor& x, const Pool3dOptions& options) {
  return pool_volume("max_pool3d", max_pool2d, x, options);
}
Tensor average_pool3d(const Tensor& x, const Pool3dOptions& options) {
  return pool_volume("average_pool3d", average_pool2d, x, options);
}

}  // namespace twopass
