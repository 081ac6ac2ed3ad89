// What this build of the library is made for.
#pragma once
#include <string>

namespace twopass {

/// The vector instruction sets that kernels were compiled for, such as "AVX512, FMA, AVX2, AVX, SSE, SSE2".
std::string kernel_instruction_set();

}  // namespace twopass
