// A program made ready to run: kernels, memory and pointers. For the files of this folder.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <twopass/core/memory.h>
#include <twopass/graph/plan/blocks.h>
#include <twopass/graph/plan/layout.h>
#include <twopass/graph/plan/machine_code.h>
#include <twopass/graph/plan/program.h>

namespace twopass::planning {

class Machine {
 public:
  /// Arithmetic on elements is written as machine code for this processor where it can be. `share`: as in lay_out.
  Machine(Program program, Processor processor, bool share);

  const Program& program() const { return program_; }
  const Layout& layout() const { return layout_; }
  /// What its code is written for.
  Processor processor() const { return processor_; }

  /// Sets where a value lies that is outside of the arena; views of it follow.
  void bind(ValueId value, std::byte* memory) { pointers_[value] = memory; }
  std::byte* pointer(ValueId value) const { return pointers_[value]; }
  /// Runs all steps; returns the first update that is not finite, or their number.
  std::size_t run();
  /// The same, adding what each step took to `seconds`.
  std::size_t run(std::vector<double>& seconds);
  /// Rows that one block of a step has.
  std::int64_t block_rows(std::size_t step) const { return ready_[step].blocks.rows; }
  /// How many of a step's calls are code of this plan's own.
  std::size_t coded_calls(std::size_t step) const;
  /// The most bytes that steps which run at once take beside the arena.
  std::int64_t scratch_bytes() const;

 private:
  struct Ready {
    Blocks blocks;  // of a step of several calls
    bool threads = false;
    std::vector<std::size_t> updates;  // that its calls make, to be looked through
    std::vector<View> views = {};      // of a whole call's inputs, where they are many
  };

  [[noreturn]] void refuse(const PlannedCall& call, const std::string& reason) const;
  void run_block_call(const Blocks& blocks, const Blocks::Call& block_call, std::int64_t row, std::int64_t rows,
                      std::byte* memory) const;
  void forward(const PlannedCall& call, Inputs inputs, const Output& output) const;
  void run_whole(const PlannedCall& call, std::vector<View>& many);
  void run_blocks(const Step& step, const Ready& ready);
  void fetch_part(const Step& step, const Blocks& blocks, std::int64_t block, std::size_t part) const;
  std::byte* place(const Blocks::Operand& operand, std::int64_t row, std::byte* memory) const;
  void run_code(const Blocks& blocks, const Blocks::Code& code, std::int64_t row, std::int64_t rows,
                std::byte* memory) const;
  void run_call(const Blocks& blocks, const Blocks::Call& block_call, std::int64_t row, std::int64_t rows,
                std::byte* memory) const;
  void run_block(const Step& step, const Ready& ready, std::int64_t block, std::byte* memory);
  void run_step(std::size_t index);
  void run_moment(const Moment& moment);
  void check(const Program::Update& update, std::size_t number, const std::byte* from, std::int64_t bytes);

  Program program_;
  Layout layout_;
  Buffer arena_;
  std::vector<std::byte*> pointers_;
  std::vector<ValueId> views_;
  Processor processor_;
  MachineCode code_;
  std::vector<Ready> ready_;
  std::vector<std::size_t> other_updates_;  // of parts of values, or of what no call makes: looked through at the end
  std::atomic<std::size_t> not_finite_;
};

}  // namespace twopass::planning
