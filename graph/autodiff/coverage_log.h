// Where checks say which ops they met. For the files of this folder.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// Counts the ops of the record behind `outputs` as checked to this order.
void log_coverage(const Tensors& outputs, int order);

}  // namespace twopass
