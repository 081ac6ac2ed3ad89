// The one function behind every product of matrices.
#pragma once
#include <cstdint>

namespace twopass {

/// c = op(a) op(b) for row-major matrices: op(a) is [m, k], op(b) is [k, n], c is [m, n] and is overwritten (with zeros
/// where k is 0). A transposed operand is stored [k, m] or [n, k]; lda, ldb and ldc are the elements from one stored
/// row to the next. f32 and f64. Cut into tiles by size alone: bit-equal for any number of threads.
template <typename T>
void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc);

}  // namespace twopass
