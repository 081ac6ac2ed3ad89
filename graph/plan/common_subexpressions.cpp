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

// The innermost place that both are in: "adam" of "adam/dense/kernel" and "adam/dense_1/kernel".
std::string around(const std::string& a, const std::string& b) {
  if (a == b) return a;
  std::size_t end = 0;
  for (std::size_t k = 0; k <= a.size() && k <= b.size(); ++k) {
    const bool ends = (k == a.size() || a[k] == '/') && (k == b.size() || b[k] == '/');
    if (ends) end = k;
    if (k == a.size() || k == b.size() || a[k] != b[k]) break;
  }
  return a.substr(0, end);
}

}  // namespace

void merge_common_subexpressions(Program& program) {
  constexpr std::int64_t kSmall = 64;  // bytes of constants that are compared: the numbers that code is full of
  std::vector<ValueId> by(program.values.size());
  std::iota(by.begin(), by.end(), ValueId{0});
  std::unordered_map<std::string, ValueId> known;
  std::unordered_map<ValueId, std::string> places;
  for (ValueId id = 0; id < program.values.size(); ++id) {
    const Value& value = program.values[id];
    if (value.kind == Value::Kind::constant && value.bytes() <= kSmall)
      by[id] = known.emplace(key_of(value.constant), id).first->second;
  }
  std::erase_if(program.calls, [&](PlannedCall& call) {
    for (ValueId& input : call.inputs) input = by[input];
    const auto [first, fresh] = known.emplace(key_of(call), call.output);
    by[call.output] = first->second;
    const auto [place, alone] = places.try_emplace(first->second, call.place);
    if (!alone) place->second = around(place->second, call.place);
    return !fresh;
  });
  for (PlannedCall& call : program.calls) call.place = places.at(call.output);
  program.replace(by);
}

}  // namespace twopass::planning
