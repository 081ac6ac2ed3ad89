// Circular and hyperbolic functions and their inverses; angles are in radians.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// The tangent and its inverse, whose angles are in [-π/2, π/2].
Tensor tan(const Tensor& x);
Tensor atan(const Tensor& x);
/// In [-π/2, π/2]; NaN beyond ±1, gradient inf at ±1.
Tensor asin(const Tensor& x);
/// In [0, π]; NaN beyond ±1, gradient -inf at ±1.
Tensor acos(const Tensor& x);
/// The hyperbolic functions (tanh is in elementwise.h) and their inverses.
Tensor sinh(const Tensor& x);
Tensor cosh(const Tensor& x);
Tensor asinh(const Tensor& x);
/// At least 0; NaN below 1.
Tensor acosh(const Tensor& x);
/// ±inf at ±1, NaN beyond.
Tensor atanh(const Tensor& x);
/// The angle of the point (b, a) in [-π, π]; 0 at (0, 0) with gradients 0.
Tensor atan2(const Tensor& a, const Tensor& b);
/// sqrt(a² + b²) without overflow; the gradients at (0, 0) are 0.
Tensor hypot(const Tensor& a, const Tensor& b);

}  // namespace twopass
