// Layers: parameters and a call from tensors to tensors.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/parameter.h>
#include <twopass/core/tensor.h>
#include <twopass/graph/layers/tensor_list.h>
#include <twopass/ops/op.h>
#include <twopass/ops/precision.h>

namespace twopass {

/// How a call runs: training or not, and where layers that draw take their numbers from.
struct CallContext {
  bool training = false;
  /// The seed of the part that draws: that of its model and path.
  std::uint64_t seed = 0;
  /// The number of the step, an i64 scalar: equal steps draw equal numbers. fit counts; a training loop of your own
  /// gives it, or every call draws what step 0 does.
  Tensor step = {};
};

/// What a layer is to one that writes layers: override `call`, and `build` where there are parameters. `type` and
/// `attributes` make it savable.
class Layer {
 public:
  virtual ~Layer() = default;
  /// Makes the parameters from the input shapes (the first axis is the batch); called once, before the first call.
  virtual void build(const Shapes& inputs);
  /// The outputs, at least one; shapes follow from what this does to symbols.
  virtual Tensors call(const Tensors& inputs, const CallContext& context) = 0;
  /// The class name in summaries and files, such as "Dense"; by default the C++ class name.
  virtual std::string type() const;
  /// What the constructor was given, so that a file can make the layer again.
  virtual Attributes attributes() const { return {}; }
  /// Whether a file can hold it; a Lambda can't be saved.
  virtual bool savable() const { return true; }
  /// The precision of products where a user calls it: the scope's, but for a model that was compiled for another.
  virtual Precision call_precision() const { return products_precision(); }
  /// Layers inside, with their names: all that `call` calls, or their weights are neither trained nor saved.
  virtual std::vector<std::pair<std::string, std::shared_ptr<Layer>>> parts() const { return {}; }

  /// Parameters that are its own beside those of add_weight and add_state. What is none of these is neither trained nor
  /// saved, which fit refuses, unless it is frozen.
  virtual std::vector<std::pair<std::string, Parameter>> own_parameters() const { return {}; }

  /// The parameters of this layer and of those inside, each once, with their paths ("kernel", "dense/kernel").
  std::vector<std::pair<std::string, Parameter>> named_parameters() const;
  Parameters parameters() const;
  /// Those of add_state alone, of layers inside too.
  Parameters states() const;
  /// The name that was asked for; empty where the model gives one.
  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }
  bool trainable() const { return trainable_; }
  /// Freezes or thaws all parameters, inside too; takes effect at the next step.
  void set_trainable(bool trainable);
  bool built() const { return built_; }

  /// Builds where needed, checks shapes against those it was built for, and calls.
  Tensors run(const Tensors& inputs, const CallContext& context);

 protected:
  /// A new parameter, drawn when first read.
  Parameter add_weight(const std::string& name, const Shape& shape, Initializer initializer);
  /// A new parameter that optimizers never change, set by the layer itself in training, such as a moving mean.
  Parameter add_state(const std::string& name, const Shape& shape, Initializer initializer);

 private:
  std::string name_;
  bool trainable_ = true;
  bool built_ = false;
  Shapes built_for_;
  std::vector<std::pair<std::string, Parameter>> weights_, states_;
};

using LayerPointer = std::shared_ptr<Layer>;

/// What users hold: a layer that is called on tensors. Copies are the same layer.
class LayerHandle {
 public:
  /// No layer: to be assigned one, and refused where it is used.
  LayerHandle() = default;
  /// Refuses a null pointer.
  explicit LayerHandle(LayerPointer layer);

  /// On symbols: remembers the layer call; in the call of another layer runs. On values: computes.
  Tensor operator()(const TensorList& inputs) const { return (*this)(inputs, CallContext{}); }
  Tensor operator()(const TensorList& inputs, const CallContext& context) const;
  /// For layers of several outputs.
  Tensors call(const TensorList& inputs, const CallContext& context = {}) const;

  /// The layer; refuses a handle that has none.
  Layer& operator*() const;
  Layer* operator->() const { return &**this; }
  const LayerPointer& pointer() const { return layer_; }

  Parameters parameters() const { return (**this).parameters(); }
  void set_trainable(bool trainable) const { (**this).set_trainable(trainable); }

 private:
  LayerPointer layer_;
};

/// `layer<Scale>(…)`: a layer of your own class, made from what its constructor takes.
template <typename L, typename... Arguments>
LayerHandle layer(Arguments&&... arguments) {
  return LayerHandle(std::make_shared<L>(std::forward<Arguments>(arguments)...));
}

/// One remembered call of a layer on symbols: what the symbols it gave point to. The node of each output has the op
/// `layer_call_op()`, the call's inputs as inputs, and LayerCallArguments.
struct LayerCall {
  LayerPointer layer;
  Tensors inputs;
  std::vector<Spec> outputs;
};
struct LayerCallArguments : Arguments {
  LayerCallArguments(std::shared_ptr<const LayerCall> of, std::size_t number) : call(std::move(of)), output(number) {}
  std::shared_ptr<const LayerCall> call;
  std::size_t output;
};
const Op& layer_call_op();
/// The layer call that made a symbol, or none.
const LayerCallArguments* layer_call_of(const Node& node);

/// A symbol of the given shape without the batch axis, which is open; {} is one number a sample. The data of fit,
/// evaluate and predict take its place. Refuses an axis of size 0.
Tensor input(const Shape& shape, const std::string& name = "input", DType dtype = f32);

}  // namespace twopass
