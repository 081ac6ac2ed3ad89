// Where a NaN comes from.
#pragma once
#include <span>

#include <twopass/core/tensor.h>

namespace twopass {

/// While it lives, ops on this thread refuse to give NaN, in the backward pass too: the error names the call with its
/// shapes, the first element that is NaN, the input that brought it (where one did), and the layer. Scopes nest.
class AnomalyScope {
 public:
  AnomalyScope();
  ~AnomalyScope();
  AnomalyScope(const AnomalyScope&) = delete;
  AnomalyScope& operator=(const AnomalyScope&) = delete;
};

/// Whether an AnomalyScope lives on this thread.
bool anomalies_refused();
/// Refuses a result that holds NaN.
void check_anomaly(const Tensor& result, std::span<const Tensor> inputs);

}  // namespace twopass
