// Consecutive calls of a step as loops over the elements of a row, for machine code. For the files of this folder.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include <twopass/graph/plan/layout.h>
#include <twopass/graph/plan/program.h>

namespace twopass::planning {

/// What a call reads or writes for one row of a step.
struct RowPart {
  ValueId value;
  std::int64_t elements;
  bool moves;  // with the rows; otherwise all rows have it in common
};

struct RowCall {
  const PlannedCall* call;
  std::vector<RowPart> inputs;
  RowPart output;
};

/// What some calls do to one row: loops over its elements, one after another because sums lie between them, and
/// before each loop arithmetic on what a row has one of.
struct Sweeps {
  struct Line {
    Lanes::Line what;
    /// The loop that it is part of; of what a row has one of: the loop before which it is there.
    std::int32_t sweep = 0;
    /// The part that an input is read from, and that a result is written to, or -1.
    std::int32_t from = -1, to = -1;
    /// Where among the rows of memory that loops leave for later ones, or -1.
    std::int32_t kept = -1;
    bool is(Lanes::Kind kind) const { return what.kind == kind; }
    /// The loop in which it reads its operands.
    std::int32_t reads_in() const { return is(Lanes::Kind::sum) ? sweep - 1 : sweep; }
  };
  DType dtype = f32;
  /// Of a row; 0: there is one, as long as its user says.
  std::int64_t elements = 0;
  std::int32_t count = 1;
  std::int32_t kept = 0;
  std::vector<Line> lines;
  std::vector<RowPart> parts;
};

/// The loops of such calls, or none where a call is not arithmetic on elements. `wanted` are the outputs that others
/// read.
std::optional<Sweeps> sweeps_of(const Program& program, const Layout& layout, std::span<const RowCall> calls,
                                const std::function<bool(ValueId)>& wanted);

}  // namespace twopass::planning
