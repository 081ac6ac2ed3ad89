#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include <twopass/graph/plan/passes.h>

namespace twopass::planning {
namespace {

void put(std::string& key, const void* bytes, std::size_t count) { key.append(static_cast<const char*>(bytes), count); }

// Arguments that say nothing of themselves, as a user's function does, are like themselves only.
std::string text_of_arguments(const PlannedCall& call) {
  if (!call.arguments) return {};
  const Attributes attributes = call.op->attributes(call.arguments.get());
  return attributes.empty() ? std::to_string(reinterpret_cast<std::uintptr_t>(call.arguments.get()))
                            : text_of(attributes);
}

std::size_t hash_of(const PlannedCall& call) {
  std::size_t hash = std::hash<const Op*>()(call.op);
  const auto mix = [&](std::size_t with) {
    hash = (hash ^ with) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
  };
  for (const ValueId input : call.inputs) mix(input);
  if (call.arguments) mix(std::hash<std::string>()(text_of_arguments(call)));
  return hash;
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
  std::unordered_map<std::string, ValueId> constants;
  for (ValueId id = 0; id < program.values.size(); ++id) {
    const Value& value = program.values[id];
    if (value.kind == Value::Kind::constant && value.bytes() <= kSmall)
      by[id] = constants.emplace(key_of(value.constant), id).first->second;
  }
  // Such calls give one value: no op draws or changes anything.
  std::vector<PlannedCall>& calls = program.calls;
  std::vector<std::size_t> hashes(calls.size());
  const auto hash = [&](std::size_t k) { return hashes[k]; };
  const auto equal = [&](std::size_t a, std::size_t b) {
    return hashes[a] == hashes[b] && calls[a].op == calls[b].op && calls[a].inputs == calls[b].inputs &&
           text_of_arguments(calls[a]) == text_of_arguments(calls[b]);
  };
  std::unordered_set<std::size_t, decltype(hash), decltype(equal)> known(2 * calls.size(), hash, equal);
  for (std::size_t k = 0; k < calls.size(); ++k) {
    for (ValueId& input : calls[k].inputs) input = by[input];
    hashes[k] = hash_of(calls[k]);
    const std::size_t first = *known.insert(k).first;
    by[calls[k].output] = calls[first].output;
    if (first != k) calls[first].place = around(calls[first].place, calls[k].place);
  }
  std::erase_if(calls, [&](const PlannedCall& call) { return by[call.output] != call.output; });
  program.replace(by);
}

}  // namespace twopass::planning
