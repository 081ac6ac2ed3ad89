// Calls of plans that run functions eagerly. For the files of graph.
#pragma once
#include <functional>
#include <string>

#include <twopass/core/tensor.h>

namespace twopass {

class Op;

namespace planning {

/// While a plan is traced: what `trace` gives, or where it is refused, as it reads elements, the one output of f called
/// eagerly on `inputs`; what was refused is why. Throws that where f is refused too.
Tensors traced_or_eagerly(const std::function<Tensors()>& trace, const std::function<Tensor(const Tensors&)>& f,
                          const Tensors& inputs);

/// Why a call runs a function eagerly; none where it doesn't.
const std::string* why_eagerly(const Op& op, const Arguments* arguments);

}  // namespace planning
}  // namespace twopass
