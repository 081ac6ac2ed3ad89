#include <vector>

#include <twopass/graph/plan/passes.h>

namespace twopass::planning {
namespace {

// Makes `consumer` the one call that does both calls' work; the product is left without users.
bool absorb(const Program& program, const PlannedCall& product, PlannedCall& consumer, std::size_t at) {
  const std::vector<Spec> specs = program.specs(consumer);
  const auto found =
      product.op->absorb(product.arguments.get(), Consumer{*consumer.op, consumer.arguments.get(), Specs(specs), at});
  if (!found) return false;
  std::vector<ValueId> inputs;
  for (const int from : found->inputs) {
    if (from >= static_cast<int>(product.inputs.size())) continue;  // optional inputs that this product lacks
    inputs.push_back(from >= 0 ? product.inputs[static_cast<std::size_t>(from)]
                               : consumer.inputs[static_cast<std::size_t>(-1 - from)]);
  }
  consumer.op = found->op;
  consumer.arguments = found->arguments;
  consumer.inputs = std::move(inputs);
  return true;
}

}  // namespace

void absorb_consumers(Program& program) {
  const auto uses = program.uses();
  auto makers = program.makers();
  std::vector<bool> gone(program.calls.size(), false);
  for (PlannedCall& consumer : program.calls)
    for (std::size_t at = 0; at < consumer.inputs.size(); ++at) {
      const ValueId input = consumer.inputs[at];
      const std::size_t maker = makers[input];
      if (maker == program.calls.size() || uses[input] != 1 || !absorb(program, program.calls[maker], consumer, at))
        continue;
      gone[maker] = true;
      break;
    }
  std::size_t k = 0;
  std::erase_if(program.calls, [&](const PlannedCall&) { return static_cast<bool>(gone[k++]); });
}

}  // namespace twopass::planning
