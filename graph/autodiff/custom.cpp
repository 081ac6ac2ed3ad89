#include <twopass/graph/autodiff/custom.h>

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/parameter.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/graph/autodiff/bundle.h>
#include <twopass/graph/autodiff/given.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/graph/plan/eagerly.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/record.h>

namespace twopass {
namespace {

// A call whose kernel and gradient are the user's functions. No file can hold it: its op is in no list.
struct CustomCall {
  FunctionOfTensors f;
  GradientRule rule;
  OutputShape shape;                 // undefined: what f makes of symbols
  TangentRule tangent;               // undefined: by the gradient
  std::shared_ptr<Tensor> computed;  // the value, where it was computed already; forward takes it
  Parameters set_before;             // which the plan has set by then
  static constexpr std::tuple<> fields{};
};

Spec custom_shape(const CustomCall& call, const Specs& in) {
  if (call.computed && call.computed->defined()) return {call.computed->shape(), call.computed->dtype()};
  if (call.shape) {
    Shapes shapes;
    for (std::size_t k = 0; k < in.size(); ++k) shapes.push_back(in.shape(k));
    return {call.shape(shapes), in.dtype(0)};
  }
  Tensors symbols;
  for (std::size_t k = 0; k < in.size(); ++k) symbols.push_back(symbol(in.shape(k), in.dtype(k), "x"));
  const Tensor y = no_record([&] { return call.f(symbols); });
  return {y.shape(), y.dtype()};
}

// What a function that was told to use none does with parameters sees them as they are outside of the plan.
void check_parameters(const CustomCall& call, const ParameterSandbox& sandbox) {
  for (const ParameterSandbox::Held& each : sandbox.held()) {
    const auto& set = call.set_before;
    const bool stale = std::find(set.begin(), set.end(), each.parameter) != set.end();
    if (each.set || stale)
      throw Error(fmt::format("its function {} parameter \"{}\"{}, which only `eagerly` does within a plan",
                              each.set ? "sets" : "reads", each.parameter.name(),
                              each.set ? "" : " after the plan has set it"));
  }
}

void custom_forward(const CustomCall& call, Inputs in, Output out) {
  Tensor y;
  if (call.computed) y = std::exchange(*call.computed, Tensor());
  if (!y.defined()) {
    Tensors given;
    for (const View& view : in) {
      given.push_back(uninitialised(view.shape(), view.dtype));
      std::copy_n(view.bytes, given.back().node().bytes(), given.back().node().data);
    }
    const ParameterSandbox sandbox;
    y = no_record([&] { return call.f(given); });
    check_parameters(call, sandbox);
    if (y.shape() != out.shape() || y.dtype() != out.dtype)
      throw Error(fmt::format("the function gave {} of shape {} where {} of shape {} was told", name_of(y.dtype()),
                              y.shape().text(), name_of(out.dtype), out.shape().text()));
  }
  std::copy_n(y.node().data, y.node().bytes(), out.bytes);
}

Tensors inputs_of(const Call& call) {
  Tensors inputs;
  for (std::size_t k = 0; k < call.size(); ++k) inputs.push_back(call.input(k));
  return inputs;
}

// What users write may read elements.
Tensors custom_rule(const CustomCall& custom, const Call& call, const Tensor& g) {
  Tensors given = inputs_of(call);
  given.push_back(call.output());
  given.push_back(g);
  const planning::EagerFunction rule = [of = custom.rule, count = call.size()](const Tensors& at) {
    return of({at.begin(), at.begin() + static_cast<std::ptrdiff_t>(count)}, at[count], at[count + 1]);
  };
  return planning::traced_or_eagerly([&] { return rule(given); }, rule, given);
}

Tensor custom_tangent(const CustomCall& custom, const Call& call, const Tensors& t) {
  Tensors given = inputs_of(call);
  const std::size_t count = given.size();
  given.push_back(call.output());
  for (std::size_t k = 0; k < count; ++k) given.push_back(t[k].defined() ? t[k] : zeros_like(given[k]));
  const planning::EagerFunction rule = [of = custom.tangent, count](const Tensors& at) {
    const auto output = at.begin() + static_cast<std::ptrdiff_t>(count);
    return Tensors{of({at.begin(), output}, *output, {output + 1, at.end()})};
  };
  return planning::traced_or_eagerly([&] { return rule(given); }, rule, given)[0];
}

template <bool kTangent>
const TypedOp<CustomCall>& custom_op() {
  static const TypedOp<CustomCall> op({.name = "custom_gradient",
                                       .doc = "A function with a gradient of its own.",
                                       .shape = custom_shape,
                                       .forward = custom_forward,
                                       .keeps = Keep::input_and_output,
                                       .gradient = custom_rule,
                                       .tangent = kTangent ? custom_tangent : nullptr},
                                      true);
  return op;
}

// Whether f reads or sets parameters, as far as it does so on symbols.
bool uses_parameters(const CustomCall& call, const Tensors& inputs) {
  if (call.shape) return false;
  Tensors symbols;
  for (const Tensor& x : inputs) symbols.push_back(symbol(x.shape(), x.dtype(), "x"));
  const LiftedSets before;
  const ParameterReads reads;
  no_record([&] { return call.f(symbols); });
  const bool uses = before.more() || !reads.parameters().empty();
  before.undo();
  return uses;
}

// In a plan, with parameters as they are there: what f gives is an input of its own, and the call hands it on.
CustomCall given_value(const CustomCall& call, Tensors& inputs) {
  const auto but_last = [](const Tensors& all) { return Tensors(all.begin(), all.end() - 1); };
  const FunctionOfTensors f = [f = call.f](const Tensors& at) { return no_record([&] { return f(at); }); };
  Tensors plain;
  for (const Tensor& x : inputs) plain.push_back(detach(x));
  inputs.push_back(detach(eagerly(f, plain)));
  CustomCall found{.f = [](const Tensors& at) { return at.back(); },
                   .rule =
                       [rule = call.rule, but_last](const Tensors& at, const Tensor& y, const Tensor& g) {
                         Tensors all = rule(but_last(at), y, g);
                         all.push_back(Tensor());
                         return all;
                       },
                   .shape = {},
                   .tangent = {},
                   .computed = {},
                   .set_before = {}};
  if (call.tangent)
    found.tangent = [tangent = call.tangent, but_last](const Tensors& at, const Tensor& y, const Tensors& t) {
      return tangent(but_last(at), y, but_last(t));
    };
  return found;
}

Tensor apply_custom(CustomCall call, Tensors inputs) {
  if (LiftScope::active() && any(inputs, &Tensor::symbolic)) {
    if (uses_parameters(call, inputs))
      call = given_value(call, inputs);
    else
      call.set_before = lifted_and_set();
  }
  const auto& op = call.tangent ? custom_op<true>() : custom_op<false>();
  return apply(op, std::move(call), inputs);
}

}  // namespace

FunctionOfTensors custom_gradient(FunctionOfTensors f, GradientRule rule, CustomGradientOptions options) {
  check_given("custom_gradient", bool(f), "function");
  check_given("custom_gradient", bool(rule), "gradient rule");
  return [f = std::move(f), rule = std::move(rule), options = std::move(options)](const Tensors& inputs) {
    check_defined("custom_gradient", "input", inputs);
    CustomCall call{
        .f = f, .rule = rule, .shape = options.shape, .tangent = options.tangent, .computed = {}, .set_before = {}};
    if (!any(inputs, &Tensor::symbolic)) {
      Tensors plain;
      for (const Tensor& x : inputs) plain.push_back(detach(x));
      call.computed = std::make_shared<Tensor>(no_record([&] { return f(plain); }));
      check_gives("custom_gradient", {call.computed.get(), 1});
    }
    return apply_custom(std::move(call), inputs);
  };
}

FunctionToTensors custom_gradient(FunctionToTensors f, GradientRules rule, CustomGradientsOptions options) {
  check_given("custom_gradient", bool(f), "function");
  check_given("custom_gradient", bool(rule), "gradient rule");
  return [f = std::move(f), rule = std::move(rule), options = std::move(options)](const Tensors& inputs) {
    check_defined("custom_gradient", "input", inputs);
    const bool symbolic = any(inputs, &Tensor::symbolic);
    Tensors plain;
    for (const Tensor& x : inputs) plain.push_back(symbolic ? x : detach(x));
    const LiftedSets before;
    const Tensors outputs = no_record([&] { return f(plain); });
    check_gives("custom_gradient", outputs);
    if (symbolic) before.undo();
    const Bundle bundle(outputs);
    CustomCall call{.f = [f, bundle](const Tensors& at) { return bundle.packed(f(at)); },
                    .rule = [rule, bundle](const Tensors& at, const Tensor& y,
                                           const Tensor& g) { return rule(at, bundle.parts(y), bundle.parts(g)); },
                    .shape = {},
                    .tangent = {},
                    .computed = {},
                    .set_before = {}};
    if (options.tangent)
      call.tangent = [tangent = options.tangent, bundle](const Tensors& at, const Tensor& y, const Tensors& t) {
        const Tensors parts = bundle.parts(y);
        return bundle.packed_tangents(tangent(at, parts, t), parts);
      };
    if (!symbolic) call.computed = std::make_shared<Tensor>(no_record([&] { return bundle.packed(outputs); }));
    return bundle.parts(apply_custom(std::move(call), inputs));
  };
}

}  // namespace twopass
