// Branches that several records have. For the .cpp files of this folder.
#pragma once
#include <twopass/ops/record.h>

namespace twopass::branches {

/// Of an op that ends in relu.
template <typename Args>
Branches of_relu(const Args&, const Tensors&, const Tensor& y) {
  Branches found{.count = 2, .taken = {}, .names = {"with slope 0", "with slope 1"}};
  for (const double each : y.values<double>()) found.taken.push_back(each > 0);
  return found;
}

}  // namespace twopass::branches
