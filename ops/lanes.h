// Functions of whole lanes and of numbers that several kernels use. For the .cpp files of this folder.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include <twopass/ops/kernels.h>

namespace twopass::kernels {

/// f(packet of x, packet of y) for all of two lanes. Eigen's own select works element by element.
template <typename L, typename F>
L by_packets(const L& x, const L& y, const F& f) {
  using T = typename L::Scalar;
  using Packet = typename Eigen::internal::packet_traits<T>::type;
  constexpr Eigen::Index kWidth = Eigen::internal::packet_traits<T>::size;
  L result;
  for (Eigen::Index k = 0; k < L::RowsAtCompileTime; k += kWidth)
    Eigen::internal::pstoreu(result.data() + k, f(Eigen::internal::ploadu<Packet>(x.data() + k),
                                                  Eigen::internal::ploadu<Packet>(y.data() + k)));
  return result;
}

/// NaN where x is NaN: some of Eigen's functions lose it where they hold x to a range.
template <typename L>
L keep_nan(const L& x, const L& y) {
  return by_packets(x, y, [](const auto& from, const auto& to) {
    return Eigen::internal::pselect(Eigen::internal::pcmp_eq(from, from), to, from);
  });
}

/// e^x; Eigen's stops short of infinity.
template <typename L>
L exp_of(const L& x) {
  using T = typename L::Scalar;
  return by_packets(x, L(x.exp()), [](const auto& from, const auto& to) {
    using namespace Eigen::internal;
    using Packet = std::decay_t<decltype(from)>;
    const Packet highest = pset1<Packet>(std::is_same_v<T, float> ? T(88.72283935546875) : T(709.782712893384));
    const Packet bounded = pselect(pcmp_lt(highest, from), pset1<Packet>(std::numeric_limits<T>::infinity()), to);
    return pselect(pcmp_eq(from, from), bounded, from);
  });
}

template <typename L>
L sigmoid_of(const L& x) {
  return (L::Constant(1) + exp_of(L(-x))).inverse();
}

/// x sigmoid(x), and its limit 0 at -inf.
template <typename L>
L silu_of(const L& x) {
  using T = typename L::Scalar;
  return by_packets(x, L(x * sigmoid_of(x)), [](const auto& from, const auto& to) {
    using namespace Eigen::internal;
    using Packet = std::decay_t<decltype(from)>;
    return pselect(pcmp_eq(from, pset1<Packet>(-std::numeric_limits<T>::infinity())), pzero(to), to);
  });
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
