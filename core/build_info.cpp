#include <twopass/core/build_info.h>

#include <Eigen/Core>

namespace twopass {

std::string kernel_instruction_set() { return Eigen::SimdInstructionSetsInUse(); }

std::string products_library() {
  return "panels in registers, with the packets of Eigen " + std::to_string(EIGEN_WORLD_VERSION) + "." +
         std::to_string(EIGEN_MAJOR_VERSION) + "." + std::to_string(EIGEN_MINOR_VERSION);
}

}  // namespace twopass
