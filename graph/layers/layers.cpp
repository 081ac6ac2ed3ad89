#include <twopass/graph/layers/layers.h>

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>
#include <twopass/ops/activations.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/random.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>

namespace twopass {
namespace {

using Unary = Tensor (*)(const Tensor&);

const std::map<std::string, Unary>& activations() {
  static const std::map<std::string, Unary> all = {{"relu", relu},
                                                   {"sigmoid", sigmoid},
                                                   {"tanh", tanh},
                                                   {"gelu", gelu},
                                                   {"silu", silu},
                                                   {"swish", silu},
                                                   {"softplus", softplus},
                                                   {"exponential", exp},
                                                   {"leaky_relu", [](const Tensor& x) { return leaky_relu(x); }},
                                                   {"elu", [](const Tensor& x) { return elu(x); }},
                                                   {"softmax", [](const Tensor& x) { return softmax(x, -1); }},
                                                   {"log_softmax", [](const Tensor& x) { return log_softmax(x, -1); }},
                                                   {"celu", [](const Tensor& x) { return celu(x); }},
                                                   {"selu", selu},
                                                   {"relu6", relu6},
                                                   {"mish", mish},
                                                   {"softsign", softsign},
                                                   {"hard_sigmoid", hard_sigmoid},
                                                   {"hard_silu", hard_silu},
                                                   {"hard_swish", hard_silu},
                                                   {"hard_tanh", hard_tanh},
                                                   {"hard_shrink", [](const Tensor& x) { return hard_shrink(x); }},
                                                   {"soft_shrink", [](const Tensor& x) { return soft_shrink(x); }},
                                                   {"tanh_shrink", tanh_shrink},
                                                   {"log_sigmoid", log_sigmoid},
                                                   {"squareplus", [](const Tensor& x) { return squareplus(x); }},
                                                   {"sparse_plus", sparse_plus},
                                                   {"sparse_sigmoid", sparse_sigmoid},
                                                   {"sparsemax", [](const Tensor& x) { return sparsemax(x); }}};
  return all;
}

std::string text_attribute(const Attributes& attributes, const char* name) {
  return attribute::as_string(attribute::named(attributes, name), name);
}
std::int64_t integer_attribute(const Attributes& attributes, const char* name) {
  return attribute::as_integer(attribute::named(attributes, name), name);
}

class DenseLayer : public Layer {
 public:
  DenseLayer(std::int64_t units, const DenseOptions& options) : units_(units), options_(options) {
    if (units < 1 || units > (std::int64_t{1} << 40))
      throw Error(fmt::format("Dense({}): units must be from 1 to 2^40", units));
    const std::string& name = options.activation.name();
    fused_ = name == "relu"      ? FusedActivation::relu
             : name == "sigmoid" ? FusedActivation::sigmoid
             : name == "tanh"    ? FusedActivation::tanh
                                 : FusedActivation::linear;
  }
  void build(const Shapes& inputs) override {
    if (inputs.size() != 1) throw Error(fmt::format("Dense takes one input, not {}", inputs.size()));
    if (inputs[0].rank() < 2)
      throw Error(fmt::format("Dense needs a batch axis and features: its input has shape {}", inputs[0].text()));
    const std::int64_t features = inputs[0].back();
    if (features == kOpen) throw Error("Dense needs to know the size of its input's last axis, which is open");
    kernel_ = add_weight("kernel", {features, units_}, options_.kernel_initializer);
    if (options_.use_bias) bias_ = add_weight("bias", {units_}, options_.bias_initializer);
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    Tensor y = affine(inputs[0], kernel_, options_.use_bias ? bias_.tensor() : Tensor(), fused_);
    if (fused_ == FusedActivation::linear) y = options_.activation(y);
    return {y};
  }
  std::string type() const override { return "Dense"; }
  bool savable() const override { return options_.activation.named(); }
  Attributes attributes() const override {
    return {{"units", units_}, {"activation", options_.activation.name()}, {"use_bias", options_.use_bias}};
  }

 private:
  std::int64_t units_;
  DenseOptions options_;
  FusedActivation fused_;
  Parameter kernel_, bias_;
};

// Layers that are one function of one tensor.
class FunctionLayer : public Layer {
 public:
  using Function = std::function<Tensor(const Tensor&, const CallContext&)>;
  FunctionLayer(std::string type, Attributes attributes, bool savable, Function function)
      : type_(std::move(type)), attributes_(std::move(attributes)), savable_(savable), function_(std::move(function)) {}
  Tensors call(const Tensors& inputs, const CallContext& context) override {
    if (inputs.size() != 1) throw Error(fmt::format("{} takes one input, not {}", type_, inputs.size()));
    return {function_(inputs[0], context)};
  }
  std::string type() const override { return type_; }
  bool savable() const override { return savable_; }
  Attributes attributes() const override { return attributes_; }

 private:
  std::string type_;
  Attributes attributes_;
  bool savable_;
  Function function_;
};

// Layers that join two tensors or more.
class MergeLayer : public Layer {
 public:
  using Function = std::function<Tensor(const Tensors&)>;
  MergeLayer(std::string type, Attributes attributes, Function function, std::size_t most = 0)
      : type_(std::move(type)), attributes_(std::move(attributes)), function_(std::move(function)), most_(most) {}
  Tensors call(const Tensors& inputs, const CallContext&) override {
    if (inputs.empty() || (most_ && inputs.size() != most_))
      throw Error(fmt::format("{} takes {} inputs, not {}", type_, most_ ? std::to_string(most_) : "one or more",
                              inputs.size()));
    return {function_(inputs)};
  }
  std::string type() const override { return type_; }
  Attributes attributes() const override { return attributes_; }

 private:
  std::string type_;
  Attributes attributes_;
  Function function_;
  std::size_t most_;
};

using Combine = Tensor (*)(const Tensor& a, const Tensor& b);
MergeLayer::Function folded(Combine combine) {
  return [combine](const Tensors& inputs) {
    Tensor total = inputs[0];
    for (std::size_t k = 1; k < inputs.size(); ++k) total = combine(total, inputs[k]);
    return total;
  };
}

LayerPointer named_layer(LayerPointer layer, const std::string& name) {
  layer->set_name(name);
  return layer;
}

LayerPointer unary_layer(const char* type, Attributes attributes, const std::string& name,
                         FunctionLayer::Function function, bool savable = true) {
  return named_layer(std::make_shared<FunctionLayer>(type, std::move(attributes), savable, std::move(function)), name);
}

LayerPointer merge_layer(const char* type, const std::string& name, MergeLayer::Function function,
                         Attributes attributes = {}, std::size_t most = 0) {
  return named_layer(std::make_shared<MergeLayer>(type, std::move(attributes), std::move(function), most), name);
}

LayerPointer dropout_layer(double rate, const std::string& name) {
  if (!(rate >= 0 && rate <= 1)) throw Error(fmt::format("Dropout({}): the rate must lie in 0 … 1", rate));
  return unary_layer("Dropout", {{"rate", rate}}, name, [rate](const Tensor& x, const CallContext& context) {
    if (!context.training || rate == 0) return identity(x);
    return dropout(x, rate, context.seed, context.step.defined() ? context.step : tensor(std::int64_t{0}));
  });
}

LayerPointer lambda_layer(std::function<Tensor(const Tensor&)> function, const std::string& name) {
  if (!function) throw Error(fmt::format("{} needs a function", name.empty() ? "Lambda" : "Lambda \"" + name + "\""));
  return unary_layer(
      "Lambda", {}, name, [f = std::move(function)](const Tensor& x, const CallContext&) { return f(x); }, false);
}

// New sizes after the batch: [n, a, b] and (c, -1) give [n, c, a b / c].
LayerPointer reshape_layer(const Shape& shape, const std::string& name) {
  return unary_layer("Reshape", {{"shape", shape.sizes()}}, name, [shape](const Tensor& x, const CallContext&) {
    if (x.rank() < 1) throw Error("Reshape needs a batch axis");
    std::vector<std::int64_t> sizes = shape.sizes();
    std::int64_t have = 1, known = 1;
    for (int axis = 1; axis < x.rank(); ++axis) have = checked_product(have, x.shape()[axis]);
    for (const std::int64_t size : sizes) known = size < 0 ? known : checked_product(known, size);
    for (std::int64_t& size : sizes)
      if (size < 0 && known > 0 && have % known == 0) size = have / known;
    std::int64_t wanted = 1;
    for (const std::int64_t size : sizes) wanted = size < 0 ? -1 : checked_product(wanted, size);
    if (wanted != have) throw Error(fmt::format("Reshape: {} elements a sample do not go into {}", have, shape.text()));
    sizes.insert(sizes.begin(), x.shape()[0]);
    return reshape(x, Shape(sizes));
  });
}

}  // namespace

void ActivationFunction::check_function() const {
  if (!function_) throw Error("an activation is an empty function: \"linear\" stands for none");
}

ActivationFunction::ActivationFunction(const char* name)
    : ActivationFunction(name ? std::string(name)
                              : throw Error("an activation is a null pointer: \"linear\" stands for none")) {}
ActivationFunction::ActivationFunction(const std::string& name) : name_(name) {
  if (name == "linear" || name.empty()) {
    name_ = "linear";
    return;
  }
  const auto found = activations().find(name);
  if (found == activations().end()) {
    std::string list = "linear";
    for (const auto& each : activations()) list += ", " + each.first;
    throw Error(fmt::format("there is no activation \"{}\": it must be one of {}", name, list));
  }
  function_ = found->second;
}

Dense::Dense(std::int64_t units, const DenseOptions& options)
    : LayerHandle(named_layer(std::make_shared<DenseLayer>(units, options), options.name)) {}
Activation::Activation(const ActivationFunction& activation, const LayerOptions& options)
    : LayerHandle(unary_layer(
          "Activation", {{"activation", activation.name()}}, options.name,
          [activation](const Tensor& x, const CallContext&) { return activation(x); }, activation.named())) {}
Dropout::Dropout(double rate, const LayerOptions& options) : LayerHandle(dropout_layer(rate, options.name)) {}
Flatten::Flatten(const LayerOptions& options)
    : LayerHandle(unary_layer("Flatten", {}, options.name, [](const Tensor& x, const CallContext&) {
        return x.rank() == 1 ? expand_dims(x, 1) : flatten(x, 1);
      })) {}
Reshape::Reshape(const Shape& shape, const LayerOptions& options) : LayerHandle(reshape_layer(shape, options.name)) {}
Identity::Identity(const LayerOptions& options)
    : LayerHandle(
          unary_layer("Identity", {}, options.name, [](const Tensor& x, const CallContext&) { return identity(x); })) {}
Lambda::Lambda(std::function<Tensor(const Tensor&)> function, const LayerOptions& options)
    : LayerHandle(lambda_layer(std::move(function), options.name)) {}
Add::Add(const LayerOptions& options) : LayerHandle(merge_layer("Add", options.name, folded(add))) {}
Subtract::Subtract(const LayerOptions& options)
    : LayerHandle(merge_layer("Subtract", options.name, folded(sub), {}, 2)) {}
Multiply::Multiply(const LayerOptions& options) : LayerHandle(merge_layer("Multiply", options.name, folded(mul))) {}
Average::Average(const LayerOptions& options)
    : LayerHandle(merge_layer("Average", options.name, [](const Tensors& inputs) {
        return folded(add)(inputs) / static_cast<double>(inputs.size());
      })) {}
Maximum::Maximum(const LayerOptions& options) : LayerHandle(merge_layer("Maximum", options.name, folded(maximum))) {}
Minimum::Minimum(const LayerOptions& options) : LayerHandle(merge_layer("Minimum", options.name, folded(minimum))) {}
Concatenate::Concatenate(const ConcatenateOptions& options)
    : LayerHandle(merge_layer("Concatenate", options.name,
                              [axis = options.axis](const Tensors& inputs) { return concat(inputs, axis); },
                              {{"axis", std::int64_t{options.axis}}})) {}

namespace {

template <typename L>
LayerPointer plain(const Attributes&) {
  return L().pointer();
}

// Layers by class name, the user's too; a mutex, as programs may register from several threads.
struct LayerRegistry {
  std::mutex mutex;
  std::set<std::string> of_users;
  std::map<std::string, LayerMaker> makers = {
      {"Dense",
       [](const Attributes& with) {
         return Dense(integer_attribute(with, "units"),
                      {.activation = text_attribute(with, "activation"),
                       .use_bias = attribute::as_bool(attribute::named(with, "use_bias"), "use_bias")})
             .pointer();
       }},
      {"Activation", [](const Attributes& with) { return Activation(text_attribute(with, "activation")).pointer(); }},
      {"Dropout",
       [](const Attributes& with) {
         return Dropout(attribute::as_double(attribute::named(with, "rate"), "rate")).pointer();
       }},
      {"Reshape",
       [](const Attributes& with) {
         return Reshape(Shape(attribute::as_list(attribute::named(with, "shape"), "shape"))).pointer();
       }},
      {"Concatenate",
       [](const Attributes& with) {
         return Concatenate({.axis = static_cast<int>(integer_attribute(with, "axis"))}).pointer();
       }},
      {"Flatten", plain<Flatten>},
      {"Identity", plain<Identity>},
      {"Add", plain<Add>},
      {"Subtract", plain<Subtract>},
      {"Multiply", plain<Multiply>},
      {"Average", plain<Average>},
      {"Maximum", plain<Maximum>},
      {"Minimum", plain<Minimum>}};
  LayerRegistry() {
    for (auto family : {convolutional_layers, pooling_layers, normalization_layers, recurrent_layers, attention_layers})
      makers.merge(family());
  }
};
LayerRegistry& registry() {
  static LayerRegistry* const only = new LayerRegistry;
  return *only;
}

}  // namespace

LayerPointer layer_from(const std::string& type, const Attributes& attributes) {
  LayerMaker maker;
  {
    const std::lock_guard lock(registry().mutex);
    const auto found = registry().makers.find(type);
    if (found == registry().makers.end())
      throw Error(fmt::format("there is no layer class \"{}\" here: register_layer() makes it known", type));
    maker = found->second;
  }
  LayerPointer made = maker(attributes);
  if (!made) throw Error(fmt::format("what was registered for the layer class \"{}\" makes no layer", type));
  return made;
}

void register_layer(const std::string& type, std::function<LayerPointer(const Attributes&)> make) {
  if (type.empty()) throw Error("register_layer: a layer class needs a name");
  const std::lock_guard lock(registry().mutex);
  if (registry().makers.contains(type)) throw Error(fmt::format("there is a layer class \"{}\" already", type));
  if (!make) throw Error(fmt::format("register_layer: \"{}\" needs a function that makes it", type));
  registry().makers.emplace(type, std::move(make));
  registry().of_users.insert(type);
}

bool is_registered(const std::string& type) {
  const std::lock_guard lock(registry().mutex);
  return registry().of_users.contains(type);
}

}  // namespace twopass
