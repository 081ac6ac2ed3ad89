#include <twopass/graph/layers/traced.h>

#include <twopass/graph/plan/eager_calls.h>

namespace twopass {

Tensors run_layer(const LayerPointer& layer, const Tensors& inputs, const CallContext& context) {
  if (!LiftScope::active()) return layer->run(inputs, context);
  Tensors with_step = inputs;
  if (context.step.defined()) with_step.push_back(context.step);
  const auto on_values = [layer, context, count = static_cast<std::ptrdiff_t>(inputs.size())](const Tensors& given) {
    CallContext own = context;
    if (own.step.defined()) own.step = given.back();
    return layer->run({given.begin(), given.begin() + count}, own);
  };
  const auto trace = [&] { return layer->run(inputs, context); };
  return planning::traced_or_eagerly(trace, on_values, with_step, context.training ? layer->states() : Parameters());
}

}  // namespace twopass
