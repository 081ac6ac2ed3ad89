// The shaping ops that join: concat, pad.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass::shaping {

std::vector<const Op*> joining_ops();

}  // namespace twopass::shaping
