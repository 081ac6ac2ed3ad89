#include <twopass/ops/quantiles.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/named.h>
#include <twopass/ops/rules.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/sorting.h>

namespace twopass {
namespace {

Tensor without(const Tensor& x, int axis, KeepAxis keep) { return keep == keep_axis ? x : squeeze(x, axis); }

// a + w (b - a), as NumPy has it: never beside equal ones. Infinities are not subtracted, which would make NaN.
Tensor between(const Tensor& a, const Tensor& b, double weight) {
  const Tensor way = b - a, finite = abs(way) < std::numeric_limits<double>::infinity(),
               held = where(finite, way, scalar_like(0, way));
  return where(finite, weight < 0.5 ? a + held * weight : b - held * (1 - weight), a * (1 - weight) + b * weight);
}

}  // namespace

RankedElement kthvalue(const Tensor& x, std::int64_t k, int axis, KeepAxis keep) {
  return named("kthvalue", {&x}, [&]() -> RankedElement {
    const std::int64_t size = rules::known_size(x.shape(), axis);
    if (k < 1 || k > size)
      throw Error(fmt::format("kthvalue{}: k is {} but axis {} has size {}", x.shape().text(), k, axis, size));
    const Tensor index = slice(argsort(x, axis), axis, k - 1, k);
    return {without(take_along_axis(x, index, axis), axis, keep), without(index, axis, keep)};
  });
}

Tensor quantile(const Tensor& x, const std::vector<double>& q, int axis, KeepAxis keep) {
  return named("quantile", {&x}, [&] {
    const auto head = [&] { return fmt::format("quantile{}: ", x.shape().text()); };
    if (!is_floating(x.dtype()))
      throw Error(head() + fmt::format("only f32 and f64 have this, not {}", name_of(x.dtype())));
    const std::int64_t size = rules::known_size(x.shape(), axis);
    if (size == 0) throw Error(head() + fmt::format("axis {} has nothing in it", axis));
    if (q.empty()) throw Error(head() + "no part is asked for");
    const Tensor sorted = sort(x, axis);
    const auto ranked = [&](std::int64_t rank) { return slice(sorted, axis, rank, rank + 1); };
    const Tensor last = ranked(size - 1), known = equal(last, last);
    Tensors found;
    for (const double part : q) {
      if (!(part >= 0 && part <= 1)) throw Error(head() + fmt::format("a part is from 0 to 1, not {}", part));
      const double place = part * static_cast<double>(size - 1), weight = place - std::floor(place);
      const auto below = static_cast<std::int64_t>(place);
      found.push_back(
          without(where(known, weight == 0 ? ranked(below) : between(ranked(below), ranked(below + 1), weight), last),
                  axis, keep));
    }
    return stack(found, 0);
  });
}

Tensor quantile(const Tensor& x, double q, int axis, KeepAxis keep) {
  return named("quantile", {&x}, [&] { return squeeze(quantile(x, std::vector<double>{q}, axis, keep), 0); });
}

}  // namespace twopass
