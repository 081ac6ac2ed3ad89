// The library's own ops, without those that users define.
#pragma once
#include <vector>

#include <twopass/ops/op.h>

namespace twopass {

/// All of them, in the order of the reference page.
const std::vector<const Op*>& library_ops();

}  // namespace twopass
