#include <twopass/graph/plan/machine_code.h>

#include <xbyak/xbyak.h>
#include <xbyak/xbyak_util.h>

#include <array>
#include <bit>
#include <optional>
#include <unordered_map>

namespace twopass::planning {
namespace {

using Kind = Lanes::Kind;
using Xbyak::Address;
using Xbyak::Opmask;
using Xbyak::Reg64;
using Xbyak::Xmm;

constexpr std::int64_t kLeaf = 512;  // as ops/reduction_kernels.h adds
constexpr std::int64_t kLanes = 32;
constexpr std::int64_t kLine = 64;
constexpr std::int64_t kMostRowBytes = 1 << 28;  // so that addresses two rows ahead fit

struct NoRegister {};

// Writes one function; throws NoRegister where there are too few.
class Writer : public Xbyak::CodeGenerator {
 public:
  Writer(Processor processor, const Sweeps& sweeps, std::span<const std::int64_t> row_bytes,
         std::span<const Ahead> ahead)
      : CodeGenerator(4096, Xbyak::AutoGrow),
        sweeps_(sweeps),
        row_bytes_(row_bytes),
        ahead_(ahead),
        wide_(processor == Processor::avx512),
        single_(sweeps.dtype == f32),
        element_(single_ ? 4 : 8),
        vector_(wide_ ? 64 : 32),
        slot_of_(sweeps.lines.size(), -1) {}

  void write() {
    lay_out_frame();
    for (const Reg64& each : {rbx, rbp, r12, r13, r14, r15}) push(each);
    sub(rsp, frame_);
    write_constants();
    Xbyak::Label row;
    L(row);
    load_row_inputs();
    for (std::int32_t sweep = 0; sweep < sweeps_.count; ++sweep) {
      write_row_arithmetic(sweep);
      write_sweep(sweep);
    }
    write_row_arithmetic(sweeps_.count);
    store_row_outputs();
    if (sweeps_.elements > 0) {
      for (std::size_t k = 0; k < sweeps_.parts.size(); ++k)
        if (row_bytes_[k]) add(qword[rdi + 8 * static_cast<int>(k)], static_cast<std::uint32_t>(row_bytes_[k]));
      dec(rsi);
      jnz(row, T_NEAR);
    }
    add(rsp, frame_);
    for (const Reg64& each : {r15, r14, r13, r12, rbp, rbx}) pop(each);
    vzeroupper();
    ret();
    if (!wide_) {
      align(32);
      L(masks_);
      for (int k = 0; k < 16; ++k) dd(k < 8 ? 0xFFFFFFFF : 0);
    }
    ready(PROTECT_RW);
  }

 private:
  // What a line's operands are in, and how long: one vector of a loop.
  struct Copy {
    std::unordered_map<std::int32_t, int> at;  // line -> register
    int place;                                 // of the vector among those of one iteration
    bool part;                                 // of a vector only
  };

  const Sweeps::Line& line(std::int32_t k) const { return sweeps_.lines[static_cast<std::size_t>(k)]; }
  std::int32_t lines() const { return static_cast<std::int32_t>(sweeps_.lines.size()); }
  bool is_input(std::int32_t k) const { return line(k).what.kind == Kind::input; }

  Xmm vector(int k) const { return Xmm(wide_ ? Xbyak::Operand::ZMM : Xbyak::Operand::YMM, k); }
  Xmm half(int k) const { return Xmm(Xbyak::Operand::YMM, k); }
  Address slot(std::int32_t k) { return ptr[rsp + slot_of_[static_cast<std::size_t>(k)]]; }

  void lay_out_frame() {
    int at = 0;
    for (std::int32_t k = 0; k < lines(); ++k)
      if (line(k).what.row) {
        slot_of_[static_cast<std::size_t>(k)] = at;
        at += 8;
      }
    leaves_at_ = at;
    std::array<int, 2> most{};
    for (std::int32_t sweep = 0; sweep < sweeps_.count; ++sweep)
      most[0] = std::max(most[0], static_cast<int>(sums_of(sweep).size()));
    at += most[0] * static_cast<int>(leaves()) * 8;
    frame_ = (at + 63) / 64 * 64 + 8;
  }

  std::int64_t leaves() const { return (sweeps_.elements + kLeaf - 1) / kLeaf; }

  std::vector<std::int32_t> sums_of(std::int32_t sweep) const {
    std::vector<std::int32_t> sums;
    for (std::int32_t k = 0; k < lines(); ++k)
      if (line(k).what.kind == Kind::sum && line(k).sweep - 1 == sweep) sums.push_back(k);
    return sums;
  }

  void write_constants() {
    for (std::int32_t k = 0; k < lines(); ++k) {
      if (line(k).what.kind != Kind::constant) continue;
      if (single_)
        mov(rax, std::bit_cast<std::uint32_t>(static_cast<float>(line(k).what.value)));
      else
        mov(rax, std::bit_cast<std::uint64_t>(line(k).what.value));
      mov(qword[rsp + slot_of_[static_cast<std::size_t>(k)]], rax);
    }
  }

  Address pointer(std::int32_t part) { return qword[rdi + 8 * part]; }

  void load_scalar(const Xmm& to, const Address& from) { single_ ? vmovss(to, from) : vmovsd(to, from); }
  void store_scalar(const Address& to, const Xmm& from) { single_ ? vmovss(to, from) : vmovsd(to, from); }

  void load_row_inputs() {
    for (std::int32_t k = 0; k < lines(); ++k) {
      if (!is_input(k) || !line(k).what.row) continue;
      mov(rax, pointer(line(k).from));
      load_scalar(xmm0, ptr[rax]);
      store_scalar(slot(k), xmm0);
    }
  }
  void store_row_outputs() {
    for (std::int32_t k = 0; k < lines(); ++k) {
      if (line(k).to < 0 || !line(k).what.row) continue;
      mov(rax, pointer(line(k).to));
      load_scalar(xmm0, slot(k));
      store_scalar(ptr[rax], xmm0);
    }
  }

  void write_row_arithmetic(std::int32_t sweep) {
    for (std::int32_t k = 0; k < lines(); ++k) {
      const Sweeps::Line& each = line(k);
      if (!each.what.row || each.sweep != sweep || each.what.kind == Kind::input || each.what.kind == Kind::constant ||
          each.what.kind == Kind::sum)
        continue;
      load_scalar(xmm0, slot(each.what.a.number));
      if (each.what.b.defined()) load_scalar(xmm1, slot(each.what.b.number));
      compute(each.what.kind, xmm2, xmm0, xmm1, xmm3);
      store_scalar(slot(k), xmm2);
    }
  }

  // ---- arithmetic on registers of any width; `spare` may be written

  void add_to(const Xmm& to, const Xmm& a, const Xbyak::Operand& b) { single_ ? vaddps(to, a, b) : vaddpd(to, a, b); }
  void multiply(const Xmm& to, const Xmm& a, const Xmm& b) { single_ ? vmulps(to, a, b) : vmulpd(to, a, b); }
  void bitwise_and(const Xmm& to, const Xmm& a, const Xmm& b) { single_ ? vandps(to, a, b) : vandpd(to, a, b); }
  void zero(const Xmm& to) {
    const Xmm low(to.getIdx());
    vpxord_or_vpxor(low);
  }
  void vpxord_or_vpxor(const Xmm& low) {
    if (wide_)
      vpxord(low, low, low);
    else
      vpxor(low, low, low);
  }

  // to = value where `tested` stands to 0 as `predicate` says, else 0; value comes from `make`.
  template <typename Make>
  void where(const Xmm& to, const Xmm& tested, int predicate, const Xmm& spare, const Make& make) {
    zero(spare);
    const auto imm = static_cast<std::uint8_t>(predicate);
    if (wide_) {
      single_ ? vcmpps(k1, tested, spare, imm) : vcmppd(k1, tested, spare, imm);
      make(to | k1 | T_z);
    } else {
      single_ ? vcmpps(spare, tested, spare, imm) : vcmppd(spare, tested, spare, imm);
      make(to);
      bitwise_and(to, to, spare);
    }
  }

  void compute(Kind kind, const Xmm& to, const Xmm& a, const Xmm& b, const Xmm& spare) {
    constexpr int kNotEqual = 4, kNotLessEqual = 0x16, kGreater = 0x1E;  // quiet; the first two with NaN
    const auto copy = [&](const Xmm& from) {
      return [this, &from](const Xmm& masked) { single_ ? vmovaps(masked, from) : vmovapd(masked, from); };
    };
    switch (kind) {
      case Kind::add:
        add_to(to, a, b);
        break;
      case Kind::subtract:
        single_ ? vsubps(to, a, b) : vsubpd(to, a, b);
        break;
      case Kind::multiply:
        multiply(to, a, b);
        break;
      case Kind::divide:
        single_ ? vdivps(to, a, b) : vdivpd(to, a, b);
        break;
      case Kind::square_root:
        single_ ? vsqrtps(to, a) : vsqrtpd(to, a);
        break;
      case Kind::negate:
        sign_bit(spare);
        single_ ? vxorps(to, a, spare) : vxorpd(to, a, spare);
        break;
      case Kind::strong_multiply:
        where(to, a, kNotEqual, spare, [&](const Xmm& masked) { multiply(masked, a, b); });
        break;
      case Kind::gate:
        where(to, b, kGreater, spare, copy(a));
        break;
      case Kind::relu:
        where(to, a, kNotLessEqual, spare, copy(a));
        break;
      case Kind::input:
      case Kind::constant:
      case Kind::sum:
        break;
    }
  }
  void sign_bit(const Xmm& to) {
    if (wide_) {
      vpternlogd(to, to, to, 0xFF);
      single_ ? vpslld(to, to, 31) : vpsllq(to, to, 63);
    } else {
      vpcmpeqd(to, to, to);
      single_ ? vpslld(to, to, 31) : vpsllq(to, to, 63);
    }
  }

  // ---- registers

  int take() {
    if (free_.empty()) throw NoRegister();
    const int taken = free_.back();
    free_.pop_back();
    return taken;
  }
  void give(int k) { free_.push_back(k); }
  Reg64 take_pointer() {
    if (free_pointers_.empty()) throw NoRegister();
    const Reg64 taken = free_pointers_.back();
    free_pointers_.pop_back();
    return taken;
  }

  // ---- one loop

  // The lines that a loop computes or adds up, in order.
  std::vector<std::int32_t> work_of(std::int32_t sweep) const {
    std::vector<std::int32_t> work;
    for (std::int32_t k = 0; k < lines(); ++k) {
      const Sweeps::Line& each = line(k);
      if (each.what.kind == Kind::sum ? each.sweep - 1 == sweep : !each.what.row && !is_input(k) && each.sweep == sweep)
        work.push_back(k);
    }
    return work;
  }

  void write_sweep(std::int32_t sweep) {
    const std::vector<std::int32_t> work = work_of(sweep);
    if (work.empty()) return;
    free_.clear();
    for (int k = (wide_ ? 32 : 15); k-- > 0;) free_.push_back(k);  // AVX2 keeps one for masks
    free_pointers_ = {r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8};
    splats_.clear();
    rows_.clear();
    last_.clear();
    for (std::int32_t position = 0; position < static_cast<std::int32_t>(work.size()); ++position)
      prepare(work[static_cast<std::size_t>(position)], position);
    const std::vector<std::int32_t> sums = sums_of(sweep);
    if (sums.empty())
      write_loop(sweep, work);
    else
      write_summing_loop(sweep, work, sums);
  }

  // Pointers and what is the same for the whole row, before the loop.
  void prepare(std::int32_t k, std::int32_t position) {
    const Sweeps::Line& each = line(k);
    for (const Lane operand : {each.what.a, each.what.b}) {
      if (!operand.defined()) continue;
      const std::int32_t read = operand.number;
      last_[read] = position;
      if (line(read).what.row) {
        if (splats_.contains(read)) continue;
        const int to = splats_[read] = take();
        if (single_)
          vbroadcastss(vector(to), slot(read));
        else
          vbroadcastsd(wide_ ? Xbyak::Zmm(to) : Xbyak::Ymm(to), slot(read));
      } else if (is_input(read)) {
        row_at(line(read).from);
      } else if (line(read).sweep < (each.what.kind == Kind::sum ? each.sweep - 1 : each.sweep)) {
        row_at(kept_part(read));
      }
    }
    last_.try_emplace(k, position);
    if (each.what.kind == Kind::sum) return;
    if (each.to >= 0) row_at(each.to);
    if (each.kept >= 0) row_at(kept_part(k));
  }
  std::int32_t kept_part(std::int32_t k) const {
    return static_cast<std::int32_t>(sweeps_.parts.size()) + line(k).kept;
  }
  Reg64 row_at(std::int32_t part) {
    const auto known = rows_.find(part);
    if (known != rows_.end()) return known->second;
    const Reg64 to = take_pointer();
    mov(to, pointer(part));
    rows_.emplace(part, to);
    return to;
  }

  Address element(std::int32_t part, int place) { return ptr[row_at(part) + rcx + place * vector_]; }

  void load(const Xmm& to, const Address& from, bool part) {
    if (!part)
      single_ ? vmovups(to, from) : vmovupd(to, from);
    else if (wide_)
      single_ ? vmovups(to | k2 | T_z, from) : vmovupd(to | k2 | T_z, from);
    else
      single_ ? vmaskmovps(to, ymm15, from) : vmaskmovpd(to, ymm15, from);
  }
  void store(const Address& to, const Xmm& from, bool part) {
    if (!part)
      single_ ? vmovups(to, from) : vmovupd(to, from);
    else if (wide_)
      single_ ? vmovups(to | k2, from) : vmovupd(to | k2, from);
    else
      single_ ? vmaskmovps(to, ymm15, from) : vmaskmovpd(to, ymm15, from);
  }

  int operand(std::int32_t k, Copy& copy) {
    if (const auto splat = splats_.find(k); splat != splats_.end()) return splat->second;
    if (const auto known = copy.at.find(k); known != copy.at.end()) return known->second;
    const int to = copy.at[k] = take();
    load(vector(to), element(is_input(k) ? line(k).from : kept_part(k), copy.place), copy.part);
    return to;
  }
  void release(std::int32_t k, std::int32_t position, Copy& copy) {
    const auto known = copy.at.find(k);
    if (known == copy.at.end() || last_[k] > position) return;
    give(known->second);
    copy.at.erase(known);
  }

  // The arithmetic of one vector. `sums` are the registers that the sums of this place are in, in order.
  void write_vector(const std::vector<std::int32_t>& work, int place, bool part, const int* sums) {
    Copy copy{{}, place, part};
    for (std::int32_t position = 0; position < static_cast<std::int32_t>(work.size()); ++position) {
      const std::int32_t k = work[static_cast<std::size_t>(position)];
      const Sweeps::Line& each = line(k);
      const int a = operand(each.what.a.number, copy);
      if (each.what.kind == Kind::sum) {
        add_to(vector(*sums), vector(*sums), vector(a));
        ++sums;
      } else {
        const int b = each.what.b.defined() ? operand(each.what.b.number, copy) : a;
        const int to = copy.at[k] = take(), spare = take();
        compute(each.what.kind, vector(to), vector(a), vector(b), vector(spare));
        give(spare);
        if (each.to >= 0) store(element(each.to, place), vector(to), part);
        if (each.kept >= 0) store(element(kept_part(k), place), vector(to), part);
      }
      release(each.what.a.number, position, copy);
      if (each.what.b.defined()) release(each.what.b.number, position, copy);
      release(k, position, copy);
    }
  }

  // Asks for what is ahead, where this loop is the first that goes through it.
  void write_ahead(std::int64_t bytes) {
    for (const Ahead& each : ahead_) {
      const auto row = rows_.find(each.part);
      if (row == rows_.end() || asked_.try_emplace(each.part, sweep_).first->second != sweep_) continue;
      for (std::int64_t line = 0; line < bytes; line += kLine) {
        prefetcht1(ptr[row->second + rcx + static_cast<int>(each.bytes + line)]);
      }
    }
  }

  void write_loop(std::int32_t sweep, const std::vector<std::int32_t>& work) {
    sweep_ = sweep;
    const int two = 2 * vector_;
    const bool known = sweeps_.elements > 0;
    const std::int64_t bytes = sweeps_.elements * element_;
    xor_(ecx, ecx);
    Xbyak::Label pair, one, part, done;
    // rdx: where the last whole pair, vector, element begins
    const auto below = [&](std::int64_t size) {
      if (known) {
        mov(rdx, bytes - size);
      } else {
        lea(rdx, ptr[rsi * element_ - static_cast<int>(size)]);
      }
    };
    if (!known || bytes >= two) {
      below(two);
      cmp(rcx, rdx);
      jg(one, T_NEAR);
      L(pair);
      write_ahead(two);
      write_vector(work, 0, false, nullptr);
      write_vector(work, 1, false, nullptr);
      add(rcx, two);
      cmp(rcx, rdx);
      jle(pair, T_NEAR);
    }
    L(one);
    if (!known || bytes % two >= vector_) {
      below(vector_);
      cmp(rcx, rdx);
      jg(part, T_NEAR);
      write_vector(work, 0, false, nullptr);
      add(rcx, vector_);
    }
    L(part);
    if (known && bytes % vector_ == 0) return;
    below(0);
    sub(rdx, rcx);
    jle(done, T_NEAR);
    if (wide_) {
      shr(rdx, single_ ? 2 : 3);
      mov(eax, 0xFFFF);
      bzhi(eax, eax, edx);
      kmovw(k2, eax);
    } else {
      lea(rax, ptr[rip + masks_]);
      sub(rax, rdx);
      vmovups(ymm15, ptr[rax + 32]);
    }
    write_vector(work, 0, true, nullptr);
    L(done);
  }

  void write_summing_loop(std::int32_t sweep, const std::vector<std::int32_t>& work,
                          const std::vector<std::int32_t>& sums) {
    sweep_ = sweep;
    const auto step = static_cast<int>(kLanes * element_);
    const int copies = step / vector_;
    std::vector<int> totals;  // of the first place, then of the second, …
    for (std::size_t k = 0; k < sums.size() * static_cast<std::size_t>(copies); ++k) totals.push_back(take());
    const std::int64_t bytes = sweeps_.elements * element_, leaf = kLeaf * element_;
    const std::int64_t whole = bytes / leaf, rest = bytes % leaf;
    const Reg64 leaf_to = take_pointer();
    lea(leaf_to, ptr[rsp + leaves_at_]);
    xor_(ecx, ecx);
    const auto write_leaf = [&] {
      for (const int each : totals) sign_bit(vector(each));  // -0: adding to it changes nothing
      Xbyak::Label loop;
      L(loop);
      write_ahead(step);
      for (int place = 0; place < copies; ++place)
        write_vector(work, place, false, totals.data() + place * static_cast<int>(sums.size()));
      add(rcx, step);
      cmp(rcx, rdx);
      jl(loop, T_NEAR);
      for (std::size_t k = 0; k < sums.size(); ++k) {
        join(totals, sums.size(), k, copies);
        store_scalar(ptr[leaf_to + static_cast<int>(k * static_cast<std::size_t>(leaves()) * 8)], Xmm(totals[k]));
      }
      add(leaf_to, 8);
    };
    if (whole > 0) {
      mov(rdx, leaf);
      Xbyak::Label next;
      L(next);
      write_leaf();
      if (whole > 1) {
        add(rdx, static_cast<std::uint32_t>(leaf));
        cmp(rdx, static_cast<std::uint32_t>(whole * leaf));
        jle(next, T_NEAR);
      }
    }
    if (rest > 0) {
      mov(rdx, bytes);
      write_leaf();
    }
    for (std::size_t k = 0; k < sums.size(); ++k) {
      const int first = leaves_at_ + static_cast<int>(k * static_cast<std::size_t>(leaves()) * 8);
      join_leaves(first, sweeps_.elements);
      load_scalar(xmm0, ptr[rsp + first]);
      store_scalar(slot(sums[k]), xmm0);
    }
  }

  // All lanes of a sum's registers into the first lane of the first, halves at a time.
  void join(const std::vector<int>& totals, std::size_t sums, std::size_t k, int copies) {
    const auto at = [&](int place) { return totals[static_cast<std::size_t>(place) * sums + k]; };
    for (int width = copies / 2; width > 0; width /= 2)
      for (int place = 0; place < width; ++place)
        add_to(vector(at(place)), vector(at(place)), vector(at(place + width)));
    const int total = at(0), upper = take();
    if (wide_) {
      vextractf64x4(half(upper), Xbyak::Zmm(total), 1);
      add_to(half(total), half(total), half(upper));
    }
    if (wide_)
      vextractf32x4(Xmm(upper), Xbyak::Ymm(total), 1);
    else
      vextractf128(Xmm(upper), Xbyak::Ymm(total), 1);
    add_to(Xmm(total), Xmm(total), Xmm(upper));
    vpermilpd(Xmm(upper), Xmm(total), 1);
    add_to(Xmm(total), Xmm(total), Xmm(upper));
    if (single_) {
      vpermilps(Xmm(upper), Xmm(total), 1);
      add_to(Xmm(total), Xmm(total), Xmm(upper));
    }
    give(upper);
  }

  // The leaves' sums from `first` into the first one, by the tree of reduce_run.
  void join_leaves(int first, std::int64_t elements) {
    if (elements <= kLeaf) return;
    const std::int64_t left = (elements / 2 + kLeaf - 1) / kLeaf * kLeaf;
    const int second = first + static_cast<int>(left / kLeaf * 8);
    join_leaves(first, left);
    join_leaves(second, elements - left);
    load_scalar(xmm0, ptr[rsp + first]);
    single_ ? vaddss(xmm0, xmm0, ptr[rsp + second]) : vaddsd(xmm0, xmm0, ptr[rsp + second]);
    store_scalar(ptr[rsp + first], xmm0);
  }

  const Sweeps& sweeps_;
  std::span<const std::int64_t> row_bytes_;
  std::span<const Ahead> ahead_;
  bool wide_, single_;
  int element_, vector_;
  std::vector<int> slot_of_;
  int leaves_at_ = 0, frame_ = 0;
  std::int32_t sweep_ = 0;
  std::vector<int> free_;
  std::vector<Reg64> free_pointers_;
  std::unordered_map<std::int32_t, int> splats_;
  std::unordered_map<std::int32_t, Reg64> rows_;
  std::unordered_map<std::int32_t, std::int32_t> last_;
  std::unordered_map<std::int32_t, std::int32_t> asked_;
  Xbyak::Label masks_;
};

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

int MachineCode::write(const Sweeps& sweeps, std::span<const std::int64_t> row_bytes, std::span<const Ahead> ahead) {
  if (body_->processor == Processor::none) return -1;
  for (const std::int64_t each : row_bytes)
    if (each > kMostRowBytes) return -1;
  Writer writer(body_->processor, sweeps, row_bytes, ahead);
  try {
    writer.write();
  } catch (const NoRegister&) {
    return -1;
  }
  constexpr std::size_t kAlign = 64;
  body_->bytes.resize((body_->bytes.size() + kAlign - 1) / kAlign * kAlign);
  body_->starts.push_back(body_->bytes.size());
  body_->bytes.insert(body_->bytes.end(), writer.getCode(), writer.getCode() + writer.getSize());
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
