// Ops that work element by element; inputs broadcast to each other by NumPy's rule.
#pragma once
#include <string>

#include <twopass/core/tensor.h>

namespace twopass {

/// -x.
Tensor neg(const Tensor& x);
/// |x|; the gradient at 0 is 0.
Tensor abs(const Tensor& x);
/// -1, 0 or 1; the gradient is 0.
Tensor sign(const Tensor& x);
/// e^x.
Tensor exp(const Tensor& x);
/// The natural logarithm; -inf at 0, NaN below.
Tensor log(const Tensor& x);
/// log(1 + x), accurate near 0.
Tensor log1p(const Tensor& x);
/// e^x - 1, accurate near 0.
Tensor expm1(const Tensor& x);
/// The square root; NaN below 0.
Tensor sqrt(const Tensor& x);
/// 1 / sqrt(x).
Tensor rsqrt(const Tensor& x);
/// x².
Tensor square(const Tensor& x);
/// 1 / x.
Tensor reciprocal(const Tensor& x);
/// The sine, the cosine and the hyperbolic tangent; angles are in radians.
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tanh(const Tensor& x);
/// 1 / (1 + e^-x).
Tensor sigmoid(const Tensor& x);
/// max(x, 0); the gradient at 0 is 0.
Tensor relu(const Tensor& x);
/// x where x > 0, else slope x.
Tensor leaky_relu(const Tensor& x, double slope = 0.2);
/// x where x > 0, else alpha (e^x - 1).
Tensor elu(const Tensor& x, double alpha = 1);
/// x Φ(x) with the normal distribution function Φ (Hendrycks and Gimpel, 2016), exact by erf.
Tensor gelu(const Tensor& x);
/// x sigmoid(x).
Tensor silu(const Tensor& x);
/// log(1 + e^x).
Tensor softplus(const Tensor& x);
/// x held to [low, high]; the gradient is 1 at the bounds. Where low > high: high, gradient 0.
Tensor clip(const Tensor& x, double low, double high);
/// The error function.
Tensor erf(const Tensor& x);
/// x converted to another dtype: floating to i64 truncates, to bool is x != 0.
Tensor cast(const Tensor& x, DType dtype);
/// x itself, refused where an element lies outside [low, high] (NaN passes), with `advice` behind the reason.
Tensor within(const Tensor& x, double low, double high, const std::string& advice = "");
/// x itself, as a node of its own.
Tensor identity(const Tensor& x);
/// x, through which no derivative passes. A node on symbols.
Tensor stop_gradient(const Tensor& x);

/// a + b, a - b, a b.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
/// a / b; of i64 it is the quotient rounded towards zero, and division by 0 is refused.
Tensor div(const Tensor& a, const Tensor& b);
/// a^b. For f32 and f64.
Tensor pow(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& a, double b);
/// The larger, the smaller; ties share the gradient evenly, NaN wins.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);
/// g d, but exactly 0 where g is 0, whatever d is; its own derivatives are the product rule's. For elementwise
/// gradients.
Tensor strong_mul(const Tensor& g, const Tensor& d);

/// g where y > 0, else 0: what passes back through a relu whose output is y.
Tensor gate(const Tensor& g, const Tensor& y);
/// g (1 - y²) and g y (1 - y), 0 where g is 0: what passes back through tanh and sigmoid whose output is y.
Tensor tanh_gradient(const Tensor& g, const Tensor& y);
Tensor sigmoid_gradient(const Tensor& g, const Tensor& y);
/// g (Φ(x) + x φ(x)), 0 where g is 0: what passes back through a gelu whose input is x.
Tensor gelu_gradient(const Tensor& g, const Tensor& x);

/// x + s d in one sweep, s a scalar: a step of size s along d.
Tensor add_scaled(const Tensor& x, const Tensor& s, const Tensor& d);

/// bool tensors.
Tensor equal(const Tensor& a, const Tensor& b);
Tensor not_equal(const Tensor& a, const Tensor& b);
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);
Tensor greater(const Tensor& a, const Tensor& b);
Tensor greater_equal(const Tensor& a, const Tensor& b);
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& a);
/// a where the bool tensor `condition` is true, b elsewhere; gradients flow to the chosen side only.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

/// A scalar of the dtype of `like`: how numbers in code take part (an i64 tensor refuses fractions).
Tensor scalar_like(double value, const Tensor& like);

inline Tensor operator-(const Tensor& x) { return neg(x); }
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& a, double b) { return add(a, scalar_like(b, a)); }
inline Tensor operator-(const Tensor& a, double b) { return sub(a, scalar_like(b, a)); }
inline Tensor operator*(const Tensor& a, double b) { return mul(a, scalar_like(b, a)); }
inline Tensor operator/(const Tensor& a, double b) { return div(a, scalar_like(b, a)); }
inline Tensor operator+(double a, const Tensor& b) { return add(scalar_like(a, b), b); }
inline Tensor operator-(double a, const Tensor& b) { return sub(scalar_like(a, b), b); }
inline Tensor operator*(double a, const Tensor& b) { return mul(scalar_like(a, b), b); }
inline Tensor operator/(double a, const Tensor& b) { return div(scalar_like(a, b), b); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return less(a, b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return less_equal(a, b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return greater(a, b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return greater_equal(a, b); }
inline Tensor operator<(const Tensor& a, double b) { return less(a, scalar_like(b, a)); }
inline Tensor operator<=(const Tensor& a, double b) { return less_equal(a, scalar_like(b, a)); }
inline Tensor operator>(const Tensor& a, double b) { return greater(a, scalar_like(b, a)); }
inline Tensor operator>=(const Tensor& a, double b) { return greater_equal(a, scalar_like(b, a)); }
inline Tensor operator<(double a, const Tensor& b) { return less(scalar_like(a, b), b); }
inline Tensor operator<=(double a, const Tensor& b) { return less_equal(scalar_like(a, b), b); }
inline Tensor operator>(double a, const Tensor& b) { return greater(scalar_like(a, b), b); }
inline Tensor operator>=(double a, const Tensor& b) { return greater_equal(scalar_like(a, b), b); }
/// The same with numbers, in the dtype of the tensor beside them.
inline Tensor maximum(const Tensor& a, double b) { return maximum(a, scalar_like(b, a)); }
inline Tensor maximum(double a, const Tensor& b) { return maximum(scalar_like(a, b), b); }
inline Tensor minimum(const Tensor& a, double b) { return minimum(a, scalar_like(b, a)); }
inline Tensor minimum(double a, const Tensor& b) { return minimum(scalar_like(a, b), b); }
inline Tensor where(const Tensor& condition, const Tensor& a, double b) {
  return where(condition, a, scalar_like(b, a));
}
inline Tensor where(const Tensor& condition, double a, const Tensor& b) {
  return where(condition, scalar_like(a, b), b);
}
inline Tensor equal(const Tensor& a, double b) { return equal(a, scalar_like(b, a)); }
inline Tensor not_equal(const Tensor& a, double b) { return not_equal(a, scalar_like(b, a)); }
inline Tensor less(const Tensor& a, double b) { return a < b; }
inline Tensor less_equal(const Tensor& a, double b) { return a <= b; }
inline Tensor greater(const Tensor& a, double b) { return a > b; }
inline Tensor greater_equal(const Tensor& a, double b) { return a >= b; }

}  // namespace twopass
