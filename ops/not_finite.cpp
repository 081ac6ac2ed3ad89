#include <twopass/ops/not_finite.h>

#include <cmath>
#include <limits>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/named.h>

namespace twopass {

// i64 and bool have neither NaN nor infinities.
Tensor is_nan(const Tensor& x) {
  return named("is_nan", {&x}, [&] { return not_equal(x, x); });
}
Tensor is_inf(const Tensor& x) {
  return named("is_inf", {&x},
               [&] { return is_floating(x.dtype()) ? equal(abs(x), scalar_like(INFINITY, x)) : not_equal(x, x); });
}
Tensor is_finite(const Tensor& x) {
  return named("is_finite", {&x},
               [&] { return is_floating(x.dtype()) ? less(abs(x), scalar_like(INFINITY, x)) : equal(x, x); });
}

Tensor nan_to_num(const Tensor& x, const Replacements& replacements) {
  return named("nan_to_num", {&x}, [&] {
    if (!is_floating(x.dtype())) return x;
    const double largest =
        x.dtype() == f32 ? double{std::numeric_limits<float>::max()} : std::numeric_limits<double>::max();
    const Tensor above = equal(x, scalar_like(INFINITY, x)), below = equal(x, scalar_like(-INFINITY, x));
    const Tensor known = where(is_nan(x), scalar_like(replacements.nan, x), x);
    return where(above, scalar_like(replacements.infinity.value_or(largest), x),
                 where(below, scalar_like(replacements.minus_infinity.value_or(-largest), x), known));
  });
}

Tensor nansum(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return named("nansum", {&x}, [&] { return sum(where(is_nan(x), scalar_like(0, x), x), axes, keep); });
}
Tensor nanmean(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return named("nanmean", {&x},
               [&] { return nansum(x, axes, keep) / sum(cast(logical_not(is_nan(x)), x.dtype()), axes, keep); });
}

}  // namespace twopass
