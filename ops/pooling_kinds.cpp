// Pools that are others', seen otherwise: of sequences and volumes, to a given size, of everything.
#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

Tensor pool_row(const char* name, Tensor (*pool)(const Tensor&, const Pool2dOptions&), const Tensor& x,
                const Pool1dOptions& options) {
  if (x.rank() != 3) throw Error(fmt::format("{}{}: x must have three axes", name, x.shape().text()));
  if (options.padding.causal()) throw Error(fmt::format("{}: pools have no causal padding", name));
  return windows::channels_first(x, options.channels_last, [&](const Tensor& sequences) {
    const Tensor y =
        pool(expand_dims(sequences, 2), {.window = {1, options.window},
                                         .strides = {1, options.stride == 0 ? options.window : options.stride},
                                         .padding = options.padding.of_row(options.window),
                                         .count_padding = options.count_padding});
    return squeeze(y, 2);
  });
}

// The largest of the planes' largest is the volume's, and the first of them the first; as each axis has its own count
// of what a window sees, the mean of the planes' means is the volume's too.
Tensor pool_volume(const char* name, Tensor (*pool)(const Tensor&, const Pool2dOptions&), const Tensor& x,
                   const Pool3dOptions& options) {
  if (x.rank() != 5) throw Error(fmt::format("{}{}: x must have five axes", name, x.shape().text()));
  return windows::channels_first(x, options.channels_last, [&](const Tensor& volumes) {
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
  });
}

// The first and the end of window k of m over n elements.
struct Window {
  std::int64_t first, end;
};
Window adaptive(std::int64_t k, std::int64_t n, std::int64_t m) { return {k * n / m, ((k + 1) * n + m - 1) / m}; }

void check_sizes(const char* name, const Tensor& x, Extent size) {
  if (x.rank() != 4) throw Error(fmt::format("{}{}: x must have four axes", name, x.shape().text()));
  for (const int axis : {2, 3})
    if (x.shape()[axis] < 1)
      throw Error(fmt::format("{}{}: rows and columns must be known, and not none", name, x.shape().text()));
  if (size.rows < 1 || size.columns < 1)
    throw Error(fmt::format("{}{}: the size must be 1 or more, not {} and {}", name, x.shape().text(), size.rows,
                            size.columns));
}

bool divides(const Tensor& x, Extent size) { return x.shape()[2] % size.rows == 0 && x.shape()[3] % size.columns == 0; }
Pool2dOptions even_windows(const Tensor& x, Extent size) {
  return {.window = {x.shape()[2] / size.rows, x.shape()[3] / size.columns}};
}

// [m, n]: row k takes the mean of window k.
Tensor mean_matrix(std::int64_t n, std::int64_t m, DType dtype) {
  std::vector<double> weights(static_cast<std::size_t>(n * m));
  for (std::int64_t k = 0; k < m; ++k) {
    const Window window = adaptive(k, n, m);
    for (std::int64_t at = window.first; at < window.end; ++at)
      weights[static_cast<std::size_t>(k * n + at)] = 1 / static_cast<double>(window.end - window.first);
  }
  return from_values(weights, {m, n}, dtype);
}

// The largest of each window along an axis; the last element of a short window stands for what it lacks.
Tensor largest_along(const Tensor& x, int axis, std::int64_t m) {
  const std::int64_t n = x.shape()[axis];
  std::int64_t most = 0;
  for (std::int64_t k = 0; k < m; ++k) most = std::max(most, adaptive(k, n, m).end - adaptive(k, n, m).first);
  std::vector<std::int64_t> places;
  for (std::int64_t k = 0; k < m; ++k)
    for (std::int64_t at = 0; at < most; ++at)
      places.push_back(std::min(adaptive(k, n, m).first + at, adaptive(k, n, m).end - 1));
  return max(gather(x, from_values(places, {m, most}), axis), axis + 1);
}

std::vector<std::int64_t> behind_channels(const char* name, const Tensor& x) {
  if (x.rank() < 3) throw Error(fmt::format("{}{}: nothing lies behind the channels", name, x.shape().text()));
  std::vector<std::int64_t> axes;
  for (int axis = 2; axis < x.rank(); ++axis) axes.push_back(axis);
  return axes;
}

}  // namespace

Tensor max_pool1d(const Tensor& x, const Pool1dOptions& options) {
  return pool_row("max_pool1d", max_pool2d, x, options);
}
Tensor average_pool1d(const Tensor& x, const Pool1dOptions& options) {
  return pool_row("average_pool1d", average_pool2d, x, options);
}

Tensor max_pool3d(const Tensor& x, const Pool3dOptions& options) {
  return pool_volume("max_pool3d", max_pool2d, x, options);
}
Tensor average_pool3d(const Tensor& x, const Pool3dOptions& options) {
  return pool_volume("average_pool3d", average_pool2d, x, options);
}

Tensor adaptive_max_pool2d(const Tensor& x, Extent size) {
  check_sizes("adaptive_max_pool2d", x, size);
  if (divides(x, size)) return max_pool2d(x, even_windows(x, size));
  return largest_along(largest_along(x, 2, size.rows), 3, size.columns);
}
Tensor adaptive_average_pool2d(const Tensor& x, Extent size) {
  check_sizes("adaptive_average_pool2d", x, size);
  if (divides(x, size)) return average_pool2d(x, even_windows(x, size));
  const Tensor rows = mean_matrix(x.shape()[2], size.rows, x.dtype());
  const Tensor columns = mean_matrix(x.shape()[3], size.columns, x.dtype());
  return matmul(matmul(rows, x), columns, {.transpose_b = true});
}

Tensor global_max_pool(const Tensor& x) { return max(x, behind_channels("global_max_pool", x)); }
Tensor global_average_pool(const Tensor& x) { return mean(x, behind_channels("global_average_pool", x)); }

}  // namespace twopass
