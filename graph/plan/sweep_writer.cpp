#include <twopass/graph/plan/sweep_writer.h>

#include <xbyak/xbyak_util.h>

#include <algorithm>
#include <bit>
#include <unordered_map>
#include <utility>

#include <twopass/graph/plan/vector_assembler.h>

namespace twopass::planning {
namespace {

using Kind = Lanes::Kind;
using Xbyak::Reg64;

constexpr std::int64_t kLanes = 32;
struct NoRegister {};

// Whether it pays to ask for the next row of what comes from memory while this one is read: Zen 5 stops at the end of a
// page and gains a fifth, Zen 4 goes on by itself and loses a quarter (twopass_bench W8b).
bool stops_at_pages() {
  using Cpu = Xbyak::util::Cpu;
  constexpr int kZen5 = 0x1A;
  static const Cpu cpu;
  return cpu.has(Cpu::tAMD) && cpu.displayFamily == kZen5;
}

// Writes one function; throws NoRegister where there are too few.
class Writer : VectorAssembler {
 public:
  Writer(Processor processor, const Sweeps& sweeps, std::span<const Stream> streams)
      : VectorAssembler(processor, sweeps.dtype),
        sweeps_(sweeps),
        streams_(streams),
        past_cache_(std::any_of(streams.begin(), streams.end(), [](const Stream& each) { return each.past_cache; })),
        asks_ahead_(past_cache_ && sweeps.elements > 0 && stops_at_pages()),
        slot_of_(sweeps.lines.size(), 0) {}

  std::vector<std::uint8_t> write() {
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
        if (const std::int64_t bytes = streams_[k].row_bytes)
          add(qword[rdi + 8 * k], static_cast<std::uint32_t>(bytes));
      dec(rsi);
      jnz(row, T_NEAR);
    }
    if (past_cache_) sfence();
    add(rsp, frame_);
    for (const Reg64& each : {r15, r14, r13, r12, rbp, rbx}) pop(each);
    vzeroupper();
    ret();
    write_tables();
    ready(PROTECT_RW);
    return {getCode(), getCode() + getSize()};
  }

 private:
  // What a line's operands are in, and how long: one vector of a loop.
  struct Copy {
    std::unordered_map<std::int32_t, int> at;  // line -> register
    std::uint32_t place;                       // of the vector among those of one iteration
    bool part;                                 // of a vector only
  };

  const Sweeps::Line& line(std::int32_t k) const { return sweeps_.lines[static_cast<std::size_t>(k)]; }
  std::int32_t lines() const { return static_cast<std::int32_t>(sweeps_.lines.size()); }
  bool is_input(std::int32_t k) const { return line(k).is(Kind::input); }

  Address slot(std::int32_t k) { return ptr[rsp + slot_of_[static_cast<std::size_t>(k)]]; }

  void lay_out_frame() {
    std::uint32_t at = 0;
    for (std::int32_t k = 0; k < lines(); ++k)
      if (line(k).what.row) slot_of_[static_cast<std::size_t>(k)] = std::exchange(at, at + 8);
    leaves_at_ = at;
    std::size_t sums = 0;
    for (std::int32_t sweep = 0; sweep < sweeps_.count; ++sweep) sums = std::max(sums, sums_of(sweep).size());
    at += static_cast<std::uint32_t>(sums) * leaves() * 8;
    frame_ = (at + 63) / 64 * 64 + 8;
  }

  std::uint32_t leaves() const { return static_cast<std::uint32_t>((sweeps_.elements + kLeaf - 1) / kLeaf); }

  std::vector<std::int32_t> sums_of(std::int32_t sweep) const {
    std::vector<std::int32_t> sums;
    for (std::int32_t k = 0; k < lines(); ++k)
      if (line(k).is(Kind::sum) && line(k).reads_in() == sweep) sums.push_back(k);
    return sums;
  }

  void write_constants() {
    for (std::int32_t k = 0; k < lines(); ++k) {
      if (!line(k).is(Kind::constant)) continue;
      if (single_)
        mov(rax, std::bit_cast<std::uint32_t>(static_cast<float>(line(k).what.value)));
      else
        mov(rax, std::bit_cast<std::uint64_t>(line(k).what.value));
      mov(qword[rsp + slot_of_[static_cast<std::size_t>(k)]], rax);
    }
  }

  Address pointer(std::int32_t part) { return qword[rdi + 8 * static_cast<std::size_t>(part)]; }

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
      if (!each.what.row || each.sweep != sweep || !each.what.a.defined() || each.is(Kind::sum)) continue;
      load_scalar(xmm0, slot(each.what.a.number));
      if (each.what.b.defined()) load_scalar(xmm1, slot(each.what.b.number));
      compute(each.what.kind, xmm2, xmm0, xmm1, xmm3);
      store_scalar(slot(k), xmm2);
    }
  }

  template <typename Register>
  static Register taken(std::vector<Register>& free) {
    if (free.empty()) throw NoRegister();
    const Register last = free.back();
    free.pop_back();
    return last;
  }
  int take() { return taken(free_); }
  void give(int k) { free_.push_back(k); }

  // The lines that a loop computes or adds up, in order.
  std::vector<std::int32_t> work_of(std::int32_t sweep) const {
    std::vector<std::int32_t> work;
    for (std::int32_t k = 0; k < lines(); ++k)
      if (line(k).reads_in() == sweep && (line(k).is(Kind::sum) || (!line(k).what.row && !is_input(k))))
        work.push_back(k);
    return work;
  }

  void write_sweep(std::int32_t sweep) {
    const std::vector<std::int32_t> work = work_of(sweep);
    if (work.empty()) return;
    sweep_ = sweep;
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
      write_loop(work);
    else
      write_summing_loop(work, sums);
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
        broadcast(to, slot(read));
      } else if (is_input(read)) {
        row_at(line(read).from);
      } else if (line(read).sweep < each.reads_in()) {
        row_at(kept_part(read));
      }
    }
    last_.try_emplace(k, position);
    if (each.is(Kind::sum)) return;
    if (each.to >= 0) row_at(each.to);
    if (each.kept >= 0) row_at(kept_part(k));
  }
  std::int32_t kept_part(std::int32_t k) const {
    return static_cast<std::int32_t>(sweeps_.parts.size()) + line(k).kept;
  }
  Reg64 row_at(std::int32_t part) {
    if (const auto known = rows_.find(part); known != rows_.end()) return known->second;
    const Reg64 to = taken(free_pointers_);
    mov(to, pointer(part));
    return rows_.emplace(part, to).first->second;
  }

  Address element(std::int32_t part, std::uint32_t place) { return ptr[row_at(part) + rcx + place * vector_]; }

  int operand(std::int32_t k, Copy& copy) {
    if (const auto splat = splats_.find(k); splat != splats_.end()) return splat->second;
    if (const auto known = copy.at.find(k); known != copy.at.end()) return known->second;
    const int to = copy.at[k] = take();
    load(vector(to), element(is_input(k) ? line(k).from : kept_part(k), copy.place), copy.part);
    if (asks_ahead_ && is_input(k) && !copy.part) ask_for_next_row(line(k).from, copy.place);
    return to;
  }
  // In the first loop that reads a part.
  void ask_for_next_row(std::int32_t part, std::uint32_t place) {
    const std::int64_t row_bytes = streams_[static_cast<std::size_t>(part)].row_bytes;
    if (row_bytes > 0 && asked_in_.try_emplace(part, sweep_).first->second == sweep_)
      prefetcht0(ptr[row_at(part) + rcx + place * vector_ + static_cast<std::size_t>(row_bytes)]);
  }
  void release(std::int32_t k, std::int32_t position, Copy& copy) {
    const auto known = copy.at.find(k);
    if (known == copy.at.end() || last_[k] > position) return;
    give(known->second);
    copy.at.erase(known);
  }

  void write_out(std::int32_t to, std::uint32_t place, const Xmm& from, bool part) {
    if (!part && streams_[static_cast<std::size_t>(to)].past_cache)
      store_past_cache(element(to, place), from);
    else
      store(element(to, place), from, part);
  }

  // The arithmetic of one vector. `sums` are the registers that the sums of this place are in, in order.
  void write_vector(const std::vector<std::int32_t>& work, std::uint32_t place, bool part, const int* sums) {
    Copy copy{{}, place, part};
    for (std::int32_t position = 0; position < static_cast<std::int32_t>(work.size()); ++position) {
      const std::int32_t k = work[static_cast<std::size_t>(position)];
      const Sweeps::Line& each = line(k);
      const int a = operand(each.what.a.number, copy);
      if (each.is(Kind::sum)) {
        add_to(vector(*sums), vector(*sums), vector(a));
        ++sums;
      } else {
        const int b = each.what.b.defined() ? operand(each.what.b.number, copy) : a;
        const int to = copy.at[k] = take(), spare = take();
        compute(each.what.kind, vector(to), vector(a), vector(b), vector(spare));
        give(spare);
        if (each.to >= 0) write_out(each.to, place, vector(to), part);
        if (each.kept >= 0) store(element(kept_part(k), place), vector(to), part);
      }
      release(each.what.a.number, position, copy);
      if (each.what.b.defined()) release(each.what.b.number, position, copy);
      release(k, position, copy);
    }
  }

  void write_loop(const std::vector<std::int32_t>& work) {
    const std::uint32_t two = 2 * vector_;
    const bool known = sweeps_.elements > 0;
    const std::int64_t bytes = sweeps_.elements * element_;
    xor_(ecx, ecx);
    Xbyak::Label pair, one, part, done;
    // rdx: where the last whole pair, vector, element begins
    const auto below = [&](std::int64_t size) {
      if (known) {
        mov(rdx, static_cast<std::uint64_t>(bytes - size));
      } else {
        lea(rdx, ptr[rsi * static_cast<int>(element_) - static_cast<std::size_t>(size)]);
      }
    };
    if (!known || bytes >= two) {
      below(two);
      cmp(rcx, rdx);
      jg(one, T_NEAR);
      L(pair);
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
    begin_part();
    write_vector(work, 0, true, nullptr);
    L(done);
  }

  void write_summing_loop(const std::vector<std::int32_t>& work, const std::vector<std::int32_t>& sums) {
    const auto step = static_cast<std::uint32_t>(kLanes) * element_;
    const std::uint32_t copies = step / vector_;
    std::vector<int> totals;  // of the first place, then of the second, …
    for (std::size_t k = 0; k < sums.size() * copies; ++k) totals.push_back(take());
    const std::int64_t bytes = sweeps_.elements * element_, leaf = kLeaf * element_;
    const std::int64_t whole = bytes / leaf, rest = bytes % leaf;
    const Reg64 leaf_to = taken(free_pointers_);
    lea(leaf_to, ptr[rsp + leaves_at_]);
    xor_(ecx, ecx);
    const auto write_leaf = [&] {
      for (const int each : totals) sign_bits(vector(each));  // -0: adding to it changes nothing
      Xbyak::Label loop;
      L(loop);
      for (std::uint32_t place = 0; place < copies; ++place)
        write_vector(work, place, false, totals.data() + place * sums.size());
      add(rcx, step);
      cmp(rcx, rdx);
      jl(loop, T_NEAR);
      for (std::size_t k = 0; k < sums.size(); ++k) {
        std::vector<int> of_sum;
        for (std::uint32_t place = 0; place < copies; ++place) of_sum.push_back(totals[place * sums.size() + k]);
        const int spare = take();
        join(of_sum, spare);
        give(spare);
        store_scalar(ptr[leaf_to + k * leaves() * 8], Xmm(of_sum[0]));
      }
      add(leaf_to, 8);
    };
    if (whole > 0) {
      mov(rdx, static_cast<std::uint64_t>(leaf));
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
      mov(rdx, static_cast<std::uint64_t>(bytes));
      write_leaf();
    }
    for (std::size_t k = 0; k < sums.size(); ++k) {
      const std::uint32_t first = leaves_at_ + static_cast<std::uint32_t>(k) * leaves() * 8;
      join_leaves(first, sweeps_.elements);
      load_scalar(xmm0, ptr[rsp + first]);
      store_scalar(slot(sums[k]), xmm0);
    }
  }

  const Sweeps& sweeps_;
  std::span<const Stream> streams_;
  bool past_cache_, asks_ahead_;
  std::int32_t sweep_ = 0;                                        // whose loop is written
  std::unordered_map<std::int32_t, std::int32_t> asked_in_ = {};  // by part: that whose loop asks for it
  std::vector<std::uint32_t> slot_of_;
  std::uint32_t leaves_at_ = 0, frame_ = 0;
  std::vector<int> free_;
  std::vector<Reg64> free_pointers_;
  std::unordered_map<std::int32_t, int> splats_;
  std::unordered_map<std::int32_t, Reg64> rows_;
  std::unordered_map<std::int32_t, std::int32_t> last_;
};

}  // namespace

std::vector<std::uint8_t> code_of(const Sweeps& sweeps, Processor processor, std::span<const Stream> streams) {
  try {
    return Writer(processor, sweeps, streams).write();
  } catch (const NoRegister&) {
    return {};
  }
}

}  // namespace twopass::planning
