#include <twopass/graph/plan/trace.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include <twopass/core/place.h>
#include <twopass/core/users_code.h>
#include <twopass/graph/autodiff/node_map.h>
#include <twopass/graph/plan/eager_calls.h>

namespace twopass::planning {
namespace {

class Tracer {
 public:
  std::pair<Program, std::shared_ptr<const Traced>> trace(const PlanFunction& f, const std::vector<Spec>& inputs,
                                                          const PlanOptions& options) {
    Tensors symbols;
    for (const Spec& spec : inputs) {
      spec.shape.elements();  // refuses open axes
      symbols.push_back(symbol(spec.shape, spec.dtype, name_of(options.input_names, "input", symbols.size())));
      program_.inputs.push_back(
          add(symbols.back().node(), {.kind = Value::Kind::input, .spec = spec, .name = symbols.back().name()}));
    }
    LiftScope scope;
    scope_ = &scope;
    const RecordingScope on(true);
    const Tensors outputs = f(symbols);
    for (std::size_t k = 0; k < outputs.size(); ++k)
      if (!outputs[k].defined())
        throw Error(fmt::format("plan: the function gives an undefined tensor as {}: {}",
                                name_of(options.output_names, "output", k), kUndefined));
    for (const LiftScope::Lifted& lifted : scope.lifted())
      add(lifted.symbol.node(), {.kind = Value::Kind::parameter,
                                 .spec = {lifted.symbol.shape(), lifted.symbol.dtype()},
                                 .name = path_of(lifted),
                                 .parameter = lifted.parameter});
    for (const Tensor& output : outputs) find_calls(output);
    for (const LiftScope::Lifted& lifted : scope.lifted())
      if (lifted.update.defined()) find_calls(lifted.update);
    std::sort(found_.begin(), found_.end(), [](const Node* a, const Node* b) { return a->number < b->number; });
    program_.calls.reserve(found_.size());
    for (Node* node : found_) add_call(*node);
    for (const Tensor& output : outputs) {
      program_.output_names.push_back(name_of(options.output_names, "output", program_.outputs.size()));
      program_.outputs.push_back(value_of(&output.node()));
    }
    for (const LiftScope::Lifted& lifted : scope.lifted())
      if (lifted.update.defined())
        program_.updates.push_back({lifted.parameter, value_of(&lifted.update.node()), path_of(lifted)});
    note_again(symbols, outputs);
    return {std::move(program_), std::move(traced_)};
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
    places_.insert(&node, id);
    return id;
  }

  // Every call that leads to x, without recursion.
  void find_calls(const Tensor& x) {
    std::vector<Node*> open;
    const auto meet = [&](Node* node) {
      if (!node->is(Node::kSymbol) || places_.find(node) || met_.find(node)) return;
      met_.insert(node, 1);
      open.push_back(node);
    };
    meet(&x.node());
    while (!open.empty()) {
      Node* node = open.back();
      open.pop_back();
      if (const Tensor stands_for = node->is(Node::kLeaf) ? scope_->behind(*node) : Tensor(); stands_for.defined()) {
        meet(&stands_for.node());
        continue;
      }
      if (node->is(Node::kLeaf))
        throw Error(fmt::format("a symbol \"{}\" of shape {} is caught that is no input of the plan",
                                node->leaf()->name, node->shape.text()));
      found_.push_back(node);
      for (const Node::Edge& edge : node->edges()) meet(edge.node());
    }
  }

  // The same with what the program no longer tells: which calls were recorded, and where no derivative passes.
  void note_again(const Tensors& symbols, const Tensors& outputs) {
    using Kind = Traced::Item::Kind;
    for (const Tensor& x : symbols) note(x.node(), {.kind = Kind::input, .spec = {x.shape(), x.dtype()}});
    for (const LiftScope::Lifted& each : scope_->lifted())
      note(each.symbol.node(),
           {.kind = Kind::parameter, .spec = {each.symbol.shape(), each.symbol.dtype()}, .parameter = each.parameter});
    traced_->items.reserve(program_.values.size());
    for (std::size_t k = 0; k < found_.size(); ++k) {
      Node* const node = found_[k];
      Traced::Item call{.kind = Kind::call,
                        .spec = {node->shape, node->dtype},
                        .recorded = node->is(Node::kRecorded),
                        .op = node->op,
                        .arguments = node->arguments,
                        .place = program_.calls[k].place};
      call.inputs.reserve(node->edges().size());
      for (const Node::Edge& edge : node->edges()) call.inputs.push_back(number_of(*edge.node()));
      note(*node, std::move(call));
    }
    for (const Tensor& output : outputs) traced_->outputs.push_back(number_of(output.node()));
    for (const LiftScope::Lifted& each : scope_->lifted())
      if (each.update.defined()) traced_->updates.emplace_back(each.parameter, number_of(each.update.node()));
  }

  Traced::Number note(const Node& node, Traced::Item item) {
    traced_->items.push_back(std::move(item));
    const auto number = static_cast<Traced::Number>(traced_->items.size() - 1);
    numbers_.insert(&node, number);
    return number;
  }

  Traced::Number number_of(Node& node) {
    if (const std::uint32_t* known = numbers_.find(&node)) return *known;
    Traced::Item item{
        .kind = Traced::Item::Kind::constant, .spec = {node.shape, node.dtype}, .recorded = node.is(Node::kRecorded)};
    if (const Tensor stands_for = node.is(Node::kLeaf) ? scope_->behind(node) : Tensor(); stands_for.defined()) {
      item.kind = Traced::Item::Kind::leaf;
      item.inputs = {number_of(stands_for.node())};
      item.parameter = Parameter::of(Tensor(&node));
    } else {
      item.constant = held(detach(Tensor(&node)));
    }
    return note(node, std::move(item));
  }

  // What is large is mostly a number that was broadcast, and not worth its memory.
  static Tensor held(const Tensor& x) {
    const std::size_t bytes = x.node().bytes(), each = size_of(x.dtype());
    const std::byte* const data = x.node().data;
    if (bytes <= 1024 || std::memcmp(data, data + each, bytes - each) != 0) return x;
    const Tensor one = uninitialised({}, x.dtype());
    std::copy_n(data, each, one.node().data);
    return one;
  }

  ValueId value_of(Node* node) {
    if (const std::uint32_t* known = places_.find(node)) return *known;
    if (const Tensor stands_for = scope_->behind(*node); stands_for.defined()) return value_of(&stands_for.node());
    const Tensor x(node);
    return add(*node, {.kind = Value::Kind::constant, .spec = {x.shape(), x.dtype()}, .constant = detach(x)});
  }

  void add_call(Node& node) {
    PlannedCall call{.op = node.op, .arguments = node.arguments, .inputs = {}, .output = 0, .place = log_.of(node)};
    const auto edges = node.edges();
    call.inputs.reserve(edges.size());
    for (std::size_t k = 0; k < edges.size(); ++k)
      if (reads_input(*node.op, node.arguments.get(), k)) call.inputs.push_back(value_of(edges[k].node()));
    call.output = add(node, {.kind = Value::Kind::computed, .spec = {node.shape, node.dtype}});
    program_.calls.push_back(std::move(call));
  }

  Program program_;
  std::shared_ptr<Traced> traced_ = std::make_shared<Traced>();
  const LiftScope* scope_ = nullptr;
  PlaceLog log_;
  NodeMap places_, numbers_, met_;
  std::vector<Node*> found_;
};

}  // namespace

std::pair<Program, std::shared_ptr<const Traced>> trace(const PlanFunction& f, const std::vector<Spec>& inputs,
                                                        const PlanOptions& options) {
  return Tracer().trace(f, inputs, options);
}

}  // namespace twopass::planning
