// Numerical differentiation: one pass more for every weight.
#pragma once
#include <cstdint>
#include <functional>

#include <twopass/core/tensor.h>

namespace twopass {

/// What numerical differentiation found, and what it cost.
struct NumericalGradients {
  Tensors gradients;        // one per input, of its shape
  std::int64_t passes = 0;  // forward passes: N + 1 for N elements by forward differences, 2 N by central ones
};

enum class Difference : std::uint8_t { forward, central };
struct NumericalOptions {
  /// Forward: (f(x + h) - f(x)) / h, as in the lecture. Central: (f(x + h) - f(x - h)) / 2h.
  Difference difference = Difference::forward;
  /// The step, times max(1, |x|); 0 stands for what balances rounding and truncation: ε^½ (forward) or ε^⅓ (central).
  double step = 0;
};

/// The gradients of f, one output element, for floating inputs (others get an undefined tensor).
NumericalGradients numerical_gradients(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs,
                                       const NumericalOptions& options = {});

}  // namespace twopass
