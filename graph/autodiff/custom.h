// Functions with gradients of their own, and functions that are computed again instead of kept.
#pragma once
#include <functional>
#include <type_traits>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/tensor.h>

namespace twopass {

using FunctionOfTensors = std::function<Tensor(const Tensors& inputs)>;
using FunctionToTensors = std::function<Tensors(const Tensors& inputs)>;

/// Inputs, output and the output's gradient g to a gradient per input (undefined: none).
using GradientRule = std::function<Tensors(const Tensors& inputs, const Tensor& output, const Tensor& g)>;
/// The same of several outputs; the gradient of one that nothing used is zeros.
using GradientRules = std::function<Tensors(const Tensors& inputs, const Tensors& outputs, const Tensors& g)>;

/// Inputs, output and the tangent of each input (zeros of one that stands still) to the output's tangent (undefined:
/// zero).
using TangentRule = std::function<Tensor(const Tensors& inputs, const Tensor& output, const Tensors& t)>;
/// The same of several outputs, a tangent for each.
using TangentRules = std::function<Tensors(const Tensors& inputs, const Tensors& outputs, const Tensors& t)>;

/// The shape of the output from those of the inputs, of which some may be open.
using OutputShape = std::function<Shape(const Shapes& inputs)>;

struct CustomGradientOptions {
  /// For an f that reads elements (`item`), so that it cannot run on symbols; its output has the first input's dtype.
  OutputShape shape = {};
  /// For derivatives in forward mode; without, they come from the gradient, by two reverse passes of it.
  TangentRule tangent = {};
};
struct CustomGradientsOptions {
  TangentRules tangent = {};
};

/// A function that computes f and whose derivative is what `rule` says: written in Tensor ops, so that it can be
/// differentiated again. For derivatives that are known better than the record's (implicit functions, clipped or
/// straight-through gradients). What f caught beside its inputs has no derivative. Models and plans run f on values
/// each time that they run. Before, on symbols, f runs on symbols to tell its output's shape, perhaps several times.
/// Rules that read elements run eagerly within plans (graph/plan/eagerly.h), and so does f where it reads or sets
/// parameters; one with a `shape` is refused in plans if it sets some, or reads some that the plan has set before.
FunctionOfTensors custom_gradient(FunctionOfTensors f, GradientRule rule, CustomGradientOptions options = {});
/// Of several outputs, all of one dtype; where the batch is open it is the first axis of each.
FunctionToTensors custom_gradient(FunctionToTensors f, GradientRules rule, CustomGradientsOptions options = {});

/// f(inputs), of which the record keeps the inputs alone: the backward pass computes f once more (T. Chen et al.,
/// "Training deep nets with sublinear memory cost", 2016). Parameters and recorded tensors that f uses beside its
/// inputs have their gradients too, at the values that they had. f must give the same again: parameters begin with what
/// they gave f first, and what f sets once more is forgotten. In a plan too: what f computes again waits for the
/// gradient that asks for it. Other symbols and what is not recorded go straight through f.
Tensor checkpoint(const FunctionOfTensors& f, const Tensors& inputs);
/// Of several outputs, all of one dtype; f is computed once more for all of them.
Tensors checkpoint(const FunctionToTensors& f, const Tensors& inputs);
/// The same for a function of tensors: checkpoint(f, a, b) is f(a, b).
template <typename F, typename... T>
requires(sizeof...(T) > 0 && (std::is_convertible_v<T, Tensor> && ...)) auto checkpoint(F f, const T&... inputs) {
  using Result = decltype(f(Tensor(inputs)...));
  using Given = std::conditional_t<std::is_convertible_v<Result, Tensors>, Tensors, Tensor>;
  if constexpr (requires { f.target_type(); })  // a std::function
    if (!f) throw Error("checkpoint: the function is null");
  const std::function<Given(const Tensors&)> of_list = [f = std::move(f)](const Tensors& at) {
    return [&]<std::size_t... K>(std::index_sequence<K...>) { return Given(f(at[K]...)); }
    (std::index_sequence_for<T...>{});
  };
  return checkpoint(of_list, Tensors{Tensor(inputs)...});
}

}  // namespace twopass
