// The records of pooling. For the .cpp files of this folder.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass {

/// Of the largest, and of means.
std::vector<const Op*> pooling_ops();
std::vector<const Op*> average_pooling_ops();

}  // namespace twopass
