// Functions of whole lanes and of numbers that several kernels use. For the .cpp files of this folder.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include <twopass/ops/kernels.h>

namespace twopass::kernels {

/// NaN where x is NaN: some of Eigen's functions lose it where they hold x to a range.
template <typename L>
L keep_nan(const L& x, const L& y) {
  return (x == x).select(y, x);
}

/// e^x; Eigen's stops short of infinity.
template <typename L>
L exp_of(const L& x) {
  using T = typename L::Scalar;
  const T highest = std::is_same_v<T, float> ? T(88.72283935546875) : T(709.782712893384);
  const L y = x.exp();
  return keep_nan(x, L((x > highest).select(L::Constant(std::numeric_limits<T>::infinity()), y)));
}

template <typename L>
L sigmoid_of(const L& x) {
  return (L::Constant(1) + exp_of(L(-x))).inverse();
}

template <typename L>
L silu_of(const L& x) {
  const L y = x * sigmoid_of(x);
  return (x == -std::numeric_limits<typename L::Scalar>::infinity()).select(L::Constant(0), y);
}

template <typename L>
L tanh_of(const L& x) {
  return keep_nan(x, L(x.tanh()));
}

/// x Φ(x), by erfc where Φ is small, so that no digits cancel.
template <typename T>
T gelu_of(T x) {
  if (x == -std::numeric_limits<T>::infinity()) return 0;
  return x * T(0.5) * std::erfc(-x * T(std::numbers::sqrt2 / 2));
}

/// i64 arithmetic wraps around.
inline std::uint64_t unsigned_of(std::int64_t x) { return static_cast<std::uint64_t>(x); }
inline std::int64_t wrapped(std::uint64_t x) { return static_cast<std::int64_t>(x); }

}  // namespace twopass::kernels
