// Derivatives of functions as functions. Functions take a Tensor and return one; derivatives nest to any order.
#pragma once
#include <functional>
#include <utility>

#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/backward.h>

namespace twopass {

using Function = std::function<Tensor(const Tensor&)>;

/// f(x) and its gradient, for f with one output element; recorded exactly if x is.
std::pair<Tensor, Tensor> value_and_gradient(const Function& f, const Tensor& x);

/// The function that gives f(x) and f's gradient at x.
template <typename F>
auto value_and_grad(F f) {
  return [f = std::move(f)](const Tensor& x) { return value_and_gradient(f, x); };
}
/// The function that gives f's gradient. Refuses, when called, an f whose output has several elements.
template <typename F>
auto grad(F f) {
  return [f = std::move(f)](const Tensor& x) { return value_and_gradient(f, x).second; };
}

/// f(x) and vᵀ J, J the Jacobian of f at x; v has f(x)'s shape.
std::pair<Tensor, Tensor> vjp(const Function& f, const Tensor& x, const Tensor& v);
/// J v, v of x's shape, by two reverse passes (the second differentiates the first for its seed).
Tensor jvp(const Function& f, const Tensor& x, const Tensor& v);
/// H v, H the Hessian of f at x, f with one output element, v of x's shape.
Tensor hvp(const Function& f, const Tensor& x, const Tensor& v);
/// d f(x)_i / d x_j: of shape f(x).shape + x.shape, row by row.
Tensor jacobian(const Function& f, const Tensor& x);
/// d² f / dx_i dx_j: of shape x.shape + x.shape, for f with one output element.
Tensor hessian(const Function& f, const Tensor& x);

}  // namespace twopass
