// What a function records at points beside the one that is checked. For the files of this folder.
#pragma once
#include <cstddef>
#include <vector>

#include <twopass/graph/autodiff/alone.h>
#include <twopass/graph/autodiff/directions.h>
#include <twopass/graph/autodiff/many_function.h>

namespace twopass {

/// Recorded elementwise calls of one input that are flat between jumps and whose records say that their derivative is
/// 0: round and floor.
std::vector<AloneCall> calls_of_treads(const Tensors& outputs);

/// A function, and where it is checked. Beyond what it takes there is nothing to see.
struct Beside {
  const ManyFunction& f;
  const Tensors& inputs;
  const std::vector<std::vector<double>>& values;  // of the inputs

  /// What the record of one output says along a column at t; NaN where f does not take that.
  double derivative(std::size_t output, const Tensor& seed, const Direction& column, double t) const;
  /// How large the terms are that roundings of others hide there.
  double hidden(std::size_t output, const Tensor& seed, const Direction& column, double t) const;
  /// Whether an element of these calls, which are all of f's treads, lies on another one at t and on yet another at 4
  /// t.
  bool steps_over(std::size_t output, const std::vector<AloneCall>& treads, const Direction& column, double t) const;
};

}  // namespace twopass
