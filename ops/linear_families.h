// The parts of linear algebra, one a file. For the .cpp files of this folder.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass {

std::vector<const Op*> equation_ops();
std::vector<const Op*> determinant_ops();

}  // namespace twopass
