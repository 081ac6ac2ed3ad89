#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <unordered_map>

#include <twopass/graph/plan/passes.h>

namespace twopass::planning {
namespace {

void put(std::string& key, const void* bytes, std::size_t count) { key.append(static_cast<const char*>(bytes), count); }

// Two calls with one key give one value: no op draws or changes anything.
std::string key_of(const PlannedCall& call) {
  std::string key;
  put(key, &call.op, sizeof(void*));
  put(key, call.inputs.data(), call.inputs.size() * sizeof(ValueId));
  if (!call.arguments) return key;
  const Attributes attributes = call.op->attributes(call.arguments.get());
  // Arguments that say nothing of themselves, as a user's function does, are like themselves only.
  const auto own = reinterpret_cast<std::uintptr_t>(call.arguments.get());
  return key + (attributes.empty() ? std::to_string(own) : text_of(attributes));
}

std::string key_of(const Tensor& constant) {
  std::string key(name_of(constant.dtype()));
  key += constant.shape().text();
  put(key, constant.node().data, constant.node().bytes());
  return key;
}

}  // namespace

void merge_common_subexpressions(Program& program) {
  constexpr std::int64_t kSmall = 64;  // bytes of constants that are compared: the numbers that code is full of
  std::vector<ValueId> by(program.values.size());
  std::iota(by.begin(), by.end(), ValueId{0});
  std::unordered_map<std::string, ValueId> known;
  for (ValueId id = 0; id < program.values.size(); ++id) {
    const Value& value = program.values[id];
    if (value.kind == Value::Kind::constant && value.bytes() <= kSmall)
      by[id] = known.emplace(key_of(value.constant), id).first->second;
  }
  std::erase_if(program.calls, [&](PlannedCall& call) {
    for (ValueId& input : call.inputs) input = by[input];
    const auto [first, fresh] = known.emplace(key_of(call), call.output);
    by[call.output] = first->second;
    return !fresh;
  });
  program.replace(by);
}

}  // namespace twopass::planning
