// What the records of products share. For the .cpp files of this folder.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include <twopass/ops/op.h>

namespace twopass::products {

/// Refuses what is not f32 or f64, and mixtures.
void check_dtypes(const Specs& in);
/// Refuses inner sizes that differ.
void check_inner(std::int64_t columns, std::int64_t rows);
/// [..., n] as [rows, n].
Tensor as_rows(const Tensor& x);
/// matmul of tensors of two axes or more.
Tensor product(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b);

/// How a product of x and w (two axes) without transposition takes over the consumer's work as an affine: a bias or
/// relu.
std::optional<Absorbed> absorb_into_affine(const Consumer& consumer);

std::vector<const Op*> matmul_ops();
std::vector<const Op*> affine_ops();

}  // namespace twopass::products
