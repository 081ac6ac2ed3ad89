// Running sums and products.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// From which end a running sum or product begins.
enum class Scan : bool { forward, backward };

/// Each element and all before it (after it, backward) along an axis, added or multiplied. Of f32, f64 and i64.
Tensor cumsum(const Tensor& x, int axis = -1, Scan direction = Scan::forward);
/// Gradients are right with zeros among the factors.
Tensor cumprod(const Tensor& x, int axis = -1, Scan direction = Scan::forward);

}  // namespace twopass
