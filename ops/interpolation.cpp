#include <twopass/ops/interpolation.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/filled.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/named.h>
#include <twopass/ops/rules.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

// Where element k of `size` lies among `from` elements.
double place_of(std::int64_t k, std::int64_t from, std::int64_t size, bool align_corners) {
  const auto at = static_cast<double>(k), n = static_cast<double>(from), m = static_cast<double>(size);
  if (align_corners) return size == 1 ? 0 : at * (n - 1) / (m - 1);
  return (at + 0.5) * n / m - 0.5;
}

Tensor nearest_along(const Tensor& x, int axis, std::int64_t size, bool align_corners) {
  const std::int64_t from = x.shape()[axis];
  const Tensor places = filled({size}, [=](std::int64_t k) {
    return std::clamp<std::int64_t>(std::llround(place_of(k, from, size, align_corners)), 0, from - 1);
  });
  return gather(x, places, axis);
}

Tensor linear_along(const Tensor& x, int axis, std::int64_t size, bool align_corners) {
  const std::int64_t from = x.shape()[axis];
  const auto place = [=](std::int64_t k) {
    return std::clamp(place_of(k, from, size, align_corners), 0.0, static_cast<double>(from - 1));
  };
  const auto whole = [=](std::int64_t k) { return static_cast<std::int64_t>(place(k)); };
  const Tensor below = filled({size}, whole);
  const Tensor above = filled({size}, [=](std::int64_t k) { return std::min(whole(k) + 1, from - 1); });
  const Tensor weights = filled<double>({size}, [=](std::int64_t k) { return place(k) - std::floor(place(k)); });
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.rank() - axis), 1);
  sizes[0] = size;
  const Tensor weight = reshape(cast(weights, x.dtype()), sizes);
  return gather(x, below, axis) * (1.0 - weight) + gather(x, above, axis) * weight;
}

}  // namespace

Tensor resize(const Tensor& x, const std::vector<std::int64_t>& sizes, const ResizeOptions& options) {
  return named("resize", {&x}, [&] {
    const auto head = [&] { return fmt::format("resize{}: ", x.shape().text()); };
    if (!is_floating(x.dtype()))
      throw Error(head() + fmt::format("only f32 and f64 have this, not {}", name_of(x.dtype())));
    if (sizes.size() != options.axes.size())
      throw Error(head() + fmt::format("{} sizes for {} axes", sizes.size(), options.axes.size()));
    Tensor y = x;
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      const int axis = x.shape().axis(options.axes[k]);
      const std::int64_t from = rules::known_size(x.shape(), axis);
      if (from == 0 || sizes[k] < 1)
        throw Error(head() + fmt::format("{} elements can't become {} along axis {}", from, sizes[k], axis));
      if (from == sizes[k]) continue;
      y = options.interpolation == Interpolation::nearest ? nearest_along(y, axis, sizes[k], options.align_corners)
                                                          : linear_along(y, axis, sizes[k], options.align_corners);
    }
    return y;
  });
}

}  // namespace twopass
