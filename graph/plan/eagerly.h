// Functions that cannot be traced, as calls of a plan that run them on values.
#pragma once
#include <functional>

#include <twopass/core/tensor.h>

namespace twopass {

/// f(inputs). While a plan is traced: one call, which runs f op by op on values each time the plan runs; its gradient
/// is a backward pass over what that run recorded. For functions that read elements, as an `if` on a value does; layers
/// that do so are called like this by themselves.
///
/// While it is traced f is run once on ones and zeros. The shape of what it gives, and the parameters that it reads,
/// are then those of every run, and the plan refuses a run in which they differ, or in which the output depends on
/// others of them and of the inputs. Refused are functions that set parameters or depend on recorded tensors beside
/// their inputs and parameters. Where f uses a tensor several times and other calls use it too, the sum of its
/// gradients may round otherwise than without a plan.
Tensor eagerly(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs);

}  // namespace twopass
