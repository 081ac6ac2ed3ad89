// Functions that move elements, from slices, reshapes and gathers.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// The elements along an axis in opposite order.
Tensor flip(const Tensor& x, int axis);
/// The elements along an axis moved `shift` places towards its end; those that leave come in again at the other.
Tensor roll(const Tensor& x, std::int64_t shift, int axis);
/// x several times along its axes, one number an axis: [a, b] twice is [a, b, a, b].
Tensor tile(const Tensor& x, const std::vector<std::int64_t>& times);
/// Each element several times along an axis: [a, b] twice is [a, a, b, b].
Tensor repeat(const Tensor& x, std::int64_t times, int axis);
/// The axis `from` at the place `to`, the others in their order.
Tensor moveaxis(const Tensor& x, int from, int to);
/// Parts of size 1 along an axis, without it.
Tensors unstack(const Tensor& x, int axis = 0);

/// The diagonal of the last two axes, `offset` above the main one: [..., m, n] gives [..., k].
Tensor diagonal(const Tensor& x, std::int64_t offset = 0);
/// A matrix of zeros with x [..., n] on its diagonal.
Tensor diag(const Tensor& x);
/// The sum of the diagonal of the last two axes.
Tensor trace(const Tensor& x);
/// What is on and below (above) the diagonal `offset` above the main one of the last two axes; 0 elsewhere.
Tensor tril(const Tensor& x, std::int64_t offset = 0);
Tensor triu(const Tensor& x, std::int64_t offset = 0);

/// The rows of a table [entries, width] at i64 indices: [...] gives [..., width]. Refuses indices that are not there.
Tensor embedding(const Tensor& table, const Tensor& indices);

}  // namespace twopass
