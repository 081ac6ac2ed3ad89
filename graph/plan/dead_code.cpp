#include <vector>

#include <twopass/graph/plan/passes.h>

namespace twopass::planning {

void remove_dead_code(Program& program) {
  std::vector<bool> needed(program.values.size(), false);
  for (const ValueId output : program.outputs) needed[output] = true;
  for (const Program::Update& update : program.updates) needed[update.value] = true;
  for (std::size_t k = program.calls.size(); k-- > 0;)
    if (needed[program.calls[k].output])
      for (const ValueId input : program.calls[k].inputs) needed[input] = true;
  std::erase_if(program.calls, [&](const PlannedCall& call) { return !needed[call.output]; });
}

}  // namespace twopass::planning
