// Elements that are NaN or infinite: found, replaced, left out.
#pragma once
#include <optional>

#include <twopass/core/tensor.h>
#include <twopass/ops/reduction.h>

namespace twopass {

/// bool tensors. Of i64 and bool all is finite.
Tensor is_nan(const Tensor& x);
Tensor is_inf(const Tensor& x);
Tensor is_finite(const Tensor& x);

struct Replacements {
  double nan = 0;
  /// The largest and the lowest number of the dtype where none is named.
  std::optional<double> infinity = {};
  std::optional<double> minus_infinity = {};
};
/// x with numbers in place of NaN and infinities, through which no gradient passes; i64 and bool as they are.
Tensor nan_to_num(const Tensor& x, const Replacements& replacements = {});
/// The sum and the mean of the elements that are not NaN: of none 0 and NaN. No gradient passes to NaN.
Tensor nansum(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
Tensor nanmean(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);

}  // namespace twopass
