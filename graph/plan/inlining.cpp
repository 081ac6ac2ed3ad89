// What a plan did when it was traced, done again: while another is traced, and op by op on values.
#include <algorithm>

#include <twopass/core/place.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/graph/plan/trace.h>

namespace twopass::planning {
namespace {

// Not by an op, which a scope might blame for what the constant holds.
Tensor constant_of(const Traced::Item& item) {
  if (item.constant.shape() == item.spec.shape) return item.constant;
  const Tensor whole = uninitialised(item.spec.shape, item.spec.dtype);
  const std::size_t each = size_of(item.spec.dtype);
  for (std::size_t k = 0; k < whole.node().bytes(); k += each)
    std::copy_n(item.constant.node().data, each, whole.node().data + k);
  return whole;
}

Tensor again(const Traced::Item& item, const Tensors& inputs, EagerStages& stages) {
  using Kind = Traced::Item::Kind;
  if (item.kind == Kind::parameter) return item.parameter.tensor();
  if (item.kind == Kind::constant) return constant_of(item);
  if (item.kind == Kind::call) {
    const RecordingScope as_then(item.recorded);
    const ArgumentsPointer own = with_own_stages(*item.op, item.arguments, stages);
    return own ? remember(*item.op, own, inputs, item.spec) : apply(*item.op, item.arguments, inputs);
  }
  if (!item.recorded) return detach(inputs[0]);
  item.parameter.set(inputs[0]);
  return item.parameter.tensor();
}

// The arguments of the items that are calls, with stages for one run.
std::vector<ArgumentsPointer> arguments_for_a_run(const std::vector<Traced::Item>& items) {
  EagerStages own;
  std::vector<ArgumentsPointer> all(items.size());
  std::vector<std::pair<const Op*, const Arguments*>> calls;
  for (std::size_t k = 0; k < items.size(); ++k) {
    const Traced::Item& item = items[k];
    if (item.kind != Traced::Item::Kind::call) continue;
    all[k] = with_own_stages(*item.op, item.arguments, own);
    if (!all[k]) all[k] = item.arguments;
    calls.emplace_back(item.op, all[k].get());
  }
  ready_stages(calls);
  return all;
}

Tensor called(const Traced::Item& item, const ArgumentsPointer& arguments, const Tensors& now) {
  Tensors inputs;
  for (std::size_t k = 0; k < item.inputs.size(); ++k)
    if (reads_input(*item.op, arguments.get(), k)) inputs.push_back(now[item.inputs[k]]);
  const PlaceScope place(item.place);
  try {
    return apply(*item.op, arguments, inputs);
  } catch (const Error& error) {
    if (item.place.empty()) throw;
    throw error.within("in \"" + item.place + "\"");
  }
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

std::pair<Tensors, Tensors> Traced::op_by_op(const Tensors& given) const {
  const RecordingScope off(false);
  const std::vector<ArgumentsPointer> arguments = arguments_for_a_run(items);
  Tensors now, results, values;
  for (const Item& item : items) {
    const std::size_t number = now.size();
    switch (item.kind) {
      case Item::Kind::input:
        now.push_back(detach(given[number]));
        break;
      case Item::Kind::parameter:
        now.push_back(detach(item.parameter.tensor()));
        break;
      case Item::Kind::constant:
        now.push_back(constant_of(item));
        break;
      case Item::Kind::call:
        now.push_back(called(item, arguments[number], now));
        break;
      case Item::Kind::leaf:
        now.push_back(now[item.inputs[0]]);
        break;
    }
  }
  for (const Number output : outputs) results.push_back(now[output]);
  for (const auto& [parameter, update] : updates) values.push_back(now[update]);
  return {results, values};
}

}  // namespace twopass::planning
