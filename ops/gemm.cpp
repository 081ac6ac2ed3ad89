#include <twopass/ops/gemm.h>

#include <algorithm>
#include <vector>

#include <twopass/core/memory.h>
#include <twopass/core/threads.h>
#include <twopass/ops/gemm_kernel.h>

namespace twopass {
namespace {

constexpr std::int64_t kTileWork = 4 << 20;   // multiply-adds of one tile: an eighth of all, between these two,
constexpr std::int64_t kMostWork = 32 << 20;  // as each tile packs the uncut operand again
constexpr std::int64_t kSmall = 1 << 20;      // multiply-adds below which a product is never cut: 2 MFLOP
constexpr std::int64_t kRowStep = 48;         // tiles end where groups of rows
constexpr std::int64_t kColumnStep = 128;     // and panels do

// A step between rows of so many elements that those below each other do not share a set of the cache.
std::int64_t apart(std::int64_t columns) { return (columns + 31) / 32 * 32 + 16; }

template <typename T>
struct Product {
  bool transpose_a, transpose_b;
  std::int64_t m, n, k;
  const T* a;
  std::int64_t lda;
  const T* b;
  std::int64_t ldb;
  T* c;
  std::int64_t ldc;
  GemmOptions<T> options;

  gemm_kernel::Strided<T> left() const { return {a, transpose_a ? 1 : lda, transpose_a ? lda : 1}; }
  gemm_kernel::Strided<T> right() const { return {b, transpose_b ? ldb : 1, transpose_b ? 1 : ldb}; }

  // Vector lanes are filled along the columns of the result. Where those are few and many rows lie side by side in
  // memory (the weight gradient of a narrow layer), the transposed result is faster, even with the turn.
  bool better_turned() const { return transpose_a && n <= gemm_kernel::kNarrow && m >= 4 * n; }

  // c can't hold unfinished sums while it is what they are added to.
  bool needs_sums() const { return options.add == c && k > gemm_kernel::kDepth; }

  void run() const {
    if (better_turned()) {
      const std::int64_t stride = apart(m);
      const Buffer memory(static_cast<std::size_t>(n * stride) * sizeof(T));
      T* const sums = reinterpret_cast<T*>(memory.data());
      gemm_kernel::multiply(n, m, k, right(), left(), sums, stride);
      return gemm_kernel::finish_turned(sums, stride, m, n, c, ldc, options);
    }
    if (!needs_sums()) return gemm_kernel::multiply(m, n, k, left(), right(), c, ldc, options);
    const Buffer memory(static_cast<std::size_t>(m * n) * sizeof(T));
    T* const sums = reinterpret_cast<T*>(memory.data());
    gemm_kernel::multiply(m, n, k, left(), right(), sums, n);
    for (std::int64_t row = 0; row < m; ++row)
      gemm_kernel::finish_row(sums + row * n, c + row * ldc, n, gemm_kernel::options_at(options, row, 0));
  }

  Product rows(std::int64_t first, std::int64_t count) const {
    Product part = *this;
    part.m = count;
    part.a += transpose_a ? first : first * lda;
    part.c += first * ldc;
    part.options = gemm_kernel::options_at(options, first, 0);
    return part;
  }
  Product columns(std::int64_t first, std::int64_t count) const {
    Product part = *this;
    part.n = count;
    part.b += transpose_b ? first * ldb : first;
    part.c += first;
    part.options = gemm_kernel::options_at(options, 0, first);
    return part;
  }
};

}  // namespace

template <typename T>
void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc,
          const std::type_identity_t<GemmOptions<T>>& options) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    const std::vector<T> nothing(static_cast<std::size_t>(n), T{0});
    for (std::int64_t row = 0; row < m; ++row)
      gemm_kernel::finish_row(nothing.data(), c + row * ldc, n, gemm_kernel::options_at(options, row, 0));
    return;
  }
  const Product<T> whole{transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc, options};
  const bool by_rows = m >= n;
  const std::int64_t length = by_rows ? m : n;
  const std::int64_t work_each = (by_rows ? n : m) * k;  // of one row or column
  const std::int64_t tile_work = std::clamp(length * work_each / 8, kTileWork, kMostWork);
  const std::int64_t least = m * n <= kSmall / k ? length : std::max<std::int64_t>(1, tile_work / work_each);
  const std::int64_t unit = by_rows ? kRowStep : kColumnStep;
  const std::int64_t step = (least + unit - 1) / unit * unit;
  if (step >= length) return whole.run();
  parallel_for((length + step - 1) / step, [&](std::int64_t tile) {
    const std::int64_t first = tile * step, count = std::min(step, length - first);
    (by_rows ? whole.rows(first, count) : whole.columns(first, count)).run();
  });
}

template void gemm(bool, bool, std::int64_t, std::int64_t, std::int64_t, const float*, std::int64_t, const float*,
                   std::int64_t, float*, std::int64_t, const GemmOptions<float>&);
template void gemm(bool, bool, std::int64_t, std::int64_t, std::int64_t, const double*, std::int64_t, const double*,
                   std::int64_t, double*, std::int64_t, const GemmOptions<double>&);

}  // namespace twopass
