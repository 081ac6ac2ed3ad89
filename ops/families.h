// The lists of the library's ops, one per family: what all_ops() joins.
#pragma once
#include <vector>

#include <twopass/ops/record.h>

namespace twopass {

std::vector<const Op*> creation_ops();
std::vector<const Op*> elementwise_ops();
std::vector<const Op*> reduction_ops();
std::vector<const Op*> shaping_ops();
std::vector<const Op*> indexing_ops();
std::vector<const Op*> product_ops();
std::vector<const Op*> convolution_ops();
std::vector<const Op*> linear_algebra_ops();
std::vector<const Op*> normalization_ops();
std::vector<const Op*> softmax_ops();
std::vector<const Op*> random_ops();

/// Parts of reductions, of indexing and of random ops that have files of their own.
std::vector<const Op*> norm_ops();
std::vector<const Op*> scan_ops();
std::vector<const Op*> along_axis_ops();
std::vector<const Op*> sorting_ops();
std::vector<const Op*> draw_ops();

}  // namespace twopass
