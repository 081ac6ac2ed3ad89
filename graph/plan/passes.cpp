#include <twopass/graph/plan/passes.h>

#include <array>

namespace twopass::planning {

std::span<const Pass> all_passes() {
  static constexpr std::array kPasses{
      Pass{"constants", "calls on constants alone are done once, now", fold_constants},
      Pass{"common", "equal calls on equal values are one", merge_common_subexpressions},
      Pass{"broadcasts", "elementwise calls read what was broadcast for them before it was", skip_broadcasts},
      Pass{"dead", "calls that nothing needs are dropped", remove_dead_code},
      Pass{"absorb", "products take over the work of their one consumer", absorb_consumers},
      Pass{"views", "calls that only look at memory in another shape are no calls", resolve_views},
      Pass{"order", "what leaves least memory in use comes first", order_calls},
      Pass{"tiles", "calls that go row by row run together, block by block", group_tiles},
      Pass{"strands", "small steps that do not read one another run at once", find_strands},
  };
  return kPasses;
}

}  // namespace twopass::planning
