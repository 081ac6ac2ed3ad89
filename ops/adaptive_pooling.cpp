// Pools to a given size, and of everything.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include <twopass/core/error.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/filled.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/named.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

using Numbers = std::vector<std::int64_t>;

// The first and the end of window k of m over n elements.
struct Window {
  std::int64_t first, end;
};
Window adaptive(std::int64_t k, std::int64_t n, std::int64_t m) { return {k * n / m, ((k + 1) * n + m - 1) / m}; }

// The largest of each window along an axis; the last element of a short window stands for what it lacks.
Tensor largest_along(const Tensor& x, int axis, std::int64_t m) {
  const std::int64_t n = x.shape()[axis];
  std::int64_t most = 0;
  for (std::int64_t k = 0; k < m; ++k) most = std::max(most, adaptive(k, n, m).end - adaptive(k, n, m).first);
  const Tensor places = filled({m, most}, [=](std::int64_t place) {
    const Window window = adaptive(place / most, n, m);
    return std::min(window.first + place % most, window.end - 1);
  });
  return max(gather(x, places, axis), axis + 1);
}

// [m, n]: row k takes the mean of window k.
Tensor mean_matrix(std::int64_t n, std::int64_t m, DType dtype) {
  const Tensor weights = filled<double>({m, n}, [=](std::int64_t place) {
    const Window window = adaptive(place / n, n, m);
    const bool seen = window.first <= place % n && place % n < window.end;
    return seen ? 1 / static_cast<double>(window.end - window.first) : 0;
  });
  return cast(weights, dtype);
}

// The mean of each window along an axis behind the channels.
Tensor mean_along(const Tensor& x, int axis, std::int64_t m) {
  const Tensor means = mean_matrix(x.shape()[axis], m, x.dtype());
  if (axis == x.rank() - 1) return matmul(x, means, {.transpose_b = true});
  Numbers sizes(x.shape().begin(), x.shape().begin() + axis), flat = sizes;
  sizes.push_back(m);
  sizes.insert(sizes.end(), x.shape().begin() + axis + 1, x.shape().end());
  // What lies behind the axis as columns of one matrix.
  const auto behind =
      std::accumulate(x.shape().begin() + axis + 1, x.shape().end(), std::int64_t{1}, std::multiplies<>());
  flat.insert(flat.end(), {x.shape()[axis], behind});
  return reshape(matmul(means, reshape(x, flat)), sizes);
}

// Where all sizes divide, windows lie side by side: `pool` does these.
template <typename Pool>
Tensor pool_to(const char* name, Tensor (*along)(const Tensor&, int, std::int64_t), const Pool& pool, const Tensor& x,
               const Numbers& size, const AdaptivePoolOptions& options) {
  constexpr const char* kAxes[] = {"three", "four", "five"};
  const auto rank = static_cast<int>(size.size()) + 2;
  if (x.rank() != rank) throw Error(fmt::format("{}{}: x must have {} axes", name, x.shape().text(), kAxes[rank - 3]));
  const auto [least, most] = std::minmax_element(size.begin(), size.end());
  if (*least < 1 || *most > windows::kMost)
    throw Error(fmt::format("{}{}: the size must be from 1 to 2^31 - 1, not {}", name, x.shape().text(),
                            fmt::join(size, " and ")));
  return windows::channels_first(x, options.channels_last, [&](const Tensor& given) {
    if (std::any_of(given.shape().begin() + 2, given.shape().end(), [](std::int64_t each) { return each < 1; }))
      throw Error(fmt::format("{}{}: what is pooled must be known, and not none", name, x.shape().text()));
    Numbers window;
    bool even = true;
    for (std::size_t k = 0; k < size.size(); ++k) {
      const std::int64_t all = given.shape()[static_cast<int>(k) + 2];
      even = even && all % size[k] == 0;
      window.push_back(all / size[k]);
    }
    if (even) return pool(given, window);
    Tensor y = given;
    for (int axis = 2; axis < rank; ++axis) y = along(y, axis, size[static_cast<std::size_t>(axis - 2)]);
    return y;
  });
}

template <typename Options>
using Pool = Tensor(const Tensor&, const Options&);
auto sequences(Pool<Pool1dOptions>* pool) {
  return [pool](const Tensor& x, const Numbers& window) { return pool(x, {.window = window[0]}); };
}
auto images(Pool<Pool2dOptions>* pool) {
  return [pool](const Tensor& x, const Numbers& window) { return pool(x, {.window = {window[0], window[1]}}); };
}
auto volumes(Pool<Pool3dOptions>* pool) {
  return [pool](const Tensor& x, const Numbers& window) {
    return pool(x, {.window = {window[0], window[1], window[2]}});
  };
}

Tensor pool_all(const char* name, Tensor (*reduce)(const Tensor&, const Axes&, KeepAxis), const Tensor& x,
                const GlobalPoolOptions& options) {
  if (x.rank() < 3) throw Error(fmt::format("{}{}: nothing lies beside the channels", name, x.shape().text()));
  Numbers axes;
  for (int axis = 1; axis < x.rank(); ++axis)
    if (axis != (options.channels_last ? x.rank() - 1 : 1)) axes.push_back(axis);
  return reduce(x, axes, options.keepdims ? KeepAxis::yes : KeepAxis::no);
}

}  // namespace

Tensor adaptive_max_pool1d(const Tensor& x, std::int64_t size, const AdaptivePoolOptions& options) {
  return named("adaptive_max_pool1d", {&x}, [&] {
    return pool_to("adaptive_max_pool1d", largest_along, sequences(max_pool1d), x, {size}, options);
  });
}
Tensor adaptive_max_pool2d(const Tensor& x, Extent size, const AdaptivePoolOptions& options) {
  return named("adaptive_max_pool2d", {&x}, [&] {
    return pool_to("adaptive_max_pool2d", largest_along, images(max_pool2d), x, size.list(), options);
  });
}
Tensor adaptive_max_pool3d(const Tensor& x, Extent3d size, const AdaptivePoolOptions& options) {
  return named("adaptive_max_pool3d", {&x}, [&] {
    return pool_to("adaptive_max_pool3d", largest_along, volumes(max_pool3d), x, size.list(), options);
  });
}
Tensor adaptive_average_pool1d(const Tensor& x, std::int64_t size, const AdaptivePoolOptions& options) {
  return named("adaptive_average_pool1d", {&x}, [&] {
    return pool_to("adaptive_average_pool1d", mean_along, sequences(average_pool1d), x, {size}, options);
  });
}
Tensor adaptive_average_pool2d(const Tensor& x, Extent size, const AdaptivePoolOptions& options) {
  return named("adaptive_average_pool2d", {&x}, [&] {
    return pool_to("adaptive_average_pool2d", mean_along, images(average_pool2d), x, size.list(), options);
  });
}
Tensor adaptive_average_pool3d(const Tensor& x, Extent3d size, const AdaptivePoolOptions& options) {
  return named("adaptive_average_pool3d", {&x}, [&] {
    return pool_to("adaptive_average_pool3d", mean_along, volumes(average_pool3d), x, size.list(), options);
  });
}

Tensor global_max_pool(const Tensor& x, const GlobalPoolOptions& options) {
  return named("global_max_pool", {&x}, [&] { return pool_all("global_max_pool", max, x, options); });
}
Tensor global_average_pool(const Tensor& x, const GlobalPoolOptions& options) {
  return named("global_average_pool", {&x}, [&] { return pool_all("global_average_pool", mean, x, options); });
}

}  // namespace twopass
