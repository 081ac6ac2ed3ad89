// A program made ready to run: kernels, memory and pointers. For the files of this folder.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include <twopass/core/memory.h>
#include <twopass/graph/plan/layout.h>
#include <twopass/graph/plan/program.h>

namespace twopass::planning {

class Machine {
 public:
  explicit Machine(Program program);

  const Program& program() const { return program_; }
  const Layout& layout() const { return layout_; }

  /// Sets where a value lies that is outside of the arena; views of it follow.
  void bind(ValueId value, std::byte* memory) { pointers_[value] = memory; }
  std::byte* pointer(ValueId value) const { return pointers_[value]; }
  /// Runs all steps; returns the first update that is not finite, or their number.
  std::size_t run();
  /// The same, adding what each step took to `seconds`.
  std::size_t run(std::vector<double>& seconds);
  /// Rows that one block of a step has.
  std::int64_t block_rows(std::size_t step) const { return ready_[step].block_rows; }

 private:
  struct Operand {
    ValueId value;
    bool in_tile;            // in the block's own memory, at `offset`
    std::int64_t offset;     // there
    std::int64_t row_bytes;  // from one row to the next; 0 for what is read whole
    Shape block, tail;       // the shape of a block's part and of the last, smaller block's
  };
  struct ReadyCall {
    const PlannedCall* call;
    bool flat;  // a kernel call for a run of elements
    std::int64_t row_elements;
    DType dtype;  // that the kernel is called for
    std::vector<Operand> inputs;
    Operand output;
  };
  struct Stream {
    ValueId value;
    std::int64_t row_bytes;
    bool written;
  };
  struct Ready {
    std::int64_t block_rows = 0, blocks = 0, tile_bytes = 0;
    bool threads = false;
    std::vector<ReadyCall> calls;
    std::vector<Stream> streams;       // what blocks read from and write to memory
    std::vector<std::size_t> updates;  // that its calls make, to be looked through
  };

  void prepare_tiles(const Step& step, Ready& ready);
  Operand operand(ValueId value, std::int64_t rows, bool split, std::int64_t block_rows) const;
  void forward(const PlannedCall& call, Inputs inputs, const Output& output) const;
  void run_whole(const PlannedCall& call);
  void run_blocks(const Step& step, Ready& ready);
  void fetch_part(const Step& step, const Ready& ready, std::int64_t block, std::size_t part) const;
  void run_block(const Step& step, const Ready& ready, std::int64_t block, std::byte* memory);
  void run_step(std::size_t index);
  void check(const Program::Update& update, std::size_t number, const std::byte* from, std::int64_t bytes);

  Program program_;
  Layout layout_;
  Buffer arena_;
  std::vector<std::byte*> pointers_;
  std::vector<ValueId> views_;
  std::vector<Ready> ready_;
  std::atomic<std::size_t> not_finite_;
};

}  // namespace twopass::planning
