// The records of pooling. For the .cpp files of this folder.
#pragma once
#include <vector>

#include <twopass/ops/op.h>

namespace twopass {

std::vector<const Op*> pooling_ops();

}  // namespace twopass
