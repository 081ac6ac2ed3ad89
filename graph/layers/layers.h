// The layers that the library has.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <twopass/graph/layers/layer.h>
#include <twopass/optim/initializer.h>

namespace twopass {

/// An activation: by name ("relu", "softmax", …; Keras's names) or any function from tensor to tensor (which can't be
/// saved).
class ActivationFunction {
 public:
  ActivationFunction() = default;
  ActivationFunction(const char* name);
  ActivationFunction(const std::string& name);
  template <typename F>
  requires std::is_invocable_r_v<Tensor, F, const Tensor&> ActivationFunction(F function)
      : name_(), function_(std::move(function)) {
    check_function();
  }

  /// Empty for a function of the user's and "linear" for none.
  const std::string& name() const { return name_; }
  bool named() const { return !function_ || !name_.empty(); }
  Tensor operator()(const Tensor& x) const { return function_ ? function_(x) : x; }

 private:
  void check_function() const;  // refuses one that is empty

  std::string name_ = "linear";
  std::function<Tensor(const Tensor&)> function_;
};

struct DenseOptions {
  ActivationFunction activation = {};
  bool use_bias = true;
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  std::string name = {};
};
/// activation(x · kernel + bias) over the last axis: [..., k] gives [..., units]; kernel [k, units].
struct Dense : LayerHandle {
  explicit Dense(std::int64_t units, const DenseOptions& options = {});
};
struct LayerOptions {
  std::string name = {};
};
/// The activation alone, over the last axis where it is a softmax.
struct Activation : LayerHandle {
  explicit Activation(const ActivationFunction& activation, const LayerOptions& options = {});
};
/// In training each element is dropped with probability `rate`, the others scaled by 1 / (1 - rate); else the identity.
struct Dropout : LayerHandle {
  explicit Dropout(double rate, const LayerOptions& options = {});
};
/// [n, a, b, …] gives [n, a b …].
struct Flatten : LayerHandle {
  explicit Flatten(const LayerOptions& options = {});
};
/// [n, …] gives [n, shape…]; one size may be -1.
struct Reshape : LayerHandle {
  explicit Reshape(const Shape& shape, const LayerOptions& options = {});
};
/// The input itself.
struct Identity : LayerHandle {
  explicit Identity(const LayerOptions& options = {});
};
/// Any function of a tensor; a model that has one can't be saved.
struct Lambda : LayerHandle {
  explicit Lambda(std::function<Tensor(const Tensor&)> function, const LayerOptions& options = {});
};
/// Merges of one or more inputs whose shapes broadcast; Subtract takes two.
struct Add : LayerHandle {
  explicit Add(const LayerOptions& options = {});
};
struct Subtract : LayerHandle {
  explicit Subtract(const LayerOptions& options = {});
};
struct Multiply : LayerHandle {
  explicit Multiply(const LayerOptions& options = {});
};
struct Average : LayerHandle {
  explicit Average(const LayerOptions& options = {});
};
struct Maximum : LayerHandle {
  explicit Maximum(const LayerOptions& options = {});
};
struct Minimum : LayerHandle {
  explicit Minimum(const LayerOptions& options = {});
};
struct ConcatenateOptions {
  int axis = -1;
  std::string name = {};
};
/// The inputs behind one another along an axis; their other sizes must be equal.
struct Concatenate : LayerHandle {
  explicit Concatenate(const ConcatenateOptions& options = {});
};

/// A layer of the library or of the user's by class name and attributes, as files hold them; refuses unknown classes.
LayerPointer layer_from(const std::string& type, const Attributes& attributes);
/// Makes `load`, and `save`, know a layer class of the user's. Refuses a class that is known already, an empty name
/// and an empty function.
void register_layer(const std::string& type, std::function<LayerPointer(const Attributes&)> make);
/// Whether register_layer made it known.
bool is_registered(const std::string& type);

}  // namespace twopass
