// Numbers that are not finite, in words. For the files of this folder and of graph/model.
#pragma once
#include <optional>
#include <string>

#include <twopass/core/tensor.h>

namespace twopass {

/// "is nan at [0, 2]": the first number that is not finite; none where all are.
std::optional<std::string> first_not_finite(const Tensor& x);

}  // namespace twopass
