// Functions with gradients of their own, and functions that are computed again instead of kept.
#pragma once
#include <functional>
#include <type_traits>
#include <utility>

#include <twopass/core/tensor.h>

namespace twopass {

/// Inputs, output and the output's gradient g to a gradient per input (undefined: none).
using GradientRule = std::function<Tensors(const Tensors& inputs, const Tensor& output, const Tensor& g)>;

/// A function that computes f and whose derivative is what `rule` says: written in Tensor ops, so that it can be
/// differentiated again. For derivatives that are known better than the record's (implicit functions, clipped or
/// straight-through gradients). What f caught beside its inputs has no derivative. On symbols f runs on symbols.
std::function<Tensor(const Tensors&)> custom_gradient(std::function<Tensor(const Tensors&)> f, GradientRule rule);

/// f(inputs), of which the record keeps the inputs alone: the backward pass computes f once more (T. Chen et al.,
/// "Training deep nets with sublinear memory cost", 2016). Parameters and recorded tensors that f uses beside its
/// inputs have their gradients too, at the values that they had. f must give the same again. In a plan too: what
/// f computes again waits for the gradient that asks for it. Other symbols and what is not recorded go straight
/// through f.
Tensor checkpoint(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs);
/// The same for a function of tensors: checkpoint(f, a, b) is f(a, b).
template <typename F, typename... T>
requires(sizeof...(T) > 0 && (std::is_convertible_v<T, Tensor> && ...)) Tensor checkpoint(F f, const T&... inputs) {
  return checkpoint(
      [f = std::move(f)](const Tensors& at) {
        return [&]<std::size_t... K>(std::index_sequence<K...>) { return Tensor(f(at[K]...)); }
        (std::index_sequence_for<T...>{});
      },
      Tensors{Tensor(inputs)...});
}

}  // namespace twopass
