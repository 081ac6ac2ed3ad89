#include <twopass/optim/clipping.h>

#include <fmt/format.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

namespace twopass {
namespace {

void check_bound(const char* what, double bound) {
  if (!(bound > 0) || std::isinf(bound))
    throw Error(fmt::format("{}: the bound is {}, not positive and finite", what, bound));
}

// The factor that holds what has this norm to the bound: 1 within it. Values are looked at, symbols are not.
Tensor factor(const char* what, const Tensor& squares, double bound) {
  const Tensor norm = sqrt(squares);
  if (!norm.symbolic() && !std::isfinite(norm.item<double>()))
    throw Error(fmt::format("{}: the norm of the gradients is {}", what, norm.item<double>()));
  return where(norm > bound, bound / norm, scalar_like(1, norm));
}

// Σ g² in double precision.
Tensor squares_of(const Tensor& gradient) { return sum(square(cast(gradient, f64))); }

Tensor scaled(const Tensor& gradient, const Tensor& by) { return gradient * cast(by, gradient.dtype()); }

}  // namespace

double global_norm(const Tensors& gradients) {
  double total = 0;
  for (const Tensor& gradient : gradients)
    if (gradient.defined())
      dispatch(gradient.dtype(), [&]<typename T>() {
        const T* values = gradient.data<T>();
        const std::int64_t n = gradient.elements();
        for (std::int64_t k = 0; k < n; ++k) total += static_cast<double>(values[k]) * static_cast<double>(values[k]);
      });
  return std::sqrt(total);
}

Tensors clip_by_value(const Tensors& gradients, double bound) {
  check_bound("clip_by_value", bound);
  Tensors clipped;
  for (const Tensor& gradient : gradients)
    clipped.push_back(gradient.defined() ? clip(gradient, -bound, bound) : gradient);
  return clipped;
}

Tensors clip_by_norm(const Tensors& gradients, double bound) {
  check_bound("clip_by_norm", bound);
  Tensors clipped;
  for (const Tensor& gradient : gradients)
    clipped.push_back(gradient.defined() ? scaled(gradient, factor("clip_by_norm", squares_of(gradient), bound))
                                         : gradient);
  return clipped;
}

Tensors clip_by_global_norm(const Tensors& gradients, double bound) {
  check_bound("clip_by_global_norm", bound);
  Tensor total = tensor(0.0, f64);
  for (const Tensor& gradient : gradients)
    if (gradient.defined()) total = total + squares_of(gradient);
  const Tensor by = factor("clip_by_global_norm", total, bound);
  Tensors clipped;
  for (const Tensor& gradient : gradients) clipped.push_back(gradient.defined() ? scaled(gradient, by) : gradient);
  return clipped;
}

}  // namespace twopass
