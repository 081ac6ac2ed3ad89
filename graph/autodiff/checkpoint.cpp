#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/parameter.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/bundle.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/forward.h>
#include <twopass/graph/autodiff/given.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/record.h>

namespace twopass {
namespace {

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

Tensor given(Tensor y) {
  check_gives("checkpoint", {&y, 1});
  return y;
}
Tensors given(Tensors outputs) {
  check_gives("checkpoint", outputs);
  return outputs;
}

}  // namespace

Tensor checkpoint(const FunctionOfTensors& f, const Tensors& inputs) {
  check_given("checkpoint", bool(f), "function");
  check_defined("checkpoint", "input", inputs);
  const bool planned = LiftScope::active();
  if (!recording() || (any(inputs, &Tensor::symbolic) && !planned)) return given(f(inputs));
  const std::uint64_t start = Node::next_number(0);
  Tensors points;
  for (const Tensor& x : inputs) points.push_back(!planned ? point(x, false) : x.recorded() ? identity(x) : x);
  Checkpoint kept{.f = f, .planned = planned, .inputs = inputs.size(), .reads = {}, .computed = {}};
  const ParameterReads reads;
  const Tensor y = f(points);
  check_gives("checkpoint", {&y, 1});
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
  check_given("checkpoint", bool(f), "function");
  check_defined("checkpoint", "input", inputs);
  if (!recording() || (any(inputs, &Tensor::symbolic) && !LiftScope::active())) return given(f(inputs));
  const auto bundle = std::make_shared<std::optional<Bundle>>();  // known once f has run
  const FunctionOfTensors packed = [f, bundle](const Tensors& at) {
    const Tensors outputs = f(at);
    check_gives("checkpoint", outputs);
    if (!*bundle) bundle->emplace(outputs);
    return (*bundle)->packed(outputs);
  };
  const Tensor y = checkpoint(packed, inputs);
  return (*bundle)->parts(y);
}

}  // namespace twopass
