// A linear function, traced once and computed of many tensors in one go. For the files of this folder.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// A linear function of one tensor; an undefined result says that it cannot be computed.
using LinearMap = std::function<Tensors(const Tensor&)>;

/// The calls of a function, recorded on a symbol and made again for n tensors at once, which lie side by side along a
/// new first axis: rows of a Jacobian share each call (ops/stacking.h).
class SideBySide {
 public:
  /// None where the function reads elements of what it is given, or where what it makes has no room for one axis more.
  static std::optional<SideBySide> trace(const LinearMap& map, const Shape& shape, DType dtype);
  /// The function's results for each row of x, along a first axis; recorded, where asked, for what else the function
  /// reads.
  Tensors operator()(const Tensor& x, bool record) const;
  /// Elements that all calls make for one tensor.
  std::int64_t elements() const { return elements_; }

 private:
  Tensor symbol_;
  Tensors outputs_;
  std::vector<Node*> calls_;  // those that depend on the symbol, oldest first
  std::int64_t elements_ = 0;
};

}  // namespace twopass
