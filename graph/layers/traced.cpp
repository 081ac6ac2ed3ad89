#include <twopass/graph/layers/traced.h>

#include <twopass/core/error.h>
#include <twopass/graph/plan/eager_calls.h>

namespace twopass {

Tensors run_layer(const LayerPointer& layer, const Tensors& inputs, const CallContext& context) {
  if (!LiftScope::active()) return layer->run(inputs, context);
  Tensors with_step = inputs;
  if (context.step.defined()) with_step.push_back(context.step);
  const auto on_values = [layer, context, count = static_cast<std::ptrdiff_t>(inputs.size())](const Tensors& given) {
    CallContext own = context;
    if (own.step.defined()) own.step = given.back();
    const Tensors outputs = layer->run({given.begin(), given.begin() + count}, own);
    if (outputs.size() != 1) throw Error("a layer of several outputs cannot run eagerly within a plan");
    return outputs[0];
  };
  return planning::traced_or_eagerly([&] { return layer->run(inputs, context); }, on_values, with_step);
}

}  // namespace twopass
