// Logarithms to other bases, and the functions that probability needs.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>

namespace twopass {

/// Logarithms to base 2 and 10.
Tensor log2(const Tensor& x);
Tensor log10(const Tensor& x);
/// 1 - erf(x), accurate where that is small.
Tensor erfc(const Tensor& x);
/// log |Γ(x)|; inf at 0 and the negative integers.
Tensor lgamma(const Tensor& x);
/// ψ(x), the derivative of lgamma; ∓inf at ±0 and NaN at the negative integers.
Tensor digamma(const Tensor& x);
/// The derivative of digamma of an order in 0 … 30; order 0 is digamma itself.
Tensor polygamma(std::int64_t order, const Tensor& x);
/// log(e^a + e^b) without overflow; -inf where both are.
Tensor logaddexp(const Tensor& a, const Tensor& b);
/// x log y, but 0 where x is 0 (unless y is NaN); so is the gradient of x where y is at most 0 there.
Tensor xlogy(const Tensor& x, const Tensor& y);

/// x log(1 + y), accurate where y is small, but 0 where x is 0 (unless y is NaN); so is the gradient of x there where y
/// is at most -1 or infinite.
Tensor xlog1py(const Tensor& x, const Tensor& y);
/// log(x / (1 - x)), the inverse of sigmoid: ∓inf at 0 and 1, NaN outside. x is held to [epsilon, 1 - epsilon] first.
Tensor logit(const Tensor& x, double epsilon = 0);
/// sin(π x) / (π x), 1 at 0, with derivatives that keep their digits near 0.
Tensor sinc(const Tensor& x);

}  // namespace twopass
