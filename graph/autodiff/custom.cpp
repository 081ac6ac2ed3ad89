#include <twopass/graph/autodiff/custom.h>

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>

#include <twopass/core/error.h>
#include <twopass/core/parameter.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/forward.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/graph/plan/eagerly.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/record.h>
#include <twopass/ops/shaping.h>

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

bool any(const Tensors& tensors, bool (Tensor::*is)() const) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const Tensor& x) { return (x.*is)(); });
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

// So many inputs are f's, behind f's value in a plan; what follows is what f used beside them.
struct Checkpoint {
  FunctionOfTensors f;
  bool planned;
  std::size_t inputs;
  std::optional<EarlierReads> reads;
  std::shared_ptr<Tensor> computed;
  static constexpr std::tuple<> fields{};
  std::size_t first() const { return planned ? 1 : 0; }
};

// x, but not before g is there: in a plan what is computed of it is neither merged with what was computed of x nor
// begun earlier than the backward pass needs it.
const TypedOp<>& after_op() {
  static const TypedOp<> op({.name = "after",
                             .doc = "x, once g is there.",
                             .shape = same_shape,
                             .forward =
                                 [](const NoArgs&, Inputs in, Output out) {
                                   const std::size_t bytes =
                                       static_cast<std::size_t>(out.elements()) * size_of(out.dtype);
                                   if (out.bytes != in[0].bytes) std::copy_n(in[0].bytes, bytes, out.bytes);
                                 },
                             .in_place = 0,
                             .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors {
                               return {g, Tensor()};
                             },
                             .tangent = [](const NoArgs&, const Call&, const Tensors& t) -> Tensor { return t[0]; }});
  return op;
}

// Fresh points for f to be differentiated at, linked to what they stand for where the derivative is recorded.
Tensor point(const Tensor& x, bool record) {
  if (!is_floating(x.dtype())) return x;
  return record && x.recorded() ? identity(x) : variable(detach(x));
}

// The recorded tensors that y was computed from and that were there before `start`, or are leaves; none of `but`.
Tensors caught(const Tensor& y, std::uint64_t start, const Tensors& but) {
  Tensors found;
  for (Node* node : nodes_behind({y}, start)) {
    const bool outside = node->number <= start || node->is(Node::kLeaf);
    const bool own = std::any_of(but.begin(), but.end(), [&](const Tensor& x) { return &x.node() == node; });
    if (outside && !own && node->is(Node::kRecorded)) found.emplace_back(node);
  }
  return found;
}

// f computed again: what it is differentiated for, f's inputs and what it used beside them, and what it gives. In a
// plan it waits for g.
struct Again {
  Tensors of;
  Tensor y;
};
Again again(const Checkpoint& checkpoint, const Call& call, const Tensor& g, bool record) {
  Again result;
  Tensors points;
  for (std::size_t k = 0; k < call.size(); ++k) {
    Tensor x = call.input(k);
    if (k >= checkpoint.first() && points.size() < checkpoint.inputs) {
      x = checkpoint.planned ? apply(after_op(), {x, g}) : point(x, record);
      points.push_back(x);
    }
    result.of.push_back(x);
  }
  const EarlierReads::Again reads(*checkpoint.reads);
  const std::uint64_t start = Node::next_number(0);
  result.y = checkpoint.f(points);
  for (const Tensor& leaf : caught(result.y, start, result.of))
    if (leaf.node().number > start && Parameter::of(leaf).defined())
      throw Error(
          fmt::format("checkpoint: parameter \"{}\" is trainable and the function sets it, so that the gradient "
                      "of what it is set to would be lost",
                      Parameter::of(leaf).name()));
  return result;
}

Tensors checkpoint_rule(const Checkpoint& checkpoint, const Call& call, const Tensor& g) {
  const bool record = recording();
  const RecordingScope on(true);
  const Again found = again(checkpoint, call, g, record);
  Tensors all(call.size()), of;
  std::vector<std::size_t> numbers;
  for (std::size_t k = checkpoint.first(); k < call.size(); ++k) {
    if (!found.of[k].recorded() || !call.wants(k)) continue;
    of.push_back(found.of[k]);
    numbers.push_back(k);
  }
  if (!found.y.recorded()) return all;
  const Tensors each = gradients(found.y, of, {.seed = g, .record = record, .beyond = false});
  for (std::size_t k = 0; k < each.size(); ++k) all[numbers[k]] = each[k];
  return all;
}

Tensor checkpoint_tangent(const Checkpoint& checkpoint, const Call& call, const Tensors& t) {
  const bool record = recording();
  const RecordingScope on(true);
  const Again found = again(checkpoint, call, {}, record);
  Tensors of, along;
  for (std::size_t k = 0; k < t.size(); ++k) {
    if (!t[k].defined()) continue;
    of.push_back(found.of[k]);
    along.push_back(t[k]);
  }
  return tangents({found.y}, of, along, {.record = record})[0];
}

const TypedOp<Checkpoint>& checkpoint_op() {
  static const TypedOp<Checkpoint> op({.name = "checkpoint",
                                       .doc = "A function that is computed again for its gradient.",
                                       .shape = [](const Checkpoint& checkpoint, const Specs&) -> Spec {
                                         return {checkpoint.computed->shape(), checkpoint.computed->dtype()};
                                       },
                                       .forward =
                                           [](const Checkpoint& checkpoint, Inputs, Output out) {
                                             const Tensor y = std::exchange(*checkpoint.computed, Tensor());
                                             std::copy_n(y.node().data, y.node().bytes(), out.bytes);
                                           },
                                       .keeps = Keep::input,
                                       .gradient = checkpoint_rule,
                                       .tangent = checkpoint_tangent});
  return op;
}

// A checkpoint in a plan: the first input is what f gave there, computed before and not kept.
const TypedOp<Checkpoint>& planned_checkpoint_op() {
  static const TypedOp<Checkpoint> op(
      {.name = "checkpoint",
       .doc = "A function that a plan computes again for its gradient.",
       .shape = [](const Checkpoint&, const Specs& in) -> Spec { return in[0]; },
       .alias = [](const Checkpoint&, const Shape&) -> std::int64_t { return 0; },
       .keeps = Keep::input,
       .gradient = checkpoint_rule,
       .tangent = [](const Checkpoint&, const Call&, const Tensors& t) -> Tensor { return t[0]; }});
  return op;
}

template <typename F>
void check_given(const char* call, const F& f, const char* what) {
  if (!f) throw Error(fmt::format("{}: the {} is null", call, what));
}

// Several tensors as one, since a node has one value: their elements one after another, or, where the batch is open,
// row by row.
class Bundle {
 public:
  explicit Bundle(const Tensors& like) {
    for (const Tensor& x : like) {
      if (x.dtype() != like[0].dtype())
        throw Error(fmt::format("a function's outputs must have one dtype, not {} and {}", name_of(like[0].dtype()),
                                name_of(x.dtype())));
      shapes_.push_back(x.shape());
      by_rows_ = by_rows_ || x.shape().open();
    }
    if (like.empty()) throw Error("a function without outputs has no gradient");
    for (const Shape& shape : shapes_)
      if (by_rows_ && (shape.rank() == 0 || shape[0] != kOpen || shape.with(0, 1).open()))
        throw Error(fmt::format("where an output's batch is open it must be the first axis of all, but one is {}",
                                shape.text()));
  }
  Tensor packed(const Tensors& parts) const {
    Tensors flat;
    for (std::size_t k = 0; k < parts.size(); ++k) {
      const Tensor& x = parts[k];
      if (parts.size() != shapes_.size() || (!by_rows_ && x.shape() != shapes_[k]))
        throw Error(fmt::format("output {} of {} has shape {} now, which it had not at first", k, parts.size(),
                                x.shape().text()));
      flat.push_back(by_rows_ ? reshape(x, {x.shape()[0], width(x.shape())}) : reshape(x, {x.shape().elements()}));
    }
    return concat(flat, by_rows_ ? 1 : 0);
  }
  // Tangents of the outputs; those that are undefined are zero.
  Tensor packed_tangents(Tensors tangents, const Tensors& outputs) const {
    if (tangents.size() != outputs.size())
      throw Error(fmt::format("the rule gave {} tangents for {} outputs", tangents.size(), outputs.size()));
    for (std::size_t k = 0; k < tangents.size(); ++k)
      if (!tangents[k].defined()) tangents[k] = zeros_like(outputs[k]);
    return packed(tangents);
  }
  Tensors parts(const Tensor& packed) const {
    Tensors all;
    std::int64_t from = 0;
    for (const Shape& shape : shapes_) {
      const std::int64_t to = from + (by_rows_ ? width(shape) : shape.elements());
      const Tensor part = slice(packed, by_rows_ ? 1 : 0, from, to);
      all.push_back(reshape(part, by_rows_ ? shape.with(0, packed.shape()[0]) : shape));
      from = to;
    }
    return all;
  }

 private:
  static std::int64_t width(const Shape& shape) { return shape.with(0, 1).elements(); }

  Shapes shapes_;
  bool by_rows_ = false;
};

}  // namespace

FunctionOfTensors custom_gradient(FunctionOfTensors f, GradientRule rule, CustomGradientOptions options) {
  check_given("custom_gradient", f, "function");
  check_given("custom_gradient", rule, "gradient rule");
  return [f = std::move(f), rule = std::move(rule), options = std::move(options)](const Tensors& inputs) {
    CustomCall call{
        .f = f, .rule = rule, .shape = options.shape, .tangent = options.tangent, .computed = {}, .set_before = {}};
    if (!any(inputs, &Tensor::symbolic)) {
      Tensors plain;
      for (const Tensor& x : inputs) plain.push_back(detach(x));
      call.computed = std::make_shared<Tensor>(no_record([&] { return f(plain); }));
    }
    return apply_custom(std::move(call), inputs);
  };
}

FunctionToTensors custom_gradient(FunctionToTensors f, GradientRules rule, CustomGradientsOptions options) {
  check_given("custom_gradient", f, "function");
  check_given("custom_gradient", rule, "gradient rule");
  return [f = std::move(f), rule = std::move(rule), options = std::move(options)](const Tensors& inputs) {
    const bool symbolic = any(inputs, &Tensor::symbolic);
    Tensors plain;
    for (const Tensor& x : inputs) plain.push_back(symbolic ? x : detach(x));
    const LiftedSets before;
    const Tensors outputs = no_record([&] { return f(plain); });
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

Tensor checkpoint(const FunctionOfTensors& f, const Tensors& inputs) {
  check_given("checkpoint", f, "function");
  const bool planned = LiftScope::active();
  if (!recording() || (any(inputs, &Tensor::symbolic) && !planned)) return f(inputs);
  const std::uint64_t start = Node::next_number(0);
  Tensors points;
  for (const Tensor& x : inputs) points.push_back(!planned ? point(x, false) : x.recorded() ? identity(x) : x);
  Checkpoint kept{.f = f, .planned = planned, .inputs = inputs.size(), .reads = {}, .computed = {}};
  const ParameterReads reads;
  const Tensor y = f(points);
  kept.reads.emplace(reads);
  Tensors given;
  if (planned)
    given.push_back(y);
  else
    kept.computed = std::make_shared<Tensor>(detach(y));
  given.insert(given.end(), inputs.begin(), inputs.end());
  const Tensors others = caught(y, start, points);
  given.insert(given.end(), others.begin(), others.end());
  return apply(planned ? planned_checkpoint_op() : checkpoint_op(), std::move(kept), given);
}

Tensors checkpoint(const FunctionToTensors& f, const Tensors& inputs) {
  check_given("checkpoint", f, "function");
  if (!recording() || (any(inputs, &Tensor::symbolic) && !LiftScope::active())) return f(inputs);
  const auto bundle = std::make_shared<std::optional<Bundle>>();  // known once f has run
  const FunctionOfTensors packed = [f, bundle](const Tensors& at) {
    const Tensors outputs = f(at);
    if (!*bundle) bundle->emplace(outputs);
    return (*bundle)->packed(outputs);
  };
  const Tensor y = checkpoint(packed, inputs);
  return (*bundle)->parts(y);
}

}  // namespace twopass
