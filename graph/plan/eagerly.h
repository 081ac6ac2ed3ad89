// Functions that cannot be traced, as calls of a plan that run them on values.
#pragma once
#include <functional>

#include <twopass/core/tensor.h>

namespace twopass {

/// f(inputs). While a plan is traced: one call, which runs f op by op on values each time the plan runs; its gradient
/// is a backward pass over what that run recorded, and so has gradients itself. For functions that read elements, as an
/// `if` on a value does; layers, losses, metrics and gradients of one's own that do so are called like this by
/// themselves. f may read and set parameters: what it sets is part of what the plan sets in the end, all or nothing.
///
/// While it is traced f is run once on ones and zeros (what it changes beside parameters sees that run too; these
/// don't). What it gives, and the parameters that it reads and sets, are then those of every run: the plan refuses a
/// run in which there are others, and, where derivatives of it are asked for, one whose outputs depend on others of
/// them and of the inputs. So with the gradient rules of f's ops: what they read from parameters is what these hold in
/// the plan when the gradient is asked for. Refused are functions that depend on recorded tensors beside their inputs
/// and parameters or that train a model, rules that set parameters, and derivatives in forward mode through several
/// results: those of f, or, as in `hvp`, those of its gradient, one for each input and parameter that has one. In
/// reverse mode, as in a gradient of a gradient, these are there.
///
/// What f gives has the bits that it has without a plan, and so has its gradient. Where f and other calls use one
/// tensor, its gradient is a sum whose terms are the same but added in another order, those of f first among
/// themselves: of m terms t, two such sums differ by no more than 2 γ Σ|t|, γ = (m - 1) u / (1 - (m - 1) u), u = 2^-24
/// for f32 and 2^-53 for f64.
Tensor eagerly(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs);
/// Of several outputs, of any shapes and dtypes.
Tensors eagerly(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs);

}  // namespace twopass
