// The kernel of polygamma. For the .cpp files of this folder.
#pragma once
#include <cstdint>

namespace twopass::kernels {

/// ψ^(order)(x).
double polygamma_of(std::int64_t order, double x);

}  // namespace twopass::kernels
