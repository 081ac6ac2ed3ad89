#include <algorithm>

#include <twopass/graph/plan/eager_calls.h>
#include <twopass/graph/plan/passes.h>

namespace twopass::planning {
namespace {

// What is larger is made again in each run: reading it would cost as much as making it, and it would take memory.
constexpr std::int64_t kMostBytes = 16 << 10;

}  // namespace

void fold_constants(Program& program) {
  const RecordingScope off(false);
  std::erase_if(program.calls, [&](const PlannedCall& call) {
    if (eager_stage(*call.op, call.arguments.get())) return false;  // a run of the plan is told apart from a trial
    Value& output = program.values[call.output];
    Tensors inputs;
    for (const ValueId input : call.inputs) {
      if (program.values[input].kind != Value::Kind::constant) return false;
      inputs.push_back(program.values[input].constant);
    }
    if (output.bytes() > kMostBytes) return false;
    output.constant = apply(*call.op, call.arguments, inputs);
    output.kind = Value::Kind::constant;
    return true;
  });
}

}  // namespace twopass::planning
