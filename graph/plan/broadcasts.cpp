#include <twopass/graph/plan/passes.h>
#include <twopass/ops/shaping.h>

namespace twopass::planning {
namespace {

// The value that an elementwise consumer may read instead: that before a call which only spreads it, if the rule of the
// consumer comes to the same shape then.
bool reads_unspread(const Program& program, PlannedCall& call, std::size_t k, ValueId before) {
  std::vector<Spec> specs = program.specs(call);
  specs[k] = program.spec(before);
  const Spec& output = program.spec(call.output);
  try {
    const Spec found = call.op->shape(call.arguments.get(), Specs(specs));
    if (!(found.shape == output.shape) || found.dtype != output.dtype) return false;
  } catch (const Error&) {
    return false;  // an op that is elementwise but does not broadcast
  }
  call.inputs[k] = before;
  return true;
}

}  // namespace

void skip_broadcasts(Program& program) {
  const auto makers = program.makers();
  for (PlannedCall& call : program.calls) {
    if (!call.op->elementwise() || !call.op->broadcasts()) continue;
    for (std::size_t k = 0; k < call.inputs.size(); ++k)
      for (std::size_t maker = makers[call.inputs[k]]; maker < program.calls.size();) {
        const PlannedCall& spread = program.calls[maker];
        // Broadcasting alone, without arithmetic: a record that broadcasts one input and is not elementwise.
        const bool spreads = spread.inputs.size() == 1 && spread.op->broadcasts() && !spread.op->elementwise();
        if (!spreads || !reads_unspread(program, call, k, spread.inputs[0])) break;
        maker = makers[call.inputs[k]];
      }
  }
}

}  // namespace twopass::planning
