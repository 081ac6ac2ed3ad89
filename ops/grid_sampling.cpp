#include <twopass/ops/grid_sampling.h>

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/filled.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/named.h>
#include <twopass/ops/products.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/scans.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

void check(const Tensor& x, const Tensor& grid) {
  const auto refuse = [&](const std::string& reason) {
    throw Error(fmt::format("grid_sample({}, {}): {}", x.shape().text(), grid.shape().text(), reason));
  };
  if (!is_floating(x.dtype()) || x.dtype() != grid.dtype())
    refuse(fmt::format("x is {} and the grid {}: both must be f32 or f64", name_of(x.dtype()), name_of(grid.dtype())));
  if (x.rank() != 4 || grid.rank() != 4) refuse("x and the grid must have four axes");
  if (grid.shape().back() != 2) refuse(fmt::format("a point has 2 coordinates, not {}", grid.shape().back()));
  if (x.shape()[0] != grid.shape()[0])
    refuse(fmt::format("{} images do not go with {} grids", x.shape()[0], grid.shape()[0]));
  for (int axis = 1; axis < 4; ++axis)
    if (x.shape()[axis] < 1) refuse("channels, rows and columns must be known, and not none");
}

// Where points lie along an axis of n elements, counted from the first.
Tensor places(const Tensor& grid, int coordinate, std::int64_t size, const GridSampleOptions& options) {
  const Tensor at = squeeze(slice(grid, 3, coordinate, coordinate + 1), 3) + 1.0;
  const auto n = static_cast<double>(size);
  Tensor place = options.align_corners ? at * ((n - 1) / 2) : (at * n - 1.0) / 2.0;
  if (options.padding == GridPadding::zeros) return place;
  const double low = options.align_corners ? 0 : -0.5, span = options.align_corners ? n - 1 : n;
  if (options.padding == GridPadding::reflection && span > 0) {
    const Tensor way = remainder(abs(place - low), scalar_like(2 * span, place));
    place = minimum(way, 2 * span - way) + low;
  }
  const Tensor inside = logical_and(place > 0.0, place < n - 1);
  return where(inside, place, stop_gradient(clip(place, 0, n - 1)));
}

// Whole places along an axis.
struct Lines {
  Tensor inside, indices;
};
Lines lines(const Tensor& at, std::int64_t size) {
  const Tensor inside = logical_and(at >= 0.0, at <= static_cast<double>(size - 1));
  return {inside, cast(where(inside, at, scalar_like(0, at)), i64)};
}

}  // namespace

Tensor grid_sample(const Tensor& x, const Tensor& grid, const GridSampleOptions& options) {
  return named("grid_sample", {&x, &grid}, [&] {
    check(x, grid);
    const std::int64_t n = x.shape()[0], channels = x.shape()[1], rows = x.shape()[2], columns = x.shape()[3];
    // All elements of all images below each other, a row of channels each.
    const Tensor table = reshape(moveaxis(x, 1, -1), {n == kOpen ? n : n * rows * columns, channels});
    const Tensor across = places(grid, 0, columns, options), down = places(grid, 1, rows, options);
    const Tensor known = logical_and(equal(across, across), equal(down, down));
    const Tensor none =
        where(known, scalar_like(0, across), scalar_like(std::numeric_limits<double>::quiet_NaN(), across));
    Tensor image;
    const auto sampled = [&](const Lines& row, const Lines& column, const Tensor& weight) {
      if (!image.defined())
        image = n == kOpen ? cumsum(row.indices * 0 + 1, 0) - 1
                           : reshape(arange(0, static_cast<double>(n), 1, i64), {n, 1, 1});
      const Tensor at =
          (image * static_cast<double>(rows) + row.indices) * static_cast<double>(columns) + column.indices;
      const Tensor inside = logical_and(row.inside, column.inside), share = where(inside, weight, none);
      // What stands in for a point outside has no part in it, however large the gradient.
      const Tensor found = where(expand_dims(inside, 3), gather(table, at, 0), scalar_like(0, x));
      return strong_mul(expand_dims(share, 3), found);
    };
    if (options.interpolation == Interpolation::nearest)
      return moveaxis(sampled(lines(round(down), rows), lines(round(across), columns), scalar_like(1, across)), -1, 1);
    const Tensor above = floor(down), left = floor(across), below = down - above, right = across - left;
    const std::array<Lines, 2> row{lines(above, rows), lines(above + 1.0, rows)};
    const std::array<Lines, 2> column{lines(left, columns), lines(left + 1.0, columns)};
    return moveaxis(sampled(row[0], column[0], (1.0 - below) * (1.0 - right)) +
                        sampled(row[0], column[1], (1.0 - below) * right) +
                        sampled(row[1], column[0], below * (1.0 - right)) + sampled(row[1], column[1], below * right),
                    -1, 1);
  });
}

Tensor affine_grid(const Tensor& theta, Extent size, bool align_corners) {
  return named("affine_grid", {&theta}, [&] {
    const auto head = [&] { return fmt::format("affine_grid{}: ", theta.shape().text()); };
    if (theta.rank() != 3 || theta.shape()[1] != 2 || theta.shape()[2] != 3) throw Error(head() + "maps are (n, 2, 3)");
    if (!is_floating(theta.dtype()))
      throw Error(head() + fmt::format("only f32 and f64 have this, not {}", name_of(theta.dtype())));
    if (size.rows < 1 || size.columns < 1)
      throw Error(head() + fmt::format("a grid cannot have {} by {} points", size.rows, size.columns));
    const auto place = [align_corners](std::int64_t k, std::int64_t count) {
      const auto at = static_cast<double>(k), n = static_cast<double>(count);
      if (align_corners) return count == 1 ? 0 : 2 * at / (n - 1) - 1;
      return (2 * at + 1) / n - 1;
    };
    const std::int64_t rows = size.rows, columns = size.columns;
    const Tensor points = filled<double>({checked_product(rows, columns), 3}, [&](std::int64_t k) {
      const std::int64_t point = k / 3;
      return k % 3 == 0 ? place(point % columns, columns) : k % 3 == 1 ? place(point / columns, rows) : 1;
    });
    return reshape(matmul(cast(points, theta.dtype()), theta, {.transpose_b = true}),
                   {theta.shape()[0], size.rows, size.columns, 2});
  });
}

}  // namespace twopass
