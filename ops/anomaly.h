// Where a NaN or an infinity comes from.
#pragma once
#include <memory>
#include <span>
#include <string>

#include <twopass/core/place.h>
#include <twopass/core/tensor.h>

namespace twopass {

class Op;

struct AnomalyOptions {
  /// Refuse infinities too that are made from finite numbers; code that masks with them on purpose wants it off.
  bool infinities = true;
};

/// The first op that made what is refused; graph/dot draws its neighbourhood.
struct Anomaly {
  std::string call;  // "sqrt((3,))"
  std::string error;
  std::string layer;  // the path of the layer that it happened in, forward or backward; empty outside layers
  Tensors inputs;
  Tensor result;
  /// In the backward pass: what the gradient of was being computed. Its value may be gone.
  Tensor gradient_of;
};

/// While it lives, ops on this thread refuse to give NaN, and infinity where all inputs are finite, in the backward
/// pass too: the error names the call with its shapes, the first such element, the input that brought it (where one
/// did), the ranges of all inputs, and the layer. Plans run op by op in it (graph/plan/plan.h). Scopes nest.
class AnomalyScope {
 public:
  explicit AnomalyScope(const AnomalyOptions& options = {});
  ~AnomalyScope();
  AnomalyScope(const AnomalyScope&) = delete;
  AnomalyScope& operator=(const AnomalyScope&) = delete;
  /// What was refused first since the scope began, or none.
  const Anomaly* found() const { return found_.get(); }
  /// The innermost scope of this thread, or none.
  static AnomalyScope* current();
  /// Says that the error that is on its way happened in the gradient of a recorded call.
  void happened_in_gradient_of(const Tensor& of);

 private:
  friend void check_anomaly(const Op& op, const Arguments* arguments, const Tensor& result,
                            std::span<const Tensor> inputs);
  AnomalyOptions options_;
  AnomalyScope* before_;
  PlaceLog places_;
  std::unique_ptr<Anomaly> found_;
};

/// Refuses what the current scope refuses; does nothing where there is none.
void check_anomaly(const Op& op, const Arguments* arguments, const Tensor& result, std::span<const Tensor> inputs);

}  // namespace twopass
