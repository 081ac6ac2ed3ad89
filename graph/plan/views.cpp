#include <twopass/graph/plan/passes.h>

namespace twopass::planning {

void resolve_views(Program& program) {
  std::erase_if(program.calls, [&](const PlannedCall& call) {
    if (!call.op->aliases()) return false;
    const auto offset = call.op->alias(call.arguments.get(), program.spec(call.inputs[0]).shape);
    if (!offset) return false;
    const Value& looked_at = program.values[call.inputs[0]];
    Value& view = program.values[call.output];
    view.kind = Value::Kind::view;
    view.base = program.root(call.inputs[0]);
    view.offset = looked_at.offset + *offset;
    return true;
  });
}

}  // namespace twopass::planning
