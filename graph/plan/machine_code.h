// Sweeps as machine code for this processor (AVX2 or AVX-512, written with Xbyak), where the build has it. For the
// files of this folder.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <twopass/graph/plan/sweeps.h>

namespace twopass::planning {

/// What code is written for.
enum class Processor : std::uint8_t { none, avx2, avx512 };
/// The best that there is here, where the build can write code at all.
Processor processor();
/// "machine code for AVX2", or "kernels only".
const char* text_of(Processor processor);

/// How loops go through the memory of a part.
struct Stream {
  std::int64_t row_bytes = 0;  // from one row to the next
  bool past_cache = false;     // is written to memory, not to the cache: rows, and the first of them, begin at lines
};

/// Functions that run sweeps, in memory of their own.
class MachineCode {
 public:
  /// Goes through `count` rows, or, where sweeps have one row, through a row of so many elements. `pointers` are those
  /// of the parts, then one for each kept row; they are moved on.
  using Function = void (*)(std::byte** pointers, std::int64_t count);

  explicit MachineCode(Processor processor);
  ~MachineCode();
  MachineCode(MachineCode&&) noexcept;
  MachineCode& operator=(MachineCode&&) noexcept;

  /// Writes a function; its number, or -1 where the processor has too few registers. `streams`: one for each part.
  /// What is the same as before is one function.
  int write(const Sweeps& sweeps, std::span<const Stream> streams);
  /// No more is written: from now on there are functions.
  void finish();
  Function function(int number) const;

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace twopass::planning
