// The parts of the elementwise family, one a file. For the .cpp files of this folder.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass {

std::vector<const Op*> unary_ops();
std::vector<const Op*> activation_ops();
std::vector<const Op*> binary_ops();
std::vector<const Op*> comparison_ops();
std::vector<const Op*> conversion_ops();
std::vector<const Op*> guard_ops();
std::vector<const Op*> update_ops();
std::vector<const Op*> trigonometric_ops();
std::vector<const Op*> special_ops();
std::vector<const Op*> rounding_ops();
std::vector<const Op*> smooth_ops();

}  // namespace twopass
