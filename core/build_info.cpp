#include <twopass/core/build_info.h>

#include <Eigen/Core>

namespace twopass {

std::string kernel_instruction_set() { return Eigen::SimdInstructionSetsInUse(); }

}  // namespace twopass
