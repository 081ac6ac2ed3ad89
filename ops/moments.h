// The reductions that divide or take logarithms: mean, var, std, logsumexp.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass::reduction {

std::vector<const Op*> moment_ops();

}  // namespace twopass::reduction
