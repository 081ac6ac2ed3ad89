#include <twopass/ops/patches.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/named.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/sorting.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

using Numbers = std::vector<std::int64_t>;

// Windows over an image with what is put around it.
struct Windows {
  windows::Axis rows, columns;
  std::int64_t high() const { return rows.before + rows.input + std::max<std::int64_t>(0, rows.after()); }
  std::int64_t wide() const { return columns.before + columns.input + std::max<std::int64_t>(0, columns.after()); }
  std::int64_t window() const { return checked_product(rows.window, columns.window); }
  std::int64_t count() const { return checked_product(rows.output, columns.output); }
  std::int64_t padded_plane() const { return checked_product(high(), wide()); }
  bool padded() const { return high() > rows.input || wide() > columns.input; }
};

Windows windows_of(std::int64_t rows, std::int64_t columns, Extent window, const PatchOptions& options) {
  const Numbers strides = options.strides.list(), spacing = options.dilation.list();
  const windows::Wish wish{strides, options.padding.widths(), options.padding.same(), spacing};
  windows::check(wish);
  return {windows::axis(wish, 0, rows, window.rows), windows::axis(wish, 1, columns, window.columns)};
}

void check_plane(Extent size) {
  if (std::min(size.rows, size.columns) < 0 || std::max(size.rows, size.columns) > windows::kMost)
    throw Error(fmt::format("a plane cannot have {} by {} elements", size.rows, size.columns));
}

// [places in a window, windows]: f(row, column) of each in the padded image.
template <typename F>
Tensor table(const Windows& all, const F& f) {
  const auto &rows = all.rows, &columns = all.columns;
  const Tensor places = uninitialised({all.window(), all.count()}, i64);
  std::int64_t* to = writable<std::int64_t>(places);
  for (std::int64_t i = 0; i < rows.window; ++i)
    for (std::int64_t j = 0; j < columns.window; ++j)
      for (std::int64_t row = 0; row < rows.output; ++row)
        for (std::int64_t column = 0; column < columns.output; ++column)
          *to++ = f(row * rows.stride + i * rows.spacing, column * columns.stride + j * columns.spacing);
  return places;
}

Tensor places_of(const Windows& all) {
  return table(all, [wide = all.wide()](std::int64_t row, std::int64_t column) { return row * wide + column; });
}

void check_known(const Tensor& x, int rank, const char* what) {
  if (x.rank() != rank) throw Error(fmt::format("{} must have {} axes, not {}", what, rank, x.rank()));
  if (std::find(x.shape().begin() + 1, x.shape().end(), kOpen) != x.shape().end())
    throw Error("all but the batch must be known");
}

}  // namespace

Tensor unfold(const Tensor& x, Extent window, const PatchOptions& options) {
  return named("unfold", {&x}, [&] {
    const Shape& size = x.shape();
    check_known(x, 4, "x");
    const Windows all = windows_of(size[2], size[3], window, options);
    const auto &rows = all.rows, &columns = all.columns;
    const Tensor framed = all.padded() ? pad(x, {{0, 0},
                                                 {0, 0},
                                                 {rows.before, all.high() - rows.before - rows.input},
                                                 {columns.before, all.wide() - columns.before - columns.input}})
                                       : x;
    const Tensor seen = gather(reshape(framed, {size[0], size[1], all.padded_plane()}), places_of(all), 2);
    return reshape(seen, {size[0], size[1] * all.window(), all.count()});
  });
}

Tensor fold(const Tensor& columns, Extent size, Extent window, const PatchOptions& options) {
  return named("fold", {&columns}, [&] {
    const Shape& given = columns.shape();
    check_known(columns, 3, "columns");
    check_plane(size);
    const Windows all = windows_of(size.rows, size.columns, window, options);
    if (given[1] % all.window() != 0)
      throw Error(fmt::format("{} elements a column are no channels of windows of {}", given[1], all.window()));
    if (given[2] != all.count())
      throw Error(fmt::format("there are {} columns but {} windows over {} by {}", given[2], all.count(), size.rows,
                              size.columns));
    const std::int64_t channels = given[1] / all.window();
    const Tensor apart = reshape(columns, {given[0], channels, all.window(), all.count()});
    const Tensor framed = reshape(scatter_add(apart, places_of(all), all.padded_plane(), 2),
                                  {given[0], channels, all.high(), all.wide()});
    if (!all.padded()) return framed;
    return slice(slice(framed, 2, all.rows.before, all.rows.before + size.rows), 3, all.columns.before,
                 all.columns.before + size.columns);
  });
}

PlacedMaxima max_pool2d_places(const Tensor& x, const Pool2dOptions& options) {
  return named("max_pool2d_places", {&x}, [&]() -> PlacedMaxima {
    if (options.channels_last) throw Error("channels come first");
    check_known(x, 4, "x");
    const Tensor values = max_pool2d(x, options);
    const Shape& size = x.shape();
    const Extent strides = options.strides.rows == 0 ? options.window : options.strides;
    const Windows all = windows_of(size[2], size[3], options.window, {strides, options.padding});
    // Beyond the image the nearest place stands, which its window sees anyway, and not later.
    const Tensor places = table(all, [&](std::int64_t row, std::int64_t column) {
      const std::int64_t high = std::clamp<std::int64_t>(row - all.rows.before, 0, size[2] - 1);
      return high * size[3] + std::clamp<std::int64_t>(column - all.columns.before, 0, size[3] - 1);
    });
    const Tensor seen = gather(reshape(stop_gradient(x), {size[0], size[1], size[2] * size[3]}), places, 2);
    const auto count = static_cast<double>(all.count());
    const Tensor at = argmax(seen, 2) * count + arange(0, count, 1, i64);
    return {values, reshape(gather(reshape(places, {-1}), at), values.shape())};
  });
}

Tensor max_unpool2d(const Tensor& x, const Tensor& places, Extent size) {
  return named("max_unpool2d", {&x, &places}, [&] {
    check_known(x, 4, "x");
    if (!(x.shape() == places.shape()))
      throw Error(fmt::format("x goes with as many places, not with {}", places.shape().text()));
    check_plane(size);
    const Shape flat{x.shape()[0], x.shape()[1], x.shape()[2] * x.shape()[3]};
    const std::int64_t plane = size.rows * size.columns;
    const Tensor at = within(reshape(places, flat), 0, static_cast<double>(plane - 1));
    const Tensor planes = scatter_along_axis(reshape(x, flat), at, plane, -1);
    return reshape(planes, {x.shape()[0], x.shape()[1], size.rows, size.columns});
  });
}

Tensor lp_pool2d(const Tensor& x, double p, const Pool2dOptions& options) {
  return named("lp_pool2d", {&x}, [&] {
    return windows::channels_first(x, options.channels_last, [&](const Tensor& images) {
      const Shape& size = images.shape();
      const Extent strides = options.strides.rows == 0 ? options.window : options.strides;
      check_known(images, 4, "x");
      const windows::Pool pool = windows::pool(options.window.list(), strides.list(), options.padding.widths(),
                                               options.padding.same(), size[2], size[3]);
      const Tensor columns = unfold(images, options.window, {strides, options.padding});
      const std::int64_t window = options.window.rows * options.window.columns, rows = pool.rows.output;
      const Tensor y = norm(reshape(columns, {size[0], size[1], window, rows * pool.columns.output}), p, 2);
      return reshape(y, {size[0], size[1], rows, pool.columns.output});
    });
  });
}

}  // namespace twopass
