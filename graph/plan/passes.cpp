#include <twopass/graph/plan/passes.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include <twopass/core/error.h>
#include <twopass/graph/plan/plan.h>

namespace twopass::planning {

std::span<const Pass> all_passes() {
  static constexpr std::array kPasses{
      Pass{"constants", "calls on constants alone are done once, now", fold_constants},
      Pass{"common", "equal calls on equal values are one", merge_common_subexpressions},
      Pass{
          "broadcasts",
          "elementwise calls, reductions and stacked products read what was broadcast for them before it was, and what "
          "rearranges it comes before it",
          skip_broadcasts},
      Pass{"dead", "calls that nothing needs are dropped", remove_dead_code},
      Pass{"absorb",
           "products and convolutions take over a bias, an activation or a sum that is behind them, max-pooling's "
           "gradient that of relu",
           absorb_consumers},
      Pass{"channels",
           "images between convolutions keep their channels in blocks, as kernels of these like them; sums of f32 over "
           "such images add in another order",
           keep_blocks},
      Pass{"views", "calls that only look at memory in another shape are no calls", resolve_views},
      Pass{"order", "what leaves least memory in use comes first", order_calls},
      Pass{"tiles", "calls that go row by row run together, block by block", group_tiles},
      Pass{"strands", "small steps that do not read one another run at once", find_strands},
  };
  return kPasses;
}

std::span<const Pass> all_preparations() {
  static constexpr std::array kPreparations{
      Pass{"layout", "values that are not needed at a time share memory", nullptr},
      Pass{"turn", "narrow products are computed as their transposes", nullptr},
      Pass{"code", "arithmetic on elements is written as machine code, for AVX2", nullptr},
      Pass{"avx512", "that code is for AVX-512 where the processor has it", nullptr},
  };
  return kPreparations;
}

}  // namespace twopass::planning

namespace twopass {

std::vector<PlanPass> plan_passes() {
  std::vector<PlanPass> passes;
  for (const auto list : {planning::all_passes(), planning::all_preparations()})
    for (const planning::Pass& pass : list) passes.push_back({pass.name, pass.doc});
  return passes;
}

void check_plan_passes(const std::vector<std::string>& names, const char* who) {
  std::vector<std::string> known;
  for (const PlanPass& pass : plan_passes()) known.push_back(pass.name);
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw Error(fmt::format("{}: there is no pass \"{}\": it must be one of {}", who, name, fmt::join(known, ", ")));
}

}  // namespace twopass
