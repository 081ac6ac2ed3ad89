// Functions that move elements, from slices, reshapes and gathers.
#pragma once
#include <cstdint>
#include <utility>
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

/// What stands around a tensor: of [a, b, c], two more on each side are [c, b, a, b, c, b, a] in `reflect`, [b, a, a,
/// b, c, c, b] in `symmetric`, [a, a, a, b, c, c, c] in `replicate` and [b, c, a, b, c, a, b] in `circular`.
enum class PadMode : std::uint8_t { reflect, symmetric, replicate, circular };
/// As pad in shaping.h, with elements of x around it; the gradient adds up where they come from. Refuses more than
/// there are: all but one in `reflect`, as many as there are in `symmetric` and `circular`, any in `replicate`.
Tensor pad(const Tensor& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& widths, PadMode mode);

/// [n, c r², h, w] as [n, c, h r, w r]: r² channels are the places in a square (Shi et al., 2016); and back. Refuses
/// sizes that r² or r does not divide.
Tensor pixel_shuffle(const Tensor& x, std::int64_t factor);
Tensor pixel_unshuffle(const Tensor& x, std::int64_t factor);
/// The channels of [n, c, ...] in turns from each of the groups (Zhang et al., 2018). Refuses groups that do not
/// divide.
Tensor channel_shuffle(const Tensor& x, std::int64_t groups);

/// The rows of a table [entries, width] at i64 indices: [...] gives [..., width]. Refuses indices that are not there,
/// negative ones too.
Tensor embedding(const Tensor& table, const Tensor& indices);
/// What is made of the rows of a bag.
enum class Bag : std::uint8_t { sum, mean, max };
/// The sum, mean or largest of the rows at indices [bags, size]: [bags, width]. Of an empty bag 0, but no largest.
Tensor embedding_bag(const Tensor& table, const Tensor& indices, Bag bag = Bag::mean);
/// The same for bags of different sizes: of indices [k] bag b has those from place offsets[b] to the next's, i64 and
/// not falling; what lies before the first is in none. Refuses Bag::max.
Tensor embedding_bag(const Tensor& table, const Tensor& indices, const Tensor& offsets, Bag bag = Bag::mean);

}  // namespace twopass
