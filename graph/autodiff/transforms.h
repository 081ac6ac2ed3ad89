// Derivatives of functions as functions. Functions take a Tensor and return one; derivatives nest to any order. What is
// no f32 or f64 has none: such inputs and outputs are refused, and what is computed of such values is constant.
#pragma once
#include <concepts>
#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/forward.h>

namespace twopass {

using Function = std::function<Tensor(const Tensor&)>;
using FunctionOfMany = std::function<Tensor(const Tensors&)>;
/// One of these, T said by another argument: a generic lambda is not tried with the other.
template <typename T>
using FunctionOf = std::type_identity_t<std::function<Tensor(const T&)>>;

/// f(x) and its gradient, for f with one output element; recorded exactly if x is.
std::pair<Tensor, Tensor> value_and_gradient(const Function& f, const Tensor& x);

/// f(inputs) and its gradient for each of them; recorded exactly if one is.
std::pair<Tensor, Tensors> value_and_gradients(const FunctionOfMany& f, const Tensors& inputs);

/// The function that gives f's value and gradient at x; of several tensors, f(a, b) or f(Tensors), the gradient for
/// each.
template <typename F>
auto value_and_grad(F f) {
  return [f = std::move(f)]<typename... T>(const T&... at) {
    if constexpr (sizeof...(T) == 1 && (std::is_convertible_v<T, Tensor> && ...))
      return value_and_gradient(f, Tensor(at)...);
    else if constexpr (sizeof...(T) == 1)
      return value_and_gradients(f, at...);
    else {
      if constexpr (requires { f.target_type(); })  // a std::function
        if (!f) throw Error("grad: the function is null");
      return value_and_gradients(
          [&f](const Tensors& inputs) {
            return [&]<std::size_t... K>(std::index_sequence<K...>) { return Tensor(f(inputs[K]...)); }
            (std::index_sequence_for<T...>{});
          },
          Tensors{Tensor(at)...});
    }
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
/// J v, v of x's shape, in forward mode (see `tangents`): about the cost of f itself beside f. Recorded exactly if x or
/// v is.
Tensor jvp(const Function& f, const Tensor& x, const Tensor& v);
/// H v, H the Hessian of f at x, f with one output element, v of x's shape: the gradient in forward mode.
Tensor hvp(const Function& f, const Tensor& x, const Tensor& v);
/// d f(x)_i / d x_j: of shape f(x).shape + x.shape. f is evaluated once, and its one record gives all columns in
/// forward mode where x has no more elements than f(x), else all rows in reverse mode. The pass is traced
/// once and its calls are made for all unit vectors at once, side by side; recorded exactly if x is.
Tensor jacobian(const Function& f, const Tensor& x);
/// d² f / dx_i dx_j: of shape x.shape + x.shape, for f with one output element: the gradient's Jacobian, by columns.
/// Taken to be symmetric: of several tensors the blocks below the diagonal are those above it, mirrored. Where a custom
/// rule is no gradient of anything it need not be, and [i, j] is one of d (df / dx_i) / dx_j and d (df / dx_j) / dx_i.
Tensor hessian(const Function& f, const Tensor& x);

/// The same for functions of several tensors, with a derivative for each: vjp(f, Tensors{a, b}, v).
template <std::same_as<Tensors> T>
std::pair<Tensor, Tensors> vjp(const FunctionOf<T>& f, const T& x, const Tensor& v);
/// The sum of J v over the inputs: where all move at once.
template <std::same_as<Tensors> T>
Tensor jvp(const FunctionOf<T>& f, const T& x, const T& v);
template <std::same_as<Tensors> T>
Tensors hvp(const FunctionOf<T>& f, const T& x, const T& v);
template <std::same_as<Tensors> T>
Tensors jacobian(const FunctionOf<T>& f, const T& x);
/// d² f / dx_i dx_j at [i][j].
template <std::same_as<Tensors> T>
std::vector<Tensors> hessian(const FunctionOf<T>& f, const T& x);

}  // namespace twopass
