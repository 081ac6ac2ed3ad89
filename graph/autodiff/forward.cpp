#include <twopass/graph/autodiff/forward.h>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/given.h>
#include <twopass/graph/autodiff/node_map.h>
#include <twopass/graph/autodiff/rule.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/op.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

// Sums where undefined is zero.
Tensor plus(const Tensor& a, const Tensor& b) { return a.defined() && b.defined() ? add(a, b) : a.defined() ? a : b; }

Tensor zeros_of(const Node& node) { return zeros(node.shape, node.dtype); }

// Linear in all floating inputs at once: the op on their tangents, the other inputs as they were.
Tensor jointly(Node& node, const Tensors& t) {
  Tensors inputs;
  for (std::size_t k = 0; k < t.size(); ++k) {
    const Node& input = *node.edges()[k].node();
    inputs.push_back(!is_floating(input.dtype) ? Call(node).input(k) : t[k].defined() ? t[k] : zeros_of(input));
  }
  return apply(*node.op, node.arguments, inputs);
}

bool every_input_moves(const Node& node, const Tensors& t) {
  for (std::size_t k = 0; k < t.size(); ++k)
    if (!t[k].defined() && is_floating(node.edges()[k].node()->dtype)) return false;
  return true;
}

// Linear in each input while the others stand: the product rule.
Tensor one_by_one(Node& node, const Tensors& t) {
  Tensor y;
  for (std::size_t k = 0; k < t.size(); ++k) {
    if (!t[k].defined()) continue;
    Tensors inputs;
    for (std::size_t other = 0; other < t.size(); ++other)
      inputs.push_back(other == k ? t[k] : Call(node).input(other));
    y = plus(y, apply(*node.op, node.arguments, inputs));
  }
  return y;
}

// The Jacobian of an elementwise op is diagonal, so that it is its own transpose. Nothing where the gradient sums
// what was broadcast.
std::optional<Tensor> by_elements(Node& node, const Tensors& t) {
  Tensor y;
  for (std::size_t k = 0; k < t.size(); ++k) {
    if (!t[k].defined()) continue;
    if (t[k].dtype() != node.dtype) return std::nullopt;
    const Tensor part = gradients_of(node, Call(node, std::uint64_t{1} << (k % 64)), broadcast_to(t[k], node.shape))[k];
    if (part.defined() && !(part.shape() == node.shape)) return std::nullopt;
    y = plus(y, part);
  }
  return y;
}

// The op without a gradient on the way from `from` to one of `to`, if there is one.
const Op* not_differentiable(const Tensors& to, const Tensor& from) {
  std::vector<Node*> roots;
  for (const Tensor& each : to)
    if (each.defined()) roots.push_back(&each.node());
  NodeMap leading;
  leading.insert(&from.node(), 0);
  for (const Node* node : recorded_behind(roots, from.node().number)) {
    bool leads = false;
    for (const Node::Edge& edge : node->edges()) leads = leads || leading.find(edge.node());
    if (!leads) continue;
    if (!node->op->differentiable()) return node->op;
    leading.insert(node, 0);
  }
  return nullptr;
}

// From one node to the next. A tangent that would need a derivative which does not exist is missing: an error only if
// an output turns out to depend on it.
class ForwardPass {
 public:
  ForwardPass(const Tensors& outputs, const Tensors& of, const Tensors& along, bool record)
      : outputs_(outputs), record_(record), scope_(record) {
    std::uint64_t oldest = ~std::uint64_t{0};
    for (const Tensor& x : of) oldest = std::min(oldest, x.node().number);
    std::vector<Node*> roots;
    for (const Tensor& y : outputs) roots.push_back(&y.node());
    nodes_ = recorded_behind(roots, oldest);
    slots_.resize(nodes_.size());
    for (std::size_t place = 0; place < nodes_.size(); ++place) {
      places_.insert(nodes_[place], static_cast<std::uint32_t>(place));
      for (const Node::Edge& edge : nodes_[place]->edges()) {
        Slot* const input = slot_of(edge.node());  // older, so that its place is known
        if (input) input->last_use = place;
        inputs_.push_back(input);
      }
    }
    for (const Tensor& y : outputs)
      if (Slot* slot = slot_of(&y.node())) slot->last_use = nodes_.size();
    for (std::size_t k = 0; k < of.size(); ++k)
      if (Slot* slot = slot_of(&of[k].node())) {
        slot->given = true;
        slot->tangent = along[k];
      }
  }

  Tensors run(Missing missing) {
    std::span<Slot* const> inputs = inputs_;
    for (std::size_t place = 0; place < nodes_.size(); ++place) {
      visit(place, inputs.first(nodes_[place]->input_count));
      inputs = inputs.subspan(nodes_[place]->input_count);
    }
    Tensors result;
    for (const Tensor& y : outputs_) {
      const Slot* slot = slot_of(&y.node());
      if (slot && slot->missing && missing == Missing::refuse)
        throw Error(fmt::format("{} has no gradient, but a derivative through it is asked for", slot->missing->name()));
      const bool moves = slot && slot->tangent.defined();
      result.push_back(slot && slot->missing ? Tensor() : moves ? slot->tangent : zeros_of(y.node()));
    }
    return result;
  }

 private:
  struct Slot {
    Tensor tangent;
    bool given = false;
    const Op* missing = nullptr;  // the op without a derivative
    std::size_t last_use = 0;
  };

  Slot* slot_of(const Node* node) {
    const std::uint32_t* place = places_.find(node);
    return place ? &slots_[*place] : nullptr;
  }

  void visit(std::size_t place, std::span<Slot* const> inputs) {
    if (!slots_[place].given) hand_on(*nodes_[place], inputs, slots_[place]);
    for (Slot* input : inputs)
      if (input && input->last_use == place) input->tangent = Tensor();
  }

  static bool moves(const Slot* input) { return input && input->tangent.defined(); }

  void hand_on(Node& node, std::span<Slot* const> inputs, Slot& slot) {
    for (std::size_t k = 0; k < inputs.size(); ++k)
      if (inputs[k] && inputs[k]->missing && !slot.missing && passes(node, k)) slot.missing = inputs[k]->missing;
    if (slot.missing || std::none_of(inputs.begin(), inputs.end(), moves)) return;
    Tensors t(inputs.size());
    for (std::size_t k = 0; k < inputs.size(); ++k)
      if (moves(inputs[k])) t[k] = inputs[k]->tangent;
    slot.tangent = tangent_of(node, t, slot);
  }

  // Whether derivatives for input k pass through a call.
  static bool passes(Node& node, std::size_t k) {
    if (!node.op->differentiable()) return true;
    return gradients_of(node, Call(node, std::uint64_t{1} << k), zeros_of(node))[k].defined();
  }

  Tensor tangent_of(Node& node, const Tensors& t, Slot& slot) const {
    const Op& op = *node.op;
    const bool itself = op.linear() == Linear::each ||
                        (op.linear() == Linear::jointly && (!op.elementwise() || every_input_moves(node, t)));
    if (op.has_tangent() || itself)
      return checked(node, in_its_layer("tangent", node, [&] {
                       if (op.has_tangent()) return op.tangent(node.arguments.get(), Call(node), t);
                       return op.linear() == Linear::each ? one_by_one(node, t) : jointly(node, t);
                     }));
    if (!op.differentiable()) {
      slot.missing = &op;
      return {};
    }
    if (op.elementwise())
      if (const auto y = by_elements(node, t)) return *y;
    return transposed(node, t, slot);
  }

  static Tensor checked(const Node& node, const Tensor& y) {
    if (y.defined() && (!(y.shape() == node.shape) || y.dtype() != node.dtype))
      throw Error(fmt::format("the tangent of {} is {} {} but its output {} {}", node.op->name(), name_of(y.dtype()),
                              y.shape().text(), name_of(node.dtype), node.shape.text()));
    return y;
  }

  // The gradient is linear in g: its transpose, applied to the tangents, is J t, wherever g stands.
  Tensor transposed(Node& node, const Tensors& t, Slot& slot) const {
    const RecordingScope on(true);
    const Tensor g = variable(zeros_of(node));
    std::uint64_t wanted = 0;
    for (std::size_t k = 0; k < t.size(); ++k)
      if (t[k].defined()) wanted |= std::uint64_t{1} << (k % 64);
    Tensors back = gradients_of(node, Call(node, wanted), g);
    slot.missing = not_differentiable(back, g);
    Tensor y;
    for (std::size_t k = 0; k < t.size() && !slot.missing; ++k) {
      if (!t[k].defined() || !back[k].defined()) continue;
      const Tensor part = checked_gradient(*node.op, *node.edges()[k].node(), k, std::move(back[k]));
      if (part.recorded()) y = plus(y, gradients(part, {g}, {.seed = t[k], .record = record_})[0]);
    }
    return y;
  }

  const Tensors& outputs_;
  bool record_;
  RecordingScope scope_;
  std::vector<Node*> nodes_;
  NodeMap places_;
  std::vector<Slot> slots_;
  std::vector<Slot*> inputs_;  // of all nodes, one after the other; none where no tangent comes from
};

}  // namespace

Tensors tangents(const Tensors& outputs, const Tensors& of, const Tensors& along, const TangentsOptions& options) {
  if (of.size() != along.size())
    throw Error(fmt::format("tangents: {} but {}", counted(of.size(), "tensor"), counted(along.size(), "direction")));
  check_defined("tangents", "output", outputs);
  check_defined("tangents", "tensor", of);
  check_defined("tangents", "direction", along);
  for (std::size_t k = 0; k < of.size(); ++k) {
    if (!of[k].recorded())
      throw Error(fmt::format("tangents: a tensor of shape {} is not recorded", of[k].shape().text()));
    if (along[k].shape() != of[k].shape() || along[k].dtype() != of[k].dtype())
      throw Error(fmt::format("tangents: direction {} is {} {} but its tensor {} {}", k, name_of(along[k].dtype()),
                              along[k].shape().text(), name_of(of[k].dtype()), of[k].shape().text()));
  }
  for (std::size_t k = 0; k < outputs.size(); ++k)
    if (!is_floating(outputs[k].dtype()))
      throw Error(fmt::format("tangents: output {} is {}, which has no derivative", k, name_of(outputs[k].dtype())));
  return ForwardPass(outputs, of, along, options.record).run(options.missing);
}

}  // namespace twopass
