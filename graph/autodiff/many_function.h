// Functions of tensors that give tensors, and their gradients as such functions. For the files of this folder.
#pragma once
#include <cstdint>
#include <functional>

#include <twopass/core/tensor.h>

namespace twopass {

using ManyFunction = std::function<Tensors(const Tensors&)>;

/// Fresh variables with the values of the floating tensors; the others as they are.
Tensors as_variables(const Tensors& tensors);

/// f's outputs, each weighted with numbers that follow from the seed, in one sum; undefined where no output is
/// floating.
Tensor weighted_sum(const Tensors& outputs, std::uint64_t seed);

/// The gradients of the weighted sum of f's outputs for its floating inputs, as a function of the same inputs; recorded
/// where an input is, so that it can be differentiated again.
ManyFunction gradient_of(ManyFunction f, std::uint64_t seed);

}  // namespace twopass
