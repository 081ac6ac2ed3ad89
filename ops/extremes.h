// The reductions that compare: max, min, argmax, argmin.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass::reduction {

std::vector<const Op*> extreme_ops();

}  // namespace twopass::reduction
