// What the records of products share. For the .cpp files of this folder.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <twopass/ops/gemm.h>
#include <twopass/ops/products.h>
#include <twopass/ops/record.h>

namespace twopass::products {

/// Refuses what is not f32 or f64, and mixtures.
void check_dtypes(const Specs& in);
/// Refuses inner sizes that differ.
void check_inner(std::int64_t columns, std::int64_t rows);
/// [..., n] as [rows, n].
Tensor as_rows(const Tensor& x);
/// matmul of tensors of two axes or more.
Tensor product(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b);

struct MatmulArgs {
  bool transpose_a = false;
  bool transpose_b = false;
  static constexpr auto fields =
      std::tuple{field("transpose_a", &MatmulArgs::transpose_a), field("transpose_b", &MatmulArgs::transpose_b)};
};
/// The shape of a product; refuses what does not go together.
Shape product_shape(const MatmulArgs& args, const Shape& a, const Shape& b);
double product_work(const MatmulArgs& args, const Shape& a, const Shape& b);
/// Bytes that it takes while it runs; `added`: whether it may be added to what lies in its output's memory.
std::int64_t product_scratch(const MatmulArgs& args, const Shape& a, const Shape& b, DType dtype, bool added);
/// "turned", where it is computed as its transpose, or "in bf16".
std::string product_note(const MatmulArgs& args, const Shape& a, const Shape& b, DType dtype);

/// What becomes of a product: activation(add + (scale ab + bias)), without what is null.
struct Ending {
  const View *add = nullptr, *scale = nullptr, *bias = nullptr;
  FusedActivation activation = FusedActivation::linear;
};
/// Every product of a batch. What is added is of the output's shape, and may be its memory.
void multiply(const MatmulArgs& args, const View& a, const View& b, const Ending& ending, Output out);
/// Lets a product end with an activation.
template <typename T>
void set_activation(GemmOptions<T>& options, FusedActivation activation);

/// Where a product without activation has its inputs: the factors, and a bias and what it is added to, or kNone.
constexpr int kNone = 1 << 20;
struct Unfinished {
  MatmulArgs args = {};
  int a = 0, b = 1, bias = kNone, add = kNone;
};
/// How such a product takes over its consumer's work: a bias, a matrix that is added, or an activation.
std::optional<Absorbed> absorb(const Unfinished& product, const Consumer& consumer);

const Op& affine_record(FusedActivation activation);
const TypedOp<MatmulArgs>& multiply_add_op();

std::vector<const Op*> matmul_ops();
std::vector<const Op*> affine_ops();
std::vector<const Op*> fused_product_ops();

}  // namespace twopass::products
