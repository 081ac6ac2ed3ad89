// Vectors of the width of this machine's registers, and the loop that computes with them. For the .cpp files of this
// folder. Arithmetic, comparisons and `mask ? a : b` are the compiler's; Eigen gives the fused multiply-add.
#pragma once
#include <Eigen/Core>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>

#include <twopass/ops/record.h>

namespace twopass::kernels {

constexpr std::size_t kVectorBytes = sizeof(Eigen::internal::packet_traits<float>::type);
using Floats [[gnu::vector_size(kVectorBytes)]] = float;
using Doubles [[gnu::vector_size(kVectorBytes)]] = double;

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Type = Floats;
  using Bits [[gnu::vector_size(kVectorBytes)]] = std::uint32_t;
};
template <>
struct VectorOf<double> {
  using Type = Doubles;
  using Bits [[gnu::vector_size(kVectorBytes)]] = std::uint64_t;
};
template <typename T>
using Vector = typename VectorOf<T>::Type;
template <typename V>
using Element = std::decay_t<decltype(V{}[0])>;
template <typename V>
using Bits = typename VectorOf<Element<V>>::Bits;
template <typename V>
constexpr std::int64_t kWidth = sizeof(V) / sizeof(V{}[0]);

template <typename V>
[[gnu::always_inline]] inline V all(Element<V> x) {
  return x - V{};  // not a sum: that would take the sign of -0
}

/// a b + c, in one rounding where the processor can.
template <typename V>
[[gnu::always_inline]] inline V fma(const V& a, const V& b, const V& c) {
  using Packet = typename Eigen::internal::packet_traits<Element<V>>::type;
  return std::bit_cast<V>(
      Eigen::internal::pmadd(std::bit_cast<Packet>(a), std::bit_cast<Packet>(b), std::bit_cast<Packet>(c)));
}
template <typename V>
[[gnu::always_inline]] inline V fma(const V& a, const V& b, Element<V> c) {
  return fma(a, b, all<V>(c));
}
template <typename V>
[[gnu::always_inline]] inline V fma(const V& a, Element<V> b, const V& c) {
  return fma(a, all<V>(b), c);
}

/// c[0] + c[1] x + c[2] x² + …
template <typename V, std::size_t N>
[[gnu::always_inline]] inline V polynomial(const V& x, const Element<V> (&c)[N]) {
  V sum = all<V>(c[N - 1]);
  for (std::size_t k = N - 1; k > 0; --k) sum = fma(sum, x, c[k - 1]);
  return sum;
}

template <typename V>
[[gnu::always_inline]] inline Bits<V> bits(const V& x) {
  return std::bit_cast<Bits<V>>(x);
}
template <typename V>
constexpr auto kSignBit = std::bit_cast<std::decay_t<decltype(Bits<V>{}[0])>>(Element<V>(-0.0));

template <typename V>
[[gnu::always_inline]] inline V magnitude(const V& x) {
  return std::bit_cast<V>(bits(x) & ~kSignBit<V>);
}
/// |x| with the sign of `from`.
template <typename V>
[[gnu::always_inline]] inline V with_sign(const V& x, const V& from) {
  return std::bit_cast<V>((bits(x) & ~kSignBit<V>) | (bits(from) & kSignBit<V>));
}

template <typename V>
[[gnu::always_inline]] inline V load(const Element<V>* from) {
  V x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

/// to = f(vectors…), the last ones filled up: so an element's result does not depend on its place.
template <typename T, typename F, std::size_t... K>
void by_vectors_of(std::span<const Operand> in, T* to, std::int64_t n, const F& f, std::index_sequence<K...>) {
  using V = Vector<T>;
  constexpr std::size_t kInputs = sizeof...(K);
  using Starts = std::array<const T*, kInputs>;
  const V splat[] = {all<V>(*in[K].data<T>())...};
  // The one place that calls f, so that f becomes part of the loop.
  const auto whole = [&](const Starts& from, T* out, std::int64_t count, bool one = false) {
    for (std::int64_t at = 0; at < count; at += kWidth<V>) {
      const V y = f((one || in[K].splat ? splat[K] : load<V>(from[K] + at))...);
      std::memcpy(out + at, &y, sizeof y);
    }
  };
  const Starts starts{in[K].data<T>()...};
  const std::int64_t rest = n % kWidth<V>, first = n - rest;
  if (first > 0) whole(starts, to, first);
  if (rest == 0) return;
  T result[kWidth<V>];
  if (n == 1) {
    whole(starts, result, kWidth<V>, true);
    *to = result[0];
    return;
  }
  V padded[] = {splat[K]...};
  const std::size_t bytes = static_cast<std::size_t>(rest) * sizeof(T);
  ((in[K].splat ? void() : void(std::memcpy(&padded[K], starts[K] + first, bytes))), ...);
  whole({reinterpret_cast<const T*>(&padded[K])...}, result, kWidth<V>);
  std::memcpy(to + first, result, bytes);
}

/// The same for f32 and f64.
template <std::size_t Inputs, typename F>
void by_vectors(std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype, const F& f) {
  if (dtype == f32)
    by_vectors_of(in, reinterpret_cast<float*>(out), n, f, std::make_index_sequence<Inputs>());
  else
    by_vectors_of(in, reinterpret_cast<double*>(out), n, f, std::make_index_sequence<Inputs>());
}

}  // namespace twopass::kernels
