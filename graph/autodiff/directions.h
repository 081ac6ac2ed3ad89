// Along which directions a Jacobian is compared with differences. For the files of this folder.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/differences.h>
#include <twopass/graph/autodiff/gradcheck.h>

namespace twopass {

/// A direction in the space of one input or output, or of all inputs together: one element, or numbers for each.
struct Direction {
  static constexpr std::size_t kTogether = static_cast<std::size_t>(-1);

  std::size_t of = 0;  // which input or output; kTogether for all inputs
  std::optional<std::int64_t> element = {};
  std::vector<std::vector<double>> numbers = {};  // one list per input; for an output, one list
  /// Of a column: whether it is looked at at all scales whatever the first steps say.
  bool closely = false;
};

struct Directions {
  std::vector<Direction> columns, rows;
};

/// Every element of small inputs and outputs; of large ones some, and directions through all; and through all inputs
/// together. `outputs` are recorded, for what they cost.
Directions directions_of(const Tensors& inputs, const Tensors& outputs, const GradcheckOptions& options);

/// The values of floating tensors; empty for others.
std::vector<std::vector<double>> values_of(const Tensors& tensors);
/// Σ a b, with the roundings of the sum summed too.
double dot(const std::vector<double>& a, const std::vector<double>& b);
/// The derivative along a column, of gradients for each input (empty: none).
double along(const Direction& column, const std::vector<std::vector<double>>& gradients);
/// By how much a direction through all moves what it moves most.
double longest(const Direction& column);
/// Where a column moves the inputs, whose values (empty: not floating) are given.
Differences::Place place_of(const Direction& column, const std::vector<std::vector<double>>& values);
/// The inputs, whose values (empty: not floating) are given, moved by t along a column, and by how much they really
/// were.
std::pair<Tensors, double> moved(const Direction& column, const Tensors& inputs,
                                 const std::vector<std::vector<double>>& values, double t);

}  // namespace twopass
