#include <twopass/graph/model/model_graph.h>

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <unordered_map>
#include <unordered_set>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/place.h>
#include <twopass/core/random.h>
#include <twopass/graph/layers/calling.h>
#include <twopass/graph/layers/traced.h>
#include <twopass/ops/elementwise.h>

namespace twopass {
namespace {

// As Keras: "MultiHead" gives "multi_head", "Conv2DTranspose" "conv2d_transpose", "LSTM" "lstm".
std::string snake_case(const std::string& type) {
  std::string name;
  const auto lower = [&](std::size_t k) {
    return k < type.size() && std::islower(static_cast<unsigned char>(type[k]));
  };
  for (std::size_t k = 0; k < type.size(); ++k) {
    const auto c = static_cast<unsigned char>(type[k]);
    if (std::isupper(c) && k > 0 && (lower(k - 1) || lower(k + 1))) name += '_';
    name += static_cast<char>(std::tolower(c));
  }
  return name;
}

// Names that a model makes itself depend on the model alone.
class Names {
 public:
  void take(const std::string& name) { taken_.insert(name); }
  std::string fresh(const std::string& base) {
    int& count = counts_[base];
    std::string name;
    do {
      name = count == 0 ? base : fmt::format("{}_{}", base, count);
      ++count;
    } while (!taken_.insert(name).second);
    return name;
  }

 private:
  std::unordered_set<std::string> taken_;
  std::unordered_map<std::string, int> counts_;
};

void check_symbols(const TensorList& tensors, const char* what) {
  if (tensors.empty()) throw Error(fmt::format("a model needs {}", what));
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    if (!tensors[k].defined()) throw Error(fmt::format("{} {} of a model is an undefined tensor", what, k));
    if (!tensors[k].symbolic())
      throw Error(fmt::format("{} {} of a model, of shape {}, is no symbol: it does not come from input()", what, k,
                              tensors[k].shape().text()));
  }
}

// What the user calls inputs or outputs: data are given by these names.
void check_names(const std::vector<std::string>& names, const char* what) {
  std::unordered_set<std::string> known;
  for (const std::string& name : names)
    if (!known.insert(name).second)
      throw Error(fmt::format("two {}s of a model are named \"{}\": every {}'s name must be unique", what, name, what));
}

class Tracer {
 public:
  Tracer(const TensorList& inputs, const TensorList& outputs) : inputs_(inputs), outputs_(outputs) {}

  ModelGraph trace() {
    check_symbols(inputs_, "inputs");
    check_symbols(outputs_, "outputs");
    check_names(inputs_.names(), "input");
    check_names(outputs_.names(), "output");
    for (std::size_t k = 0; k < inputs_.size(); ++k)
      if (!declared_.emplace(&inputs_[k].node(), k).second)
        throw Error(fmt::format("input {} of a model is given twice", k));
    find_nodes();
    add_inputs();
    std::sort(found_.begin(), found_.end(), [](const Node* a, const Node* b) { return a->number < b->number; });
    for (Node* node : found_) add_step(*node);
    name_steps();
    finish();
    return std::move(graph_);
  }

 private:
  // Everything between outputs and inputs, without recursion.
  void find_nodes() {
    std::vector<Node*> open;
    std::unordered_set<const Node*> seen;
    const auto meet = [&](Node* node) {
      if (seen.insert(node).second) open.push_back(node);
    };
    for (std::size_t output = 0; output < outputs_.size(); ++output) {
      meet(&outputs_[output].node());
      while (!open.empty()) {
        Node* node = open.back();
        open.pop_back();
        if (declared_.contains(node)) {
          used_.insert(node);
          continue;
        }
        if (!node->is(Node::kSymbol)) continue;  // a value that an op caught
        if (node->is(Node::kLeaf)) refuse_disconnected(*node, output);
        found_.push_back(node);
        for (const Node::Edge& edge : node->edges()) meet(edge.node());
      }
    }
  }

  // What a step is called before the model has names: "a Dense layer "out"", "add".
  static std::string title_of(const Node& node) {
    if (node.is(Node::kLeaf)) return fmt::format("\"{}\"", node.leaf()->name);
    const LayerCallArguments* call = layer_call_of(node);
    if (!call) return node.op->name();
    const Layer& layer = *call->call->layer;
    return layer.name().empty() ? with_article(layer.type()) + " layer"
                                : fmt::format("{} layer \"{}\"", layer.type(), layer.name());
  }

  [[noreturn]] void refuse_disconnected(const Node& missing, std::size_t output) const {
    if (missing.leaf()->parameter && LiftScope::active())
      throw Error(fmt::format(
          "a model is made in a plan's function, where parameters, such as its \"{}\" of shape {}, are symbols "
          "of the plan: make the model outside and call it in the function",
          missing.leaf()->name, missing.shape.text()));
    std::string user = "it";
    for (const Node* node : found_)
      for (const Node::Edge& edge : node->edges())
        if (edge.node() == &missing) user = title_of(*node);
    std::string list;
    for (const Tensor& x : inputs_.tensors()) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", x.name());
    throw Error(
        fmt::format("output {} ({}) is not connected to the inputs {}: graph disconnected at {}, which needs \"{}\" of "
                    "shape {}",
                    output, title_of(outputs_[output].node()), list, user, missing.leaf()->name, missing.shape.text()));
  }

  void add_inputs() {
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      const Tensor& x = inputs_[k];
      ModelStep step{.kind = ModelStep::Kind::input,
                     .name = k < inputs_.names().size() ? inputs_.names()[k] : x.name()};
      step.outputs = {{x.shape(), x.dtype()}};
      step.symbols = {x};
      graph_.inputs.push_back(graph_.steps.size());
      if (!used_.contains(&x.node())) graph_.unused_inputs.push_back(graph_.steps.size());
      places_[&x.node()] = {graph_.steps.size(), 0};
      graph_.steps.push_back(std::move(step));
    }
  }

  ModelStep::Source source_of(Node* node) {
    if (const auto known = places_.find(node); known != places_.end()) return known->second;
    const Tensor x(node);
    ModelStep step{.kind = ModelStep::Kind::constant, .name = "constant"};
    if (const Parameter parameter = Parameter::of(x); parameter.defined()) {
      step.kind = ModelStep::Kind::parameter;
      step.name = parameter.name().empty() ? "parameter" : parameter.name();
      step.parameter = parameter;
    } else if (x.recorded()) {
      throw Error(
          fmt::format("a tensor of shape {} that was computed from variables is caught by a model: use a Parameter "
                      "itself, or a layer",
                      x.shape().text()));
    } else {
      step.constant = x;
    }
    step.outputs = {{x.shape(), x.dtype()}};
    step.symbols = {x};
    const ModelStep::Source source{graph_.steps.size(), 0};
    places_[node] = source;
    graph_.steps.push_back(std::move(step));
    return source;
  }

  void add_step(Node& node) {
    if (places_.contains(&node)) return;
    ModelStep step{.kind = ModelStep::Kind::op, .name = {}};
    const LayerCallArguments* call = layer_call_of(node);
    for (const Node::Edge& edge : node.edges()) step.inputs.push_back(source_of(edge.node()));
    if (call) {
      // All outputs of one call are one step.
      if (const auto known = calls_.find(call->call.get()); known != calls_.end()) {
        places_[&node] = {known->second, call->output};
        graph_.steps[known->second].symbols[call->output] = Tensor(&node);
        return;
      }
      step.kind = ModelStep::Kind::layer;
      step.layer = call->call->layer;
      step.outputs = call->call->outputs;
      step.symbols.resize(step.outputs.size());
      step.symbols[call->output] = Tensor(&node);
      calls_[call->call.get()] = graph_.steps.size();
      places_[&node] = {graph_.steps.size(), call->output};
    } else {
      step.op = node.op;
      step.arguments = node.arguments;
      step.outputs = {{node.shape, node.dtype}};
      step.symbols = {Tensor(&node)};
      places_[&node] = {graph_.steps.size(), 0};
    }
    graph_.steps.push_back(std::move(step));
  }

  void name_steps() {
    Names names;
    std::unordered_map<std::string, int> explicit_names;
    std::unordered_map<const Layer*, std::string> layers;
    for (const ModelStep& step : graph_.steps) {
      if (step.kind == ModelStep::Kind::layer && !layers.contains(step.layer.get())) {
        layers[step.layer.get()] = step.layer->name();
        if (!step.layer->name().empty()) ++explicit_names[step.layer->name()];
      }
    }
    for (const auto& [name, count] : explicit_names) {
      if (count > 1)
        throw Error(fmt::format("the name \"{}\" is used {} times in the model: every layer's name must be unique",
                                name, count));
      names.take(name);
    }
    for (ModelStep& step : graph_.steps) {
      if (step.kind == ModelStep::Kind::layer) {
        std::string& name = layers[step.layer.get()];
        if (name.empty()) name = names.fresh(snake_case(step.layer->type()));
        step.name = name;
      } else if (step.kind == ModelStep::Kind::op) {
        step.name = names.fresh(step.op->name());
      } else {
        step.name = names.fresh(step.name.empty() ? "input" : step.name);
      }
    }
  }

  void finish() {
    for (const std::size_t step : graph_.inputs) graph_.input_names.push_back(graph_.steps[step].name);
    Names names;
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      const auto source = places_.at(&outputs_[k].node());
      graph_.outputs.push_back(source);
      graph_.output_names.push_back(
          names.fresh(k < outputs_.names().size() ? outputs_.names()[k] : graph_.steps[source.step].name));
    }
  }

  const TensorList& inputs_;
  const TensorList& outputs_;
  ModelGraph graph_;
  std::unordered_map<const Node*, std::size_t> declared_;
  std::unordered_set<const Node*> used_;
  std::vector<Node*> found_;
  std::unordered_map<const Node*, ModelStep::Source> places_;
  std::unordered_map<const LayerCall*, std::size_t> calls_;
};

}  // namespace

ModelGraph trace_model(const TensorList& inputs, const TensorList& outputs) { return Tracer(inputs, outputs).trace(); }

Tensors ModelGraph::run_step(std::size_t number, const std::vector<Tensors>& values, const CallContext& context) const {
  const ModelStep& step = steps[number];
  if (step.kind == ModelStep::Kind::parameter) return {step.parameter.tensor()};
  if (step.kind == ModelStep::Kind::constant) {
    // Constants follow the precision that the model is run in.
    const DType wanted = values[inputs[0]][0].dtype();
    const bool converts = is_floating(step.constant.dtype()) && is_floating(wanted) && step.constant.dtype() != wanted;
    return {converts ? cast(step.constant, wanted) : step.constant};
  }
  Tensors given;
  for (const auto& source : step.inputs) given.push_back(values[source.step][source.output]);
  if (step.kind == ModelStep::Kind::op) return {apply(*step.op, step.arguments, given)};
  CallContext inner = context;
  inner.seed = seed_of(context.seed, fmt::format("{}#{}", step.name, number));
  const PlaceScope place(step.name);
  const CallingScope none(nullptr);  // the place is entered already
  return run_layer(step.layer, given, inner);
}

void ModelGraph::check_inputs(const Tensors& given) const {
  if (given.size() != inputs.size())
    throw Error(fmt::format("{} {} given where {} {} expected", counted(given.size(), "input"),
                            given.size() == 1 ? "was" : "were", inputs.size(), inputs.size() == 1 ? "is" : "are"));
  for (std::size_t k = 0; k < given.size(); ++k) {
    const Shape& wanted = steps[inputs[k]].outputs[0].shape;
    const Shape& found = given[k].shape();
    bool fits = wanted.rank() == found.rank();
    for (int axis = 0; fits && axis < wanted.rank(); ++axis)
      fits = wanted[axis] == kOpen || wanted[axis] == found[axis];
    if (!fits)
      throw Error(
          fmt::format("input \"{}\" expects shape {} but found {}", input_names[k], wanted.text(), found.text()));
  }
}

Tensors ModelGraph::run(const Tensors& given, const CallContext& context) const {
  check_inputs(given);
  std::vector<Tensors> values(steps.size());
  for (std::size_t k = 0; k < given.size(); ++k) values[inputs[k]] = {given[k]};
  // What nobody reads any more is let go, so that a forward pass alone needs little memory.
  std::vector<std::size_t> last(steps.size(), 0);
  for (std::size_t k = 0; k < steps.size(); ++k)
    for (const auto& source : steps[k].inputs) last[source.step] = k;
  for (const auto& source : outputs) last[source.step] = steps.size();
  for (std::size_t k = 0; k < steps.size(); ++k) {
    if (steps[k].kind != ModelStep::Kind::input) {
      try {
        values[k] = run_step(k, values, context);
      } catch (const Error& error) {
        if (steps[k].kind == ModelStep::Kind::layer && steps[k].layer->name().empty() &&
            std::string_view(error.what()).find("in layer \"") == std::string_view::npos)
          throw error.within(fmt::format("in layer \"{}\"", steps[k].name));
        throw;
      }
    }
    for (const auto& source : steps[k].inputs)
      if (last[source.step] == k && source.step != inputs[0]) values[source.step].clear();
  }
  Tensors results;
  for (const auto& source : outputs) results.push_back(values[source.step][source.output]);
  return results;
}

}  // namespace twopass
