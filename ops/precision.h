// The precision of products.
#pragma once
#include <cstdint>

namespace twopass {

/// In which precision products of f32 tensors multiply: f32 (single) or bf16; sums are always f32. bf16 has f32's range
/// and 8 bits.
enum class Precision : std::uint8_t { single, bf16 };

/// Whether this build and this processor multiply in bf16 (oneDNN, with AVX512-BF16 or AMX).
bool bf16_available();

/// While it lives, products and convolutions of f32 tensors that this thread asks for multiply in a precision; small
/// ones may stay in f32. Refuses bf16 where it is not available.
class PrecisionScope {
 public:
  explicit PrecisionScope(Precision precision);
  ~PrecisionScope();
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  Precision before_;
};
/// That of the innermost scope of this thread, or single.
Precision products_precision();

}  // namespace twopass
