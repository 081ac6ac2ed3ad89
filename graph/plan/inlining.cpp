// Plans that are called while another is traced.
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/graph/plan/trace.h>
#include <twopass/ops/shaping.h>

namespace twopass::planning {
namespace {

Tensor again(const Traced::Item& item, const Tensors& inputs, EagerStages& stages) {
  using Kind = Traced::Item::Kind;
  if (item.kind == Kind::parameter) return item.parameter.tensor();
  if (item.kind == Kind::constant)
    return item.constant.shape() == item.spec.shape ? item.constant : broadcast_to(item.constant, item.spec.shape);
  if (item.kind == Kind::call) {
    const RecordingScope as_then(item.recorded);
    const ArgumentsPointer own = with_own_stages(*item.op, item.arguments, stages);
    return own ? remember(*item.op, own, inputs, item.spec) : apply(*item.op, item.arguments, inputs);
  }
  if (!item.recorded) return detach(inputs[0]);
  item.parameter.set(inputs[0]);
  return item.parameter.tensor();
}

}  // namespace

Tensors Traced::inlined(const Tensors& given) const {
  Tensors now, results;
  EagerStages stages;
  for (const Item& item : items) {
    Tensors of;
    for (const Number input : item.inputs) of.push_back(now[input]);
    // Those of the function come first.
    now.push_back(item.kind == Item::Kind::input ? given[now.size()] : again(item, of, stages));
  }
  for (const Number output : outputs) results.push_back(now[output]);
  for (const auto& [parameter, update] : updates) parameter.set(now[update]);
  return results;
}

}  // namespace twopass::planning
