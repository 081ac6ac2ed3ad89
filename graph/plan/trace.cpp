#include <twopass/graph/plan/trace.h>

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include <twopass/core/place.h>

namespace twopass::planning {
namespace {

class Tracer {
 public:
  Program trace(const PlanFunction& f, const std::vector<Spec>& inputs, const PlanOptions& options) {
    Tensors symbols;
    for (const Spec& spec : inputs) {
      spec.shape.elements();  // refuses open axes
      symbols.push_back(symbol(spec.shape, spec.dtype, name_of(options.input_names, "input", symbols.size())));
      program_.inputs.push_back(
          add(symbols.back().node(), {.kind = Value::Kind::input, .spec = spec, .name = symbols.back().name()}));
    }
    LiftScope scope;
    const RecordingScope on(true);
    const Tensors outputs = f(symbols);
    for (const LiftScope::Lifted& lifted : scope.lifted())
      add(lifted.symbol.node(), {.kind = Value::Kind::parameter,
                                 .spec = {lifted.symbol.shape(), lifted.symbol.dtype()},
                                 .name = path_of(lifted),
                                 .parameter = lifted.parameter});
    for (const Tensor& output : outputs) find_calls(output);
    for (const LiftScope::Lifted& lifted : scope.lifted())
      if (lifted.update.defined()) find_calls(lifted.update);
    std::sort(found_.begin(), found_.end(), [](const Node* a, const Node* b) { return a->number < b->number; });
    for (Node* node : found_) add_call(*node);
    for (const Tensor& output : outputs) {
      program_.output_names.push_back(name_of(options.output_names, "output", program_.outputs.size()));
      program_.outputs.push_back(value_of(&output.node()));
    }
    for (const LiftScope::Lifted& lifted : scope.lifted())
      if (lifted.update.defined())
        program_.updates.push_back({lifted.parameter, value_of(&lifted.update.node()), path_of(lifted)});
    return std::move(program_);
  }

 private:
  static std::string name_of(const std::vector<std::string>& names, const char* what, std::size_t number) {
    return number < names.size() ? names[number] : fmt::format("{} {}", what, number);
  }

  // "dense/kernel", where a layer reads it first.
  std::string path_of(const LiftScope::Lifted& lifted) const {
    const std::string place = log_.of(lifted.symbol.node());
    const std::string& name = lifted.parameter.name();
    return place.empty() || name.empty() ? place + name : place + "/" + name;
  }

  ValueId add(Node& node, Value value) {
    const auto id = static_cast<ValueId>(program_.values.size());
    program_.values.push_back(std::move(value));
    places_.emplace(&node, id);
    return id;
  }

  // Every call that leads to x, without recursion.
  void find_calls(const Tensor& x) {
    std::vector<Node*> open;
    const auto meet = [&](Node* node) {
      if (!node->is(Node::kSymbol) || places_.contains(node) || !met_.emplace(node, true).second) return;
      open.push_back(node);
    };
    meet(&x.node());
    while (!open.empty()) {
      Node* node = open.back();
      open.pop_back();
      if (node->is(Node::kLeaf))
        throw Error(fmt::format("a symbol \"{}\" of shape {} is caught that is no input of the plan",
                                node->leaf()->name, node->shape.text()));
      found_.push_back(node);
      for (const Node::Edge& edge : node->edges()) meet(edge.node());
    }
  }

  ValueId value_of(Node* node) {
    if (const auto known = places_.find(node); known != places_.end()) return known->second;
    const Tensor x(node);
    return add(*node, {.kind = Value::Kind::constant, .spec = {x.shape(), x.dtype()}, .constant = detach(x)});
  }

  void add_call(Node& node) {
    PlannedCall call{.op = node.op, .arguments = node.arguments, .inputs = {}, .output = 0, .place = log_.of(node)};
    for (const Node::Edge& edge : node.edges()) call.inputs.push_back(value_of(edge.node()));
    call.output = add(node, {.kind = Value::Kind::computed, .spec = {node.shape, node.dtype}});
    program_.calls.push_back(std::move(call));
  }

  Program program_;
  PlaceLog log_;
  std::unordered_map<const Node*, ValueId> places_;
  std::unordered_map<const Node*, bool> met_;
  std::vector<Node*> found_;
};

}  // namespace

Program trace(const PlanFunction& f, const std::vector<Spec>& inputs, const PlanOptions& options) {
  return Tracer().trace(f, inputs, options);
}

}  // namespace twopass::planning
