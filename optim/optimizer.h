// What turns gradients into better parameters, by Keras 3's formulas and defaults.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/parameter.h>
#include <twopass/ops/arguments.h>
#include <twopass/optim/schedule.h>

namespace twopass {

/// A tensor kept per parameter between updates, and the value of its elements at first.
struct Slot {
  std::string name;
  double initial = 0;
};

/// An update written once as tensor expressions.
struct UpdateRule {
  struct Step {
    Tensor parameter, gradient;
    Tensors slots;
    /// f64 scalars: the learning rate, and the number of this update, 1 for the first.
    Tensor learning_rate, number;
  };
  std::string name;
  Attributes attributes = {};
  std::vector<Slot> slots = {};
  /// The new parameter, then the new slots.
  std::function<Tensors(const Step&)> update;
};

/// What all optimizers can do besides; 0 means off, and at most one kind of clipping is on.
struct UpdateOptions {
  /// Decoupled: parameters shrink by weight_decay · learning_rate before each update.
  double weight_decay = 0;
  double clipnorm = 0;
  double clipvalue = 0;
  double global_clipnorm = 0;
};

/// A handle: copies share the state, which is kept per parameter.
class Optimizer {
 public:
  /// No optimizer: to be assigned one, and refused where it is used.
  Optimizer() = default;
  /// What optimizer_from has of this name: `.optimizer = "adam"`.
  Optimizer(const char* name);
  Optimizer(const std::string& name);
  Optimizer(UpdateRule rule, LearningRate learning_rate, const UpdateOptions& options = {});

  const std::string& name() const;
  /// What the rule, the options and the learning rate were made with: for `optimizer_from`.
  Attributes attributes() const;
  /// Whether `optimizer_from` can make it again: rules and schedules of the user's own can't be saved.
  bool saveable() const;
  const UpdateRule& rule() const;
  const UpdateOptions& options() const;
  /// The updates done so far.
  std::int64_t iterations() const;
  /// The rate of the next update.
  double learning_rate() const;
  /// Refuses to overrule a schedule, and a negative or not finite rate.
  void set_learning_rate(double rate) const;

  /// One update of the trainable parameters that `gradients` (what backward() gives) has gradients for. Others, and
  /// their slots, keep their bits. Refuses when there are none at all, and values that are not finite: nothing changes
  /// then. `names` are what errors call the parameters ("dense/kernel") in place of their own names: none, or one for
  /// each.
  template <typename G>
  requires requires(const G& g, const Parameter& p) { g.contains(p); }
  void apply(const G& gradients, const Parameters& parameters, const std::vector<std::string>& names = {}) const {
    Tensors found;
    for (const Parameter& parameter : parameters)
      found.push_back(parameter.trainable() && gradients.contains(parameter) ? gradients[parameter] : Tensor());
    apply(found, parameters, names);
  }
  /// The same from one gradient per parameter; an undefined tensor is none.
  void apply(const Tensors& gradients, const Parameters& parameters, const std::vector<std::string>& names = {}) const;

  /// What apply does, as expressions, in a function that plan() traces: parameters and slots are symbols there, and
  /// what is set is remembered. `learning_rate` and `number`, that of the update (1 for the first), are f64 scalars,
  /// inputs of the plan, so that a schedule needs no new trace. Values are not looked at: a plan refuses new ones that
  /// are not finite.
  void trace_update(const Tensors& gradients, const Parameters& parameters, const Tensor& learning_rate,
                    const Tensor& number) const;
  /// Counts an update that was done with what trace_update traced: after each run of the plan.
  void count_update() const;

  using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
  using NamedParameters = std::vector<std::pair<std::string, Parameter>>;
  /// "iterations", "learning_rate" (where it is no schedule) and "<slot>/<parameter's name>" for parameters with slots.
  NamedTensors state(const NamedParameters& parameters) const;
  /// Puts such a state back; parameters that it has no slots for begin anew. Refuses unknown names, a part of a
  /// parameter's slots, and other shapes or dtypes: nothing changes then.
  void set_state(const NamedTensors& state, const NamedParameters& parameters) const;
  /// The slots of all parameters updated so far.
  Tensors slots() const;

 private:
  struct Body;
  struct Change;
  friend struct OptimizerMaker;
  std::vector<Change> changes(const Tensors& gradients, const Parameters& parameters,
                              const std::vector<std::string>& names, const Tensor& learning_rate,
                              const Tensor& number) const;
  Body& body() const;
  std::shared_ptr<Body> body_;
};

struct SgdOptions {
  LearningRate learning_rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0, clipnorm = 0, clipvalue = 0, global_clipnorm = 0;
};
/// v = momentum v - lr g, p += v; nesterov: p += momentum v - lr g. PyTorch keeps lr outside of the velocity.
Optimizer sgd(const SgdOptions& options = {});

struct RmspropOptions {
  LearningRate learning_rate = 0.001;
  double rho = 0.9;
  double momentum = 0;
  double epsilon = 1e-7;
  bool centered = false;
  double weight_decay = 0, clipnorm = 0, clipvalue = 0, global_clipnorm = 0;
};
/// v = rho v + (1 - rho) g², p -= lr g / sqrt(v + epsilon); centered: v less the square of the mean gradient. PyTorch
/// has rho 0.99 and epsilon 1e-8 outside of the root.
Optimizer rmsprop(const RmspropOptions& options = {});

struct AdamOptions {
  LearningRate learning_rate = 0.001;
  double beta_1 = 0.9;
  double beta_2 = 0.999;
  double epsilon = 1e-7;
  double weight_decay = 0, clipnorm = 0, clipvalue = 0, global_clipnorm = 0;
};
/// p -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon), with running means m of g and v of g² (Kingma
/// and Ba, 2014, end of section 2). PyTorch has epsilon 1e-8, added after v is corrected.
Optimizer adam(const AdamOptions& options = {});

struct AdamwOptions {
  LearningRate learning_rate = 0.001;
  double beta_1 = 0.9;
  double beta_2 = 0.999;
  double epsilon = 1e-7;
  double weight_decay = 0.004;
  double clipnorm = 0, clipvalue = 0, global_clipnorm = 0;
};
/// adam() after p -= lr weight_decay p (Loshchilov and Hutter, 2017). PyTorch decays by 0.01.
Optimizer adamw(const AdamwOptions& options = {});

/// The optimizer that has this name, in which case does not count, and these attributes, all of them or, for the
/// defaults, none. Refuses others, listing those that there are.
Optimizer optimizer_from(const std::string& name, const Attributes& attributes = {});

}  // namespace twopass
