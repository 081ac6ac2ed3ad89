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
/// x where x > 0, else alpha (e^(x / alpha) - 1), smooth at 0 (Barron, 2017). Refuses an alpha that is not positive.
Tensor celu(const Tensor& x, double alpha = 1);
/// x where |x| > bound, else 0. Refuses a negative bound, as soft_shrink does.
Tensor hard_shrink(const Tensor& x, double bound = 0.5);
/// x moved by `bound` towards 0, and 0 where that is nearer; the gradient is 0 at the bounds.
Tensor soft_shrink(const Tensor& x, double bound = 0.5);
/// x - tanh(x).
Tensor tanh_shrink(const Tensor& x);
/// x where x > bound, else `value`, through which no gradient passes.
Tensor threshold(const Tensor& x, double bound, double value);
/// (x + √(x² + b)) / 2 (Barron, 2021), without digits lost where x is negative. Refuses a b that is not positive.
Tensor squareplus(const Tensor& x, double b = 4);
/// (x + 1) / 2 held to [0, 1], and its integral: 0 below -1, x above 1, (x + 1)² / 4 between.
Tensor sparse_sigmoid(const Tensor& x);
Tensor sparse_plus(const Tensor& x);
/// The nearest point to x whose elements along an axis are probabilities: many are 0 (Martins and Astudillo, 2016).
Tensor sparsemax(const Tensor& x, int axis = -1);
/// a sigmoid(b) for the halves a and b of x along an axis (Dauphin et al., 2017). Refuses an odd size.
Tensor glu(const Tensor& x, int axis = -1);

}  // namespace twopass
