#include <twopass/ops/not_finite.h>

#include <cmath>
#include <limits>

#include <twopass/ops/elementwise.h>

namespace twopass {

Tensor is_nan(const Tensor& x) { return not_equal(x, x); }
Tensor is_inf(const Tensor& x) { return equal(abs(x), scalar_like(INFINITY, x)); }
Tensor is_finite(const Tensor& x) { return less(abs(x), scalar_like(INFINITY, x)); }

Tensor nan_to_num(const Tensor& x, const Replacements& replacements) {
  const double largest =
      x.dtype() == f32 ? double{std::numeric_limits<float>::max()} : std::numeric_limits<double>::max();
  const Tensor above = equal(x, scalar_like(INFINITY, x)), below = equal(x, scalar_like(-INFINITY, x));
  const Tensor known = where(is_nan(x), scalar_like(replacements.nan, x), x);
  return where(above, scalar_like(replacements.infinity.value_or(largest), x),
               where(below, scalar_like(replacements.minus_infinity.value_or(-largest), x), known));
}

Tensor nansum(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return sum(where(is_nan(x), scalar_like(0, x), x), axes, keep);
}
Tensor nanmean(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return nansum(x, axes, keep) / sum(cast(logical_not(is_nan(x)), x.dtype()), axes, keep);
}

}  // namespace twopass
