// The records of the cross-entropies and of ctc, for the list of their family.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass::classes {

std::vector<const Op*> cross_entropy_ops();
std::vector<const Op*> ctc_ops();

}  // namespace twopass::classes
