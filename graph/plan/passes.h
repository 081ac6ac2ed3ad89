// What makes a program better before it is laid out: one file each, in this order. For the files of this folder.
#pragma once
#include <span>

#include <twopass/graph/plan/program.h>

namespace twopass::planning {

/// Calls that leave every output as it is, in fewer or cheaper ones. `name` switches it off.
struct Pass {
  const char* name;
  const char* doc;
  void (*run)(Program& program);
};

std::span<const Pass> all_passes();
/// What a program is made ready by after that; `run` is none.
std::span<const Pass> all_preparations();

void remove_dead_code(Program& program);
void fold_constants(Program& program);
void merge_common_subexpressions(Program& program);
void skip_broadcasts(Program& program);
void order_calls(Program& program);
void absorb_consumers(Program& program);
void keep_blocks(Program& program);
void resolve_views(Program& program);
void group_tiles(Program& program);
void find_strands(Program& program);

}  // namespace twopass::planning
