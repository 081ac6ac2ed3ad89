// Activation functions beyond those of elementwise.h.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// scale elu(x, alpha) with the constants of Klambauer et al. (2017): alpha 1.6733, scale 1.0507.
Tensor selu(const Tensor& x);
/// x tanh(softplus(x)) (Misra, 2019).
Tensor mish(const Tensor& x);
/// x / (1 + |x|).
Tensor softsign(const Tensor& x);
/// x held to [0, 6]; the gradient is 0 at 0 and 1 at 6.
Tensor relu6(const Tensor& x);
/// x / 6 + 1/2 held to [0, 1].
Tensor hard_sigmoid(const Tensor& x);
/// x hard_sigmoid(x).
Tensor hard_silu(const Tensor& x);
/// x held to [-1, 1].
Tensor hard_tanh(const Tensor& x);
/// log(sigmoid(x)) without underflow.
Tensor log_sigmoid(const Tensor& x);
/// x where x > 0, else slope x with a tensor of slopes that broadcasts, whose gradient is wanted too.
Tensor prelu(const Tensor& x, const Tensor& slope);
/// a sigmoid(b) for the halves a and b of x along an axis (Dauphin et al., 2017). Refuses an odd size.
Tensor glu(const Tensor& x, int axis = -1);

}  // namespace twopass
