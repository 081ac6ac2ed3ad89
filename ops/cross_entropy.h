// The records of the cross-entropies, for the list of their family.
#pragma once
#include <vector>

#include <twopass/ops/op.h>

namespace twopass::classes {

std::vector<const Op*> cross_entropy_ops();

}  // namespace twopass::classes
