// The one function behind every product of matrices.
#pragma once
#include <cstdint>
#include <string>
#include <type_traits>

#include <twopass/core/dtype.h>
#include <twopass/ops/precision.h>

namespace twopass {

/// While it lives, says whether products that this thread asks for may be computed as their transposes, as narrow ones
/// are by default (weight gradients and some outputs of narrow layers): the same bits, faster.
class TurnScope {
 public:
  explicit TurnScope(bool turn);
  ~TurnScope();
  TurnScope(const TurnScope&) = delete;
  TurnScope& operator=(const TurnScope&) = delete;

 private:
  bool before_;
};
bool products_turn();

/// What becomes of a product's elements while they are in registers: c = relu(add + (alpha ab + bias)), in this order.
template <typename T>
struct GemmOptions {
  T alpha = 1;
  /// One for each column of c, or none.
  const T* bias = nullptr;
  /// A matrix of c's size with its own step between rows, or none. It may be c itself, which is then added to, but may
  /// not overlap it otherwise.
  const T* add = nullptr;
  std::int64_t ldadd = 0;
  bool relu = false;
  /// What is done to runs of a row's elements at last, while they are in cache, if anything: another activation.
  void (*then)(T* c, std::int64_t n) = nullptr;
  /// Of products of f32. By default that of the scope of the thread that makes these options: make them before tiles.
  Precision precision = products_precision();
  /// Likewise.
  bool turns = products_turn();
};

/// c = op(a) op(b) for row-major matrices: op(a) is [m, k], op(b) is [k, n], c is [m, n] and is overwritten (k may be
/// 0: a product over nothing is zeros). A transposed operand is stored [k, m] or [n, k]; lda, ldb and ldc are the
/// elements from one stored row to the next. f32 and f64. The options change each element as the same operations on
/// the finished product would, bit for bit. Cut into tiles by size alone: bit-equal for any number of threads.
template <typename T>
void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc,
          const std::type_identity_t<GemmOptions<T>>& options = {});

/// Whether such a product is computed as its transpose.
bool turns_product(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, DType dtype);

/// Bytes of memory that such a product takes while it runs, on all threads together; `added`: whether it is added to c
/// itself.
std::int64_t gemm_scratch(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                          DType dtype, bool added);

/// Whether a product of f32 is computed in bf16 here: in its precision, and large enough to convert for.
bool halves_product(std::int64_t m, std::int64_t n, std::int64_t k);

/// What computes products, such as "oneDNN 2.6.3 (AVX2), and panels in registers, …".
std::string products_library();

}  // namespace twopass
