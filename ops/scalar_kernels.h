// Kernels of elementwise ops that are a function of one number or of two. For the .cpp files of this folder.
#pragma once
#include <twopass/ops/kernels.h>

namespace twopass::kernels {

/// y = f(x) for f32 and f64, f a lambda.
template <auto f>
void of_one(const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
  by_floats<1>(in, out, n, dtype, f);
}
/// y = f(a, b).
template <auto f>
void of_two(const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
  by_floats<2>(in, out, n, dtype, f);
}

}  // namespace twopass::kernels
