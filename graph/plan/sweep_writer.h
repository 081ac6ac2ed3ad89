// The code of one function, in bytes. For the files of this folder that are built where Xbyak is.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <twopass/graph/plan/machine_code.h>

namespace twopass::planning {

/// What MachineCode::write writes; nothing where the processor has too few registers.
std::vector<std::uint8_t> code_of(const Sweeps& sweeps, Processor processor, std::span<const Stream> streams);

}  // namespace twopass::planning
