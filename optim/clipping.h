// Gradients held within bounds. Undefined tensors among them (no gradient) stay so.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// Each element held to [-bound, bound]. Refuses a bound that is not positive.
Tensors clip_by_value(const Tensors& gradients, double bound);
/// Each tensor scaled by bound / max(its norm, bound). Refuses a norm that is not finite.
Tensors clip_by_norm(const Tensors& gradients, double bound);
/// All tensors scaled by bound / max(their common norm, bound). Refuses a norm that is not finite.
Tensors clip_by_global_norm(const Tensors& gradients, double bound);
/// The root of the sum of all squares, summed in double precision.
double global_norm(const Tensors& gradients);

}  // namespace twopass
