// What sums over rows begin with.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass::reduction {

const Op& partial_sums_op();
std::vector<const Op*> partial_sum_ops();

}  // namespace twopass::reduction
