// Loops of elementwise kernels. For the .cpp files of this folder.
#pragma once
#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <type_traits>

#include <twopass/ops/op.h>

namespace twopass::kernels {

/// 64 bytes of elements. Functions that Eigen computes approximately are always computed on whole lanes, tails padded,
/// so that an element's result does not depend on its place.
template <typename T>
using Lane = Eigen::Array<T, 64 / sizeof(T), 1>;

template <typename T>
Lane<T> load(const Operand& x, std::int64_t at) {
  return x.splat ? Lane<T>(Lane<T>::Constant(*x.data<T>())) : Lane<T>(Eigen::Map<const Lane<T>>(x.data<T>() + at));
}
template <typename T>
Lane<T> load_tail(const Operand& x, std::int64_t at, std::int64_t n) {
  if (x.splat) return Lane<T>::Constant(*x.data<T>());
  Lane<T> lane = Lane<T>::Constant(x.data<T>()[n - 1]);
  std::copy(x.data<T>() + at, x.data<T>() + n, lane.data());
  return lane;
}

template <typename T, typename F, std::size_t... K>
void by_lanes_of(std::span<const Operand> in, T* to, std::int64_t n, const F& f, std::index_sequence<K...>) {
  constexpr std::int64_t kWidth = Lane<T>::RowsAtCompileTime;
  std::int64_t at = 0;
  for (; at + kWidth <= n; at += kWidth) Eigen::Map<Lane<T>>(to + at) = f(load<T>(in[K], at)...);
  if (at == n) return;
  const Lane<T> last = f(load_tail<T>(in[K], at, n)...);
  std::copy(last.data(), last.data() + (n - at), to + at);
}

/// to = f(lanes…) for f32 and f64.
template <std::size_t Inputs, typename F>
void by_lanes(std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype, const F& f) {
  if (dtype == f32)
    by_lanes_of(in, reinterpret_cast<float*>(out), n, f, std::make_index_sequence<Inputs>());
  else
    by_lanes_of(in, reinterpret_cast<double*>(out), n, f, std::make_index_sequence<Inputs>());
}

template <typename T, typename R, typename F>
void unary_loop(const Operand& x, R* to, std::int64_t n, const F& f) {
  const T* a = x.data<T>();
  if (x.splat)
    std::fill(to, to + n, f(a[0]));
  else
    for (std::int64_t k = 0; k < n; ++k) to[k] = f(a[k]);
}

template <typename T, typename R, typename F>
void binary_loop(std::span<const Operand> in, R* to, std::int64_t n, const F& f) {
  const T *a = in[0].data<T>(), *b = in[1].data<T>();
  if (in[0].splat && in[1].splat)
    std::fill(to, to + n, f(*a, *b));
  else if (in[0].splat)
    for (std::int64_t k = 0; k < n; ++k) to[k] = f(*a, b[k]);
  else if (in[1].splat)
    for (std::int64_t k = 0; k < n; ++k) to[k] = f(a[k], *b);
  else
    for (std::int64_t k = 0; k < n; ++k) to[k] = f(a[k], b[k]);
}

/// to = f(x) or f(a, b), element by element, for the dtypes in which f can be called; f is exact (IEEE operations only)
/// or scalar, so that the compiler may vectorise it as it likes.
template <std::size_t Inputs, typename F>
void by_elements(std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype, const F& f) {
  dispatch(dtype, [&]<typename T>() {
    if constexpr (Inputs == 1) {
      if constexpr (std::is_invocable_v<F, T>)
        unary_loop<T>(in[0], reinterpret_cast<std::invoke_result_t<F, T>*>(out), n, f);
    } else {
      if constexpr (std::is_invocable_v<F, T, T>)
        binary_loop<T>(in, reinterpret_cast<std::invoke_result_t<F, T, T>*>(out), n, f);
    }
  });
}

/// The same for ops of f32 and f64 alone.
template <std::size_t Inputs, typename F>
void by_floats(std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype, const F& f) {
  const auto go = [&]<typename T>() {
    if constexpr (Inputs == 1)
      unary_loop<T>(in[0], reinterpret_cast<T*>(out), n, f);
    else
      binary_loop<T>(in, reinterpret_cast<T*>(out), n, f);
  };
  if (dtype == f32)
    go.template operator()<float>();
  else
    go.template operator()<double>();
}

}  // namespace twopass::kernels
