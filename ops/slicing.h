// The shaping ops that cut: slice, rows, unslice.
#pragma once
#include <vector>

#include <twopass/ops/op.h>

namespace twopass::shaping {

std::vector<const Op*> slicing_ops();

}  // namespace twopass::shaping
