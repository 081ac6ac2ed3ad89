// Ops that round, and what is left by it. Gradients of the rounded are 0.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// The next integer below, above, to the nearest (halves to even), towards 0.
Tensor floor(const Tensor& x);
Tensor ceil(const Tensor& x);
Tensor round(const Tensor& x);
Tensor trunc(const Tensor& x);
/// a - b floor(a / b): what is left of a, with the sign of b (as % in Python). Refuses an i64 b of 0.
Tensor remainder(const Tensor& a, const Tensor& b);
/// What is left of a, with the sign of a (as fmod in C): a - b trunc(a / b), exactly. Refuses an i64 b of 0.
Tensor fmod(const Tensor& a, const Tensor& b);
/// x - trunc(x).
Tensor frac(const Tensor& x);
/// The way from a to b: a at t = 0, b at t = 1, exactly.
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& t);

}  // namespace twopass
