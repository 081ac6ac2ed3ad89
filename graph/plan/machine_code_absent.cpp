// Where the build has no Xbyak.
#include <twopass/graph/plan/machine_code.h>

namespace twopass::planning {

struct MachineCode::Body {};

Processor processor() { return Processor::none; }

MachineCode::MachineCode(Processor) {}
MachineCode::~MachineCode() = default;
MachineCode::MachineCode(MachineCode&&) noexcept = default;
MachineCode& MachineCode::operator=(MachineCode&&) noexcept = default;

int MachineCode::write(const Sweeps&, std::span<const Stream>) { return -1; }
void MachineCode::finish() {}
MachineCode::Function MachineCode::function(int) const { return nullptr; }

}  // namespace twopass::planning
