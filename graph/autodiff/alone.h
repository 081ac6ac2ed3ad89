// The calls of a record, each by itself. For the files of this folder.
#pragma once
#include <string>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/ops/op.h>

namespace twopass {

/// One recorded call with the values that it was given.
struct AloneCall {
  const Op* op;
  ArgumentsPointer arguments;
  Tensors inputs;            // detached
  std::vector<bool> wanted;  // whether derivatives pass through to the input
  Node* node;
  /// "mul((2, 3), (3,))".
  std::string text() const { return call_text(*op, arguments.get(), Specs(std::span<const Tensor>(inputs))); }
};

/// The calls behind tensors, oldest first, without those of whose inputs the record has not kept the values.
std::vector<AloneCall> calls_behind(const Tensors& outputs);

/// About how many floating-point operations the calls behind tensors take, a call itself counted as a thousand.
double work_behind(const Tensors& outputs);

}  // namespace twopass
