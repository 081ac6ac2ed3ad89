// Kernels over the classes of rows, shared by softmax and the cross-entropies.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <twopass/core/dtype.h>
#include <twopass/ops/functions.h>
#include <twopass/ops/reduction_kernels.h>

namespace twopass::classes {

/// e^x for x up to 0, exactly 0 below the smallest normal number and NaN of NaN.
template <typename V>
[[gnu::always_inline]] inline V exponential(const V& x) {
  using T = kernels::Element<V>;
  constexpr T kLowest = std::is_same_v<T, float> ? T(-87.33654) : T(-708.3964);
  return x < kLowest ? V{} : kernels::power_of(kernels::reduced(x)).value();
}

/// The same in place.
template <typename T>
void exponentials(T* x, std::int64_t n) {
  const Operand run{reinterpret_cast<const std::byte*>(x), false};
  kernels::by_vectors_of(
      {&run, 1}, x, n, [](const auto& each) { return exponential(each); }, std::index_sequence<0>());
}

/// The largest of n elements, -inf of none; a NaN may be passed over (e^NaN shows it later).
template <typename T>
T largest(const T* x, std::int64_t n) {
  constexpr std::int64_t kWidth = 32;
  T most = -std::numeric_limits<T>::infinity();
  std::int64_t k = 0;
  if (n >= kWidth) {
    T lanes[kWidth];
    std::copy_n(x, kWidth, lanes);
    for (k = kWidth; k + kWidth <= n; k += kWidth)
      for (std::int64_t lane = 0; lane < kWidth; ++lane)
        lanes[lane] = x[k + lane] > lanes[lane] ? x[k + lane] : lanes[lane];
    for (const T lane : lanes) most = lane > most ? lane : most;
  }
  for (; k < n; ++k) most = x[k] > most ? x[k] : most;
  return most;
}

/// The pairwise sum of n elements.
template <typename T>
T total(const T* x, std::int64_t n) {
  return reduction::reduce_run<T>(reduction::Adding<T>(), x, n, 0);
}

/// The pairwise sum of n products.
template <typename T>
T dot(const T* a, const T* b, std::int64_t n) {
  if (n > reduction::kLeaf) {
    const std::int64_t half = (n / 2 + reduction::kLeaf - 1) / reduction::kLeaf * reduction::kLeaf;
    const T left = dot(a, b, half);
    return left + dot(a + half, b + half, n - half);
  }
  constexpr std::int64_t kLanes = reduction::kLanes;
  T lanes[kLanes] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes)
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[k + lane] * b[k + lane];
  for (std::int64_t width = kLanes / 2; width > 0; width /= 2)
    for (std::int64_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  for (; k < n; ++k) lanes[0] += a[k] * b[k];
  return lanes[0];
}

/// Calls `body(first, count)` for blocks of rows of n elements, small enough to stay in the first cache.
template <typename Body>
void for_blocks(std::int64_t rows, std::int64_t n, const Body& body) {
  constexpr std::int64_t kBlock = 2048;
  const std::int64_t each = std::max<std::int64_t>(1, kBlock / std::max<std::int64_t>(1, n));
  reduction::for_units((rows + each - 1) / each, each * n,
                       [&](std::int64_t unit) { body(unit * each, std::min(each, rows - unit * each)); });
}

/// y = e^(x - max) of each of `rows` rows of n elements.
template <typename T>
void shifted_exponentials(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  constexpr std::int64_t kLong = 256;  // elements of a row whose last vector may be partly empty
  for (std::int64_t row = 0; row < rows; ++row) {
    const T most = largest(x + row * n, n);
    if (n < kLong) {
      for (std::int64_t k = row * n; k < (row + 1) * n; ++k) y[k] = x[k] - most;
      continue;
    }
    const Operand both[]{{reinterpret_cast<const std::byte*>(x + row * n), false},
                         {reinterpret_cast<const std::byte*>(&most), true}};
    kernels::by_vectors_of(
        both, y + row * n, n, [](const auto& each, const auto& high) { return exponential(each - high); },
        std::index_sequence<0, 1>());
  }
  if (n < kLong) exponentials(y, rows * n);
}

/// y = softmax(x) of each of `rows` rows of n elements.
template <typename T>
void softmax_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  shifted_exponentials(x, y, rows, n);
  for (std::int64_t row = 0; row < rows; ++row) {
    const T share = 1 / total(y + row * n, n);
    for (std::int64_t k = row * n; k < (row + 1) * n; ++k) y[k] *= share;
  }
}

}  // namespace twopass::classes
