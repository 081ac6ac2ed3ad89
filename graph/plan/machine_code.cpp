#include <twopass/graph/plan/machine_code.h>

#include <xbyak/xbyak.h>
#include <xbyak/xbyak_util.h>

#include <twopass/graph/plan/sweep_writer.h>

namespace twopass::planning {
namespace {

constexpr std::int64_t kMostRowBytes = 1 << 28;  // so that places in a row fit

// Whether the system lets a process write code: some are set up not to.
bool code_allowed() {
  try {
    Xbyak::CodeGenerator probe(Xbyak::DEFAULT_MAX_CODE_SIZE, Xbyak::DontSetProtectRWE);
    probe.ret();
    probe.setProtectModeRE();
    return true;
  } catch (const Xbyak::Error&) {
    return false;
  }
}

}  // namespace

Processor processor() {
  static const Processor found = [] {
    using Cpu = Xbyak::util::Cpu;
    const Cpu cpu;
    if (!code_allowed()) return Processor::none;
    if (cpu.has(Cpu::tAVX512F) && cpu.has(Cpu::tAVX512VL) && cpu.has(Cpu::tAVX512DQ) && cpu.has(Cpu::tBMI2))
      return Processor::avx512;
    return cpu.has(Cpu::tAVX2) ? Processor::avx2 : Processor::none;
  }();
  return found;
}

struct MachineCode::Body {
  Processor processor = Processor::none;
  std::vector<std::uint8_t> bytes;
  std::vector<std::size_t> starts;
  std::unique_ptr<Xbyak::CodeGenerator> memory;
};

MachineCode::MachineCode(Processor processor) : body_(std::make_unique<Body>()) { body_->processor = processor; }
MachineCode::~MachineCode() = default;
MachineCode::MachineCode(MachineCode&&) noexcept = default;
MachineCode& MachineCode::operator=(MachineCode&&) noexcept = default;

int MachineCode::write(const Sweeps& sweeps, std::span<const Stream> streams) {
  if (body_->processor == Processor::none) return -1;
  for (const Stream& each : streams)
    if (each.row_bytes > kMostRowBytes) return -1;
  const std::vector<std::uint8_t> code = code_of(sweeps, body_->processor, streams);
  if (code.empty()) return -1;
  constexpr std::size_t kAlign = 64;
  body_->bytes.resize((body_->bytes.size() + kAlign - 1) / kAlign * kAlign);
  body_->starts.push_back(body_->bytes.size());
  body_->bytes.insert(body_->bytes.end(), code.begin(), code.end());
  return static_cast<int>(body_->starts.size()) - 1;
}

void MachineCode::finish() {
  if (body_->bytes.empty()) return;
  body_->memory = std::make_unique<Xbyak::CodeGenerator>(body_->bytes.size(), Xbyak::DontSetProtectRWE);
  for (const std::uint8_t byte : body_->bytes) body_->memory->db(byte);
  body_->memory->setProtectModeRE();
  body_->bytes = {};
}

MachineCode::Function MachineCode::function(int number) const {
  return reinterpret_cast<Function>(
      reinterpret_cast<std::uintptr_t>(body_->memory->getCode() + body_->starts[static_cast<std::size_t>(number)]));
}

}  // namespace twopass::planning
