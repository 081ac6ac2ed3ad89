// Many calls of one op as one call over tensors that lie side by side along a new first axis.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/ops/record.h>

namespace twopass {

/// What a call gives for each of n inputs, along a new first axis of n: inputs marked in `which` have one for
/// each call, along such an axis; the others are the same for all. By the op's rule for that, or call by call.
Tensor apply_stacked(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                     const std::vector<bool>& which);

/// For rules in records: an axis counted from the front lies one further back behind the new one.
constexpr std::int64_t behind_first(std::int64_t axis) { return axis < 0 ? axis : axis + 1; }
/// The inputs with axes of size 1 between the new one and their own, so that they broadcast as their parts do.
Tensors aligned(const Tensors& inputs, const std::vector<bool>& which);
/// The call of an op whose first input is a batch of whatever size, and alone is stacked: the batches are one.
/// Undefined where others are stacked.
Tensor as_one_batch(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                    const std::vector<bool>& which);
/// All with the new axis: what is the same for all calls is repeated.
Tensors all_stacked(const Tensors& inputs, const std::vector<bool>& which);
/// The call of an op whose inputs and output are all batches of one size: those of all calls are one.
Tensor all_as_one_batch(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                        const std::vector<bool>& which);

}  // namespace twopass
