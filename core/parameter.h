// Cells that hold a tensor and are given new ones by training.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

class Random;

/// Makes the first value of a parameter: shape, dtype, and where random numbers come from.
using Initializer = std::function<Tensor(const Shape&, DType, Random&)>;

/// A cell that holds a tensor. Copies are the same cell. An update puts a new tensor in; graphs that were recorded
/// before keep the old one.
class Parameter {
 public:
  /// No cell: `defined()` is false.
  Parameter() = default;
  /// A cell with a value (f32 or f64).
  explicit Parameter(const Tensor& value, const std::string& name = "");
  /// A cell whose first value is drawn when it is first read, from the seed that it has by then (0 unless `seed` is
  /// called).
  Parameter(const std::string& name, const Shape& shape, DType dtype, Initializer initializer);

  /// The parameter whose value a leaf is; undefined for other tensors and where no Parameter is left.
  static Parameter of(const Tensor& leaf);

  bool defined() const { return cell_ != nullptr; }
  const Shape& shape() const;
  DType dtype() const;
  const std::string& name() const;
  /// A number that no other parameter of this process has.
  std::uint64_t id() const;

  /// The value now: recorded as a leaf, or plain where `trainable` is false. Inside a Substitution, what that gives;
  /// inside an UndrawnScope, a symbol where there is no value yet; inside a LiftScope, a symbol.
  Tensor tensor() const;
  operator Tensor() const { return tensor(); }
  /// The value now, not recorded; what an UndrawnScope and a LiftScope give as above, a Substitution counts no more.
  Tensor value() const;
  /// Puts a new value in. Refuses another shape or dtype, and symbols outside a LiftScope; the old value stays then.
  void set(const Tensor& value) const;
  /// The same for several, all or none.
  static void set_all(const std::vector<Parameter>& parameters, const Tensors& values);
  /// Puts in, for each of several parameters, the elements that lie in its `memory`; all or none. The memory of the
  /// value before comes back in its place where nobody else holds it.
  static void exchange_all(const std::vector<Parameter>& parameters, std::vector<Buffer>& memory);
  /// What they hold now, and how that is put back whatever has been put in since: without taking memory outside scopes
  /// that decide what parameters give, so that destructors may.
  static Tensors held(const std::vector<Parameter>& parameters);
  static void put_back(const std::vector<Parameter>& parameters, const Tensors& held) noexcept;

  /// Whether training changes it. Takes effect at the next use.
  bool trainable() const;
  void set_trainable(bool trainable) const;

  /// Sets the seed that the first value will be drawn from; does nothing once there is a value or `fixed` was set
  /// before.
  void seed(std::uint64_t seed, bool fixed = false) const;

  friend bool operator==(const Parameter& a, const Parameter& b) { return a.cell_ == b.cell_; }

 private:
  friend class LiftScope;
  friend class ParameterSandbox;
  struct Cell;
  Cell& cell() const;
  std::shared_ptr<Cell> cell_;
};

using Parameters = std::vector<Parameter>;

/// While it lives, this thread's reads of parameters that have no value yet give symbols of their shape instead of
/// drawing one: how a layer's output shapes are learnt before its seed is known.
class UndrawnScope {
 public:
  UndrawnScope();
  ~UndrawnScope();
  UndrawnScope(const UndrawnScope&) = delete;
  UndrawnScope& operator=(const UndrawnScope&) = delete;
};

/// What decides what this thread's reads of parameters give: the scopes that it is in. For the scopes.
struct ParameterView {
  class LiftScope* lifting = nullptr;
  class ParameterSandbox* sandbox = nullptr;
  class ParameterReads* reads = nullptr;
  std::size_t substitutions = 0;  // older ones count no more
  int undrawn = 0;
};

/// While it lives, this thread's reads of parameters give symbols, one for each (frozen ones without a derivative)
/// until `set`, which takes symbols, gives it another: how a function is traced together with the parameters that it
/// reads and changes. As with values, no derivative passes through `set`, `value` and `detach`. One inside another
/// traces by itself, and scopes around it are not seen from inside.
class LiftScope {
 public:
  struct Lifted {
    Parameter parameter;
    Tensor symbol;
    Tensor update = {};  // what `set` was given last, or undefined
    Tensor now = {};     // what reads give: the symbol, or a leaf in place of the update
    Tensor value = {};   // that without a derivative, once it was asked for
  };
  LiftScope();
  ~LiftScope();
  LiftScope(const LiftScope&) = delete;
  LiftScope& operator=(const LiftScope&) = delete;
  /// Whether this thread is in one.
  static bool active();
  /// In the order in which they were met.
  const std::vector<Lifted>& lifted() const { return lifted_; }
  /// What a leaf made here stands for, as it has its value and no derivative passes through it; undefined for others.
  Tensor behind(const Node& leaf) const;

 private:
  friend class Parameter;
  friend class LiftedSets;
  friend Tensor detached_symbol(const Tensor& x);
  Lifted& of(const Parameter& parameter);
  Tensor leaf_for(const Tensor& x, const Parameter& parameter, bool recorded);
  std::vector<Lifted> lifted_;
  std::unordered_map<std::uint64_t, std::size_t> places_;  // by the parameter's id
  std::vector<Lifted> replaced_;                           // what was there before each `set`
  std::unordered_map<const Node*, Tensor> behind_;
  Tensors leaves_;  // those that are in behind_
  ParameterView before_;
};

/// While it lives, this thread's reads of these parameters give these tensors: how a model becomes a function of its
/// weights (gradient checks, Hessian-vector products).
class Substitution {
 public:
  Substitution(const Parameters& parameters, const Tensors& tensors);
  ~Substitution();
  Substitution(const Substitution&) = delete;
  Substitution& operator=(const Substitution&) = delete;

 private:
  std::size_t before_;
};

}  // namespace twopass
