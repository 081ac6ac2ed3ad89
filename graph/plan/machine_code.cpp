#include <twopass/graph/plan/machine_code.h>

#include <xbyak/xbyak.h>
#include <xbyak/xbyak_util.h>

#include <string>
#include <unordered_map>

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

// All that code depends on, as bytes: steps that repeat, as those of a recurrent network, have one function.
std::string key_of(const Sweeps& sweeps, std::span<const Stream> streams) {
  std::string key;
  const auto put = [&](const auto&... each) { (key.append(reinterpret_cast<const char*>(&each), sizeof(each)), ...); };
  put(sweeps.dtype, sweeps.elements, sweeps.count, sweeps.kept, sweeps.parts.size());
  for (const Sweeps::Line& line : sweeps.lines)
    put(line.what.kind, line.what.a.number, line.what.b.number, line.what.value, line.what.row, line.sweep, line.from,
        line.to, line.kept);
  for (const Stream& stream : streams) put(stream.row_bytes, stream.past_cache);
  return key;
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
  std::unordered_map<std::string, int> known = {};  // by what the code does: its number, or -1
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
  const auto [known, fresh] = body_->known.try_emplace(key_of(sweeps, streams), -1);
  if (!fresh) return known->second;
  const std::vector<std::uint8_t> code = code_of(sweeps, body_->processor, streams);
  if (code.empty()) return -1;
  constexpr std::size_t kAlign = 64;
  body_->bytes.resize((body_->bytes.size() + kAlign - 1) / kAlign * kAlign);
  body_->starts.push_back(body_->bytes.size());
  body_->bytes.insert(body_->bytes.end(), code.begin(), code.end());
  return known->second = static_cast<int>(body_->starts.size()) - 1;
}

void MachineCode::finish() {
  body_->known = {};
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
