// Derivatives of functions as functions. Functions take a Tensor and return one; derivatives nest to any order.
#pragma once
#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/backward.h>

namespace twopass {

using Function = std::function<Tensor(const Tensor&)>;

/// f(x) and its gradient, for f with one output element; recorded exactly if x is.
std::pair<Tensor, Tensor> value_and_gradient(const Function& f, const Tensor& x);

/// f(inputs) and its gradient for each of them; recorded exactly if one is. Refuses inputs that are not floating.
std::pair<Tensor, Tensors> value_and_gradients(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs);

/// The function that gives f's value and gradient at x; of several tensors, f(a, b) or f(Tensors), the gradient for
/// each.
template <typename F>
auto value_and_grad(F f) {
  return [f = std::move(f)]<typename... T>(const T&... at) {
    if constexpr (sizeof...(T) == 1 && (std::is_convertible_v<T, Tensor> && ...))
      return value_and_gradient(f, Tensor(at)...);
    else if constexpr (sizeof...(T) == 1)
      return value_and_gradients(f, at...);
    else
      return value_and_gradients(
          [&f](const Tensors& inputs) {
            return [&]<std::size_t... K>(std::index_sequence<K...>) { return Tensor(f(inputs[K]...)); }
            (std::index_sequence_for<T...>{});
          },
          Tensors{Tensor(at)...});
  };
}
/// The function that gives f's gradient; of several tensors, the gradient for each. Refuses, when called, an f whose
/// output has several elements.
template <typename F>
auto grad(F f) {
  return [f = std::move(f)](const auto&... at) { return value_and_grad(f)(at...).second; };
}

/// f(x) and vᵀ J, J the Jacobian of f at x; v has f(x)'s shape.
std::pair<Tensor, Tensor> vjp(const Function& f, const Tensor& x, const Tensor& v);
/// J v, v of x's shape, by two reverse passes (the second differentiates the first for its seed).
Tensor jvp(const Function& f, const Tensor& x, const Tensor& v);
/// H v, H the Hessian of f at x, f with one output element, v of x's shape.
Tensor hvp(const Function& f, const Tensor& x, const Tensor& v);
/// d f(x)_i / d x_j: of shape f(x).shape + x.shape; by rows, or by columns where x has far fewer elements than f(x).
Tensor jacobian(const Function& f, const Tensor& x);
/// d² f / dx_i dx_j: of shape x.shape + x.shape, for f with one output element.
Tensor hessian(const Function& f, const Tensor& x);

}  // namespace twopass
