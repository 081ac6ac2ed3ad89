#include <twopass/graph/layers/layer.h>

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <typeinfo>
#include <unordered_set>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/core/place.h>
#include <twopass/core/users_code.h>
#include <twopass/graph/layers/calling.h>
#include <twopass/graph/layers/traced.h>
#include <twopass/ops/creation.h>

namespace twopass {
namespace {

std::string shapes_text(const Shapes& shapes) {
  std::string text;
  for (const Shape& shape : shapes) text += (text.empty() ? "" : ", ") + shape.text();
  return text;
}

// "layer "dense"", or before it has a name "a Dense layer on "image"".
std::string title_of(const Layer& layer, const Tensors& inputs) {
  if (!layer.name().empty()) return fmt::format("layer \"{}\"", layer.name());
  const std::string on = inputs.empty() || !inputs[0].defined() ? "" : inputs[0].name();
  return fmt::format("{} layer{}", with_article(layer.type()), on.empty() ? "" : fmt::format(" on \"{}\"", on));
}

// Sizes beyond the batch must be those that the parameters were made for.
bool fits(const Shape& built, const Shape& given) {
  if (built.rank() != given.rank()) return false;
  for (int axis = 1; axis < built.rank(); ++axis)
    if (built[axis] != kOpen && given[axis] != kOpen && built[axis] != given[axis]) return false;
  return true;
}

class LayerCallOp : public Op {
 public:
  LayerCallOp() : Op({.name = "layer call", .doc = "What a layer gives for symbols."}) {}
  Spec shape(const Arguments* arguments, const Specs&) const override {
    const auto& call = *static_cast<const LayerCallArguments*>(arguments);
    return call.call->outputs[call.output];
  }
  void forward(const Arguments*, Inputs, const Output&) const override { refuse(); }
  void run(const Arguments*, std::span<const Operand>, std::byte*, std::int64_t, DType) const override { refuse(); }
  Lane lanes(const Arguments*, const Specs&, Lanes&, std::span<const Lane>) const override { return {}; }
  unsigned rows(const Arguments*, const Specs&) const override { return 0; }
  bool repeats(const Arguments*, const Specs&, std::size_t) const override { return false; }
  double work(const Arguments*, const Specs&) const override { return 0; }
  std::int64_t scratch(const Arguments*, const Specs&) const override { return 0; }
  std::optional<Absorbed> absorb(const Arguments*, const Consumer&) const override { return std::nullopt; }
  const Op* begins(const Arguments*, const Specs&) const override { return nullptr; }
  std::optional<std::int64_t> alias(const Arguments*, const Shape&) const override { return std::nullopt; }
  std::optional<Branches> branches(const Arguments*, const Tensors&, const Tensor&) const override {
    return std::nullopt;
  }
  Tensors gradient(const Arguments*, const Call&, const Tensor&) const override { refuse(); }
  Tensor tangent(const Arguments*, const Call&, const Tensors&) const override { refuse(); }
  Tensor stacked(const Arguments*, const Tensors&, const std::vector<bool>&) const override { return {}; }
  Attributes attributes(const Arguments*) const override { return {}; }
  Attributes defaults() const override { return {}; }
  ArgumentsPointer arguments(const Attributes&) const override { refuse(); }

 private:
  [[noreturn]] static void refuse() {
    throw Error("a layer call on symbols has no value: make a Model of it and call that");
  }
};

// What the layer that is running calls this one, where somebody notes places: reading the parts takes time.
std::string name_as_part(const Layer& layer) {
  const Layer* const outer = PlaceLog::current() ? CallingScope::current() : nullptr;
  if (outer)
    for (const auto& [name, part] : outer->parts())
      if (part.get() == &layer) return name;
  return {};
}

}  // namespace

const Op& layer_call_op() {
  static const LayerCallOp op;
  return op;
}

const LayerCallArguments* layer_call_of(const Node& node) {
  return node.op == &layer_call_op() ? static_cast<const LayerCallArguments*>(node.arguments.get()) : nullptr;
}

void Layer::build(const Shapes&) {}

std::string Layer::type() const {
  int status = 0;
  char* plain = abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &status);
  std::string name = plain ? plain : typeid(*this).name();
  std::free(plain);
  const std::size_t scope = name.rfind("::");
  return scope == std::string::npos ? name : name.substr(scope + 2);
}

std::vector<std::pair<std::string, Parameter>> Layer::named_parameters() const {
  std::vector<std::pair<std::string, Parameter>> named = weights_;
  named.insert(named.end(), states_.begin(), states_.end());
  for (const auto& each : own_parameters()) named.push_back(each);
  for (const auto& [name, part] : parts())
    for (const auto& [path, parameter] : part->named_parameters()) named.emplace_back(name + "/" + path, parameter);
  std::unordered_set<std::uint64_t> seen;
  std::erase_if(named, [&](const auto& each) { return !seen.insert(each.second.id()).second; });
  std::unordered_set<std::string> names;
  for (const auto& [name, parameter] : named)
    if (!names.insert(name).second)
      throw Error(
          fmt::format("layer class {}: two weights are named \"{}\": own_parameters() and parts() must give "
                      "each a name of its own",
                      type(), name));
  return named;
}

Parameters Layer::parameters() const {
  Parameters parameters;
  for (const auto& each : named_parameters()) parameters.push_back(each.second);
  return parameters;
}

Parameters Layer::states() const {
  Parameters states;
  for (const auto& each : states_) states.push_back(each.second);
  for (const auto& each : parts())
    for (const Parameter& inner : each.second->states())
      if (std::find(states.begin(), states.end(), inner) == states.end()) states.push_back(inner);
  return states;
}

void Layer::set_trainable(bool trainable) {
  trainable_ = trainable;
  for (const auto& each : weights_) each.second.set_trainable(trainable);
  for (const auto& each : parts()) each.second->set_trainable(trainable);
}

namespace {

void check_not_built(const char* what, const std::string& name, const Layer& layer) {
  if (layer.built())
    throw Error(fmt::format("{}(\"{}\"): {} is built: weights and states are added in its constructor or in build()",
                            what, name, title_of(layer, {})));
}

using NamedParameters = std::vector<std::pair<std::string, Parameter>>;

// Files, seeds and weights' tables know parameters by their names.
void check_new_name(const char* what, const std::string& name, const Layer& layer, const NamedParameters& weights,
                    const NamedParameters& states) {
  for (const NamedParameters* each : {&weights, &states})
    if (std::any_of(each->begin(), each->end(), [&](const auto& one) { return one.first == name; }))
      throw Error(fmt::format("{}(\"{}\"): {} has a {} of this name already", what, name, title_of(layer, {}),
                              each == &weights ? "weight" : "state"));
}

}  // namespace

Parameter Layer::add_weight(const std::string& name, const Shape& shape, Initializer initializer) {
  check_not_built("add_weight", name, *this);
  check_new_name("add_weight", name, *this, weights_, states_);
  Parameter parameter(name, shape, f32, std::move(initializer));
  parameter.set_trainable(trainable_);
  weights_.emplace_back(name, parameter);
  return parameter;
}

Parameter Layer::add_state(const std::string& name, const Shape& shape, Initializer initializer) {
  check_not_built("add_state", name, *this);
  check_new_name("add_state", name, *this, weights_, states_);
  Parameter parameter(name, shape, f32, std::move(initializer));
  parameter.set_trainable(false);
  states_.emplace_back(name, parameter);
  return parameter;
}

Tensors Layer::run(const Tensors& inputs, const CallContext& context) {
  for (const Tensor& input : inputs)
    if (!input.defined()) throw Error(fmt::format("{}: an input is an undefined tensor", title_of(*this, {})));
  if (!built_) {
    Shapes shapes;
    for (const Tensor& input : inputs) shapes.push_back(input.shape());
    try {
      const CallingScope none(nullptr);
      users_code([&] { build(shapes); });
    } catch (const Error& error) {
      weights_.clear();
      states_.clear();
      throw error.within("in " + title_of(*this, inputs));
    } catch (...) {
      weights_.clear();
      states_.clear();
      throw;
    }
    built_ = true;
    built_for_ = std::move(shapes);
  } else if (!weights_.empty() || !states_.empty()) {
    bool right = inputs.size() == built_for_.size();
    for (std::size_t k = 0; right && k < inputs.size(); ++k) right = fits(built_for_[k], inputs[k].shape());
    if (!right) {
      Shapes found;
      for (const Tensor& input : inputs) found.push_back(input.shape());
      throw Error(fmt::format("{}{} was built for {} and is given {}: what follows the batch axis must be equal",
                              title_of(*this, inputs), name().empty() ? "" : fmt::format(" ({})", type()),
                              shapes_text(built_for_), shapes_text(found)));
    }
  }
  try {
    const PlaceScope place(name_as_part(*this));
    const CallingScope calling(this);
    Tensors outputs = users_code([&] { return call(inputs, context); });
    if (outputs.empty())
      throw Error(fmt::format("{} gives no tensor: call() returns its outputs, at least one", type()));
    for (std::size_t k = 0; k < outputs.size(); ++k)
      if (!outputs[k].defined())
        throw Error(fmt::format("{} gives an undefined tensor{}: {}", type(),
                                outputs.size() > 1 ? fmt::format(" for output {}", k) : "", kUndefined));
    return outputs;
  } catch (const Error& error) {
    const std::string place = "in " + title_of(*this, inputs);
    if (std::string_view(error.what()).find(place) != std::string_view::npos) throw;
    throw error.within(place);
  }
}

namespace {

// Ones of the shape, with axes that are open of this size.
Tensor filled(const Tensor& x, std::int64_t open) {
  Shape shape = x.shape();
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] == kOpen) shape = shape.with(axis, open);
  return full(shape, 1, x.dtype());
}

// What a layer gives for symbols that looks at values: it is asked with ones, for two sizes of what is open, and where
// its outputs differ, they are open too. Empty where that tells nothing.
std::vector<Spec> specs_on_ones(Layer& layer, const Tensors& symbols, const CallContext& context) {
  std::vector<Spec> specs;
  try {
    const RecordingScope off(false);
    const ParameterSandbox trial;
    Tensors given[2], found[2];
    for (int k = 0; k < 2; ++k) {
      for (const Tensor& x : symbols) given[k].push_back(filled(x, 2 + k));
      found[k] = layer.call(given[k], context);
    }
    for (std::size_t k = 0; k < found[0].size() && found[0].size() == found[1].size(); ++k) {
      const Shape &one = found[0][k].shape(), &two = found[1][k].shape();
      if (one.rank() != two.rank()) return {};
      Shape shape = one;
      for (int axis = 0; axis < one.rank(); ++axis)
        if (one[axis] != two[axis]) shape = shape.with(axis, kOpen);
      specs.push_back({shape, found[0][k].dtype()});
    }
  } catch (const std::exception&) {
    return {};  // what the layer said of symbols tells more
  }
  return specs;
}

std::vector<Spec> specs_of(Layer& layer, const Tensors& symbols, const CallContext& context) {
  std::vector<Spec> specs;
  const UndrawnScope scope;
  for (const Tensor& y : layer.run(symbols, context)) specs.push_back({y.shape(), y.dtype()});
  return specs;
}

}  // namespace

LayerHandle::LayerHandle(LayerPointer layer) : layer_(std::move(layer)) {
  if (!layer_) throw Error("a layer is made of a null pointer");
}

Layer& LayerHandle::operator*() const {
  if (!layer_) throw Error("a layer or model was used that was never given a value, or moved from");
  return *layer_;
}

Tensors LayerHandle::call(const TensorList& inputs, const CallContext& context) const {
  const Precision wanted = (**this).call_precision();
  // A plan has one precision: that of the scope in which it is made.
  if (LiftScope::active() && wanted != products_precision())
    throw Error(
        fmt::format("{} was compiled for products in bf16 and is called in a plan of f32: make the plan in a "
                    "PrecisionScope, or by plan(model, inputs)",
                    title_of(*layer_, inputs.tensors())));
  const PrecisionScope precision(wanted);
  const bool symbolic = std::any_of(inputs.tensors().begin(), inputs.tensors().end(),
                                    [](const Tensor& x) { return x.defined() && x.symbolic(); });
  // A function that is traced runs its layers, so that their ops are seen.
  if (!symbolic || LiftScope::active()) return run_layer(layer_, inputs.tensors(), context);
  const auto remembered = std::make_shared<LayerCall>();
  remembered->layer = layer_;
  remembered->inputs = inputs.tensors();
  try {
    // So does a layer that is made of layers, in whose record they are.
    if (CallingScope::current()) return layer_->run(inputs.tensors(), context);
    // Run once on stand-ins, to learn the outputs' shapes and to build; what is remembered is the call itself.
    Tensors stand_ins;
    for (const Tensor& x : inputs.tensors())
      stand_ins.push_back(x.defined() ? symbol(x.shape(), x.dtype(), x.name()) : x);
    remembered->outputs = specs_of(*layer_, stand_ins, context);
  } catch (const Error&) {
    if (layer_->built()) remembered->outputs = specs_on_ones(*layer_, inputs.tensors(), context);
    if (remembered->outputs.empty()) throw;
  }
  Tensors outputs;
  for (std::size_t k = 0; k < remembered->outputs.size(); ++k)
    outputs.push_back(remember(layer_call_op(), ArgumentsPointer(new LayerCallArguments(remembered, k)),
                               inputs.tensors(), remembered->outputs[k]));
  return outputs;
}

Tensor LayerHandle::operator()(const TensorList& inputs, const CallContext& context) const {
  Tensors outputs = call(inputs, context);
  if (outputs.size() != 1)
    throw Error(
        fmt::format("{} has {} outputs: call() gives them", title_of(*layer_, inputs.tensors()), outputs.size()));
  return std::move(outputs[0]);
}

Tensor input(const Shape& shape, const std::string& name, DType dtype) {
  CallingScope::makes_model();
  for (const std::int64_t size : shape.sizes())
    if (size == 0)
      throw Error(
          fmt::format("input \"{}\" has shape {}, so that a sample has no elements: {{}} is for one number a "
                      "sample, kOpen for a size that is open",
                      name, shape.text()));
  return symbol(shape.inserted(0, kOpen), dtype, name);
}

}  // namespace twopass
