// The shaping ops that cut: slice, rows, unslice.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass::shaping {

std::vector<const Op*> slicing_ops();

}  // namespace twopass::shaping
