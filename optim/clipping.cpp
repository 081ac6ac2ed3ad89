#include <twopass/optim/clipping.h>

#include <fmt/format.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>

namespace twopass {
namespace {

void check_bound(const char* what, double bound) {
  if (!(bound > 0) || std::isinf(bound))
    throw Error(fmt::format("{}: the bound is {}, not positive and finite", what, bound));
}

double checked_norm(const char* what, const Tensors& gradients) {
  const double norm = global_norm(gradients);
  if (!std::isfinite(norm)) throw Error(fmt::format("{}: the norm of the gradients is {}", what, norm));
  return norm;
}

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
  for (const Tensor& gradient : gradients) {
    const double norm = checked_norm("clip_by_norm", {gradient});
    clipped.push_back(norm > bound ? gradient * (bound / norm) : gradient);
  }
  return clipped;
}

Tensors clip_by_global_norm(const Tensors& gradients, double bound) {
  check_bound("clip_by_global_norm", bound);
  const double norm = checked_norm("clip_by_global_norm", gradients);
  if (norm <= bound) return gradients;
  Tensors clipped;
  for (const Tensor& gradient : gradients) clipped.push_back(gradient.defined() ? gradient * (bound / norm) : gradient);
  return clipped;
}

}  // namespace twopass
