// Loops of elementwise kernels over numbers (ops/vectors.h has the one over vectors). For the .cpp files of this
// folder.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <type_traits>

#include <twopass/ops/record.h>

namespace twopass::kernels {

/// i64 arithmetic wraps around.
inline std::uint64_t unsigned_of(std::int64_t x) { return static_cast<std::uint64_t>(x); }
inline std::int64_t wrapped(std::uint64_t x) { return static_cast<std::int64_t>(x); }

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
