#include <algorithm>
#include <numeric>
#include <vector>

#include <twopass/graph/plan/passes.h>

namespace twopass::planning {
namespace {

// Which calls lead to new values of parameters and to nothing else.
std::vector<bool> only_for_updates(const Program& program) {
  std::vector<bool> elsewhere(program.values.size(), false);
  for (const ValueId output : program.outputs) elsewhere[output] = true;
  for (std::size_t k = program.calls.size(); k-- > 0;)
    if (elsewhere[program.calls[k].output])
      for (const ValueId input : program.calls[k].inputs) elsewhere[input] = true;
  std::vector<bool> only;
  for (const PlannedCall& call : program.calls) only.push_back(!elsewhere[call.output]);
  return only;
}

// A number that follows from inputs alone, such as the learning rate of this step.
bool is_early(const Program& program, const PlannedCall& call, const std::vector<std::size_t>& place) {
  return program.spec(call.output).shape.elements() == 1 &&
         std::all_of(call.inputs.begin(), call.inputs.end(), [&](ValueId input) { return place[input] == 0; });
}

}  // namespace

// Each call gets a place: its own number, or 0 for early numbers, or for what only updates need the largest place of
// its inputs. So gradients are used up as soon as they are made, while they are in cache, and need not be kept.
void order_calls(Program& program) {
  const std::vector<bool> only = only_for_updates(program);
  std::vector<std::size_t> place(program.values.size(), 0), order(program.calls.size());
  for (std::size_t k = 0; k < program.calls.size(); ++k) {
    const PlannedCall& call = program.calls[k];
    if (is_early(program, call, place)) continue;
    std::size_t& own = place[call.output] = k + 1;
    if (!only[k]) continue;
    own = 1;
    for (const ValueId input : call.inputs) own = std::max(own, place[input]);
  }
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return place[program.calls[a].output] < place[program.calls[b].output];
  });
  std::vector<PlannedCall> ordered;
  for (const std::size_t k : order) ordered.push_back(std::move(program.calls[k]));
  program.calls = std::move(ordered);
}

}  // namespace twopass::planning
