// A step of several calls, cut into blocks of rows whose memory fits into cache. For the files of this folder.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/graph/plan/layout.h>
#include <twopass/graph/plan/machine_code.h>
#include <twopass/graph/plan/program.h>

namespace twopass::planning {

struct Blocks {
  struct Operand {
    ValueId value;
    bool in_tile = false;         // in the block's own memory, at `offset`
    std::int64_t offset = 0;      // there
    std::int64_t row_bytes = 0;   // from one row to the next; 0 for what is read whole
    std::int64_t each = 1;        // rows of the step that make one of it
    Shape block = {}, tail = {};  // the shape of a block's part and of the last, smaller block's
  };
  struct Call {
    const PlannedCall* call;
    bool flat;  // a kernel call for a run of elements
    std::int64_t row_elements;
    DType dtype;  // that the kernel is called for
    std::vector<Operand> inputs;
    Operand output;
  };
  /// Consecutive calls as one function.
  struct Code {
    int function;
    std::int64_t row_elements;  // that it counts a row as; 0: it counts rows
    std::vector<Operand> parts;
    std::int64_t kept, kept_bytes;  // rows that it keeps things in, behind the block's other memory
  };
  /// A call, or several as code.
  struct Item {
    std::size_t first, count;  // of the calls
    std::int32_t code = -1;
  };
  /// What blocks read from and write to memory.
  struct Stream {
    ValueId value;
    std::int64_t row_bytes;
    bool written;
  };

  std::int64_t rows = 0;  // of a block
  std::int64_t count = 0;
  std::int64_t together = 1;    // blocks that one thread runs, in order: they make one row of something
  std::int64_t tile_bytes = 0;  // a block's own memory, without what code keeps
  std::int64_t memory_bytes = 0;
  double elements = 0;  // that all calls make
  std::vector<Call> calls;
  std::vector<Code> code;
  std::vector<Item> items;
  std::vector<Stream> streams;
};

/// Arithmetic on elements is written as functions of `code` where it can be.
Blocks cut_into_blocks(const Program& program, const Layout& layout, const Step& step, MachineCode& code);

}  // namespace twopass::planning
