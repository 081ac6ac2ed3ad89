// Derivatives in forward mode: one pass over a record, oldest node first.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>

namespace twopass {

/// What an output gives that depends on its inputs through something without the derivative that is needed.
enum class Missing : std::uint8_t { refuse, undefined };
struct TangentsOptions {
  /// Record the pass, so that tangents can be differentiated.
  bool record = false;
  Missing missing = Missing::refuse;
};

/// J v for each of `outputs`: its derivative where the recorded tensors `of` move along `along`, tensors of their
/// shapes and dtypes, each as given though it be computed from another; zeros where it does not depend on them. One
/// pass: each call between them hands its inputs' tangents on by its record's rule, through itself where it is linear,
/// by its gradient where that is elementwise, and else by two reverse passes of that call alone.
Tensors tangents(const Tensors& outputs, const Tensors& of, const Tensors& along, const TangentsOptions& options = {});

}  // namespace twopass
