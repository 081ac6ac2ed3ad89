// Functions recorded on variables of their own, for the transforms. For the files of this folder.
#pragma once
#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/transforms.h>

namespace twopass {

/// What f is differentiated for, and what it gave.
struct Recorded {
  /// Nodes of their own, so that what else led to the inputs does not count; recorded through to these where they are
  /// recorded, so that derivatives nest.
  Tensors at;
  Tensor y;
  /// Whether an input is recorded.
  bool nested;

  /// y, recorded only if an input is.
  Tensor value() const { return nested ? y : detach(y); }
  /// The gradient of y for each input; zeros where y does not depend on it.
  Tensors pull(const Tensor& seed, bool record) const;
};

/// Runs f for a transform of this name, and records whatever the thread does. Refuses a null f, and one that gives i64
/// or bool.
Recorded recorded(const char* call, const FunctionOfMany& f, const Tensors& inputs);

/// The gradient of y for these; zeros where y does not depend on them, or on anything.
Tensors pull(const Tensor& y, const Tensors& of, const Tensor& seed, bool record);

bool any_recorded(const Tensors& tensors);
/// Refuses directions that are not like what they belong to.
void check_like(const char* call, const char* what, const Tensors& v, const Tensors& x);
void check_single(const char* call, const Tensor& y);

}  // namespace twopass
