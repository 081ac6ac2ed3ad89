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
  /// The value now, not recorded.
  Tensor value() const;
  /// Puts a new value in. Refuses another shape or dtype, and symbols outside a LiftScope; the old value stays then.
  void set(const Tensor& value) const;
  /// The same for several, all or none.
  static void set_all(const std::vector<Parameter>& parameters, const Tensors& values);
  /// Puts in, for each of several parameters, the elements that lie in its `memory`; all or none. The memory of the
  /// value before comes back in its place where nobody else holds it.
  static void exchange_all(const std::vector<Parameter>& parameters, std::vector<Buffer>& memory);

  /// Whether training changes it. Takes effect at the next use.
  bool trainable() const;
  void set_trainable(bool trainable) const;

  /// Sets the seed that the first value will be drawn from; does nothing once there is a value or `fixed` was set
  /// before.
  void seed(std::uint64_t seed, bool fixed = false) const;

  friend bool operator==(const Parameter& a, const Parameter& b) { return a.cell_ == b.cell_; }

 private:
  friend class LiftScope;
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

/// While it lives, this thread's reads of parameters give symbols, one for each (frozen ones without a derivative)
/// until `set`, which takes symbols, gives it another: how a function is traced together with the parameters that it
/// reads and changes. Does not nest.
class LiftScope {
 public:
  struct Lifted {
    Parameter parameter;
    Tensor symbol;
    Tensor update;  // what `set` was given last, or undefined
    const Tensor& now() const { return update.defined() ? update : symbol; }
  };
  LiftScope();
  ~LiftScope();
  LiftScope(const LiftScope&) = delete;
  LiftScope& operator=(const LiftScope&) = delete;
  /// Whether this thread is in one.
  static bool active();
  /// In the order in which they were met.
  const std::vector<Lifted>& lifted() const { return lifted_; }

 private:
  friend class Parameter;
  Lifted& of(const Parameter& parameter);
  std::vector<Lifted> lifted_;
  std::unordered_map<std::uint64_t, std::size_t> places_;  // by the parameter's id
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
