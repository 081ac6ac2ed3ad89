// oneDNN behind gemm and convolution, one thread at a time. Each function says whether it did the work: it does not
// where the build has no oneDNN, or oneDNN has no fast way. For the .cpp files of this folder.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include <twopass/ops/convolution_kernels.h>

namespace twopass::onednn {

/// "oneDNN 2.6.3 (AVX-512 with bf16)", or empty where there is none to use.
std::string description();
bool has_bf16();

/// The sizes of c = op(a) op(b) as gemm has them.
struct Product {
  bool transpose_a, transpose_b;
  std::int64_t m, n, k, lda, ldb, ldc;
};
bool multiply(const Product& product, const float* a, const float* b, float* c);
/// Of bf16 elements.
bool multiply(const Product& product, const std::uint16_t* a, const std::uint16_t* b, float* c);
/// What one takes while it runs, or nothing where it would not do the work.
std::optional<std::int64_t> scratch_bytes(const Product& product, bool bf16);

/// As convolution's functions of these names; with `bf16` they multiply in it. Tiles are images, so many by size alone.
bool forward(const convolution::Sizes& sizes, bool bf16, const float* x, const float* kernel,
             const convolution::Ending<float>& ending, float* y);
bool input_gradient(const convolution::Sizes& sizes, bool bf16, const float* g, const float* kernel, float* dx);
bool kernel_gradient(const convolution::Sizes& sizes, bool bf16, const float* x, const float* g, float* dk);

/// The blocks that oneDNN's fastest kernel for the product has, in f32 or bf16: 0 where it has none, or does not
/// divide.
convolution::Sizes in_liked_blocks(convolution::Product product, const convolution::Sizes& sizes, bool bf16);

/// What these take while they run, on all threads together, or nothing where they would not do the work.
std::optional<std::int64_t> scratch_bytes(convolution::Product product, const convolution::Sizes& sizes, bool bf16);

}  // namespace twopass::onednn
