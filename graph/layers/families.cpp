#include <twopass/graph/layers/families.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>

namespace twopass {

const Shape& only_input(const std::string& type, const Shapes& inputs, int rank, const char* axes) {
  if (inputs.size() != 1) throw Error(fmt::format("{} takes one input, not {}", type, inputs.size()));
  if (inputs[0].rank() != rank)
    throw Error(fmt::format("{} needs {}: its input has shape {}", type, axes, inputs[0].text()));
  return inputs[0];
}

std::int64_t known(const std::string& type, std::int64_t size, const char* what) {
  if (size == kOpen) throw Error(fmt::format("{} needs to know the number of {}, which is open", type, what));
  return size;
}

Attributes attributes_of(const Padding1d& padding) {
  const std::string name = padding.same() ? "same" : padding.causal() ? "causal" : "";
  return {{"named_padding", name}, {"padding", std::vector<std::int64_t>{padding.before(), padding.after()}}};
}
Attributes attributes_of(const Padding& padding) { return {{"same", padding.same()}, {"padding", padding.widths()}}; }
Attributes attributes_of(const Padding3d& padding) { return {{"same", padding.same()}, {"padding", padding.widths()}}; }

namespace reading {

std::int64_t integer(const Attributes& with, const char* name) {
  return attribute::as_integer(attribute::named(with, name), name);
}
double number(const Attributes& with, const char* name) {
  return attribute::as_double(attribute::named(with, name), name);
}
std::string text(const Attributes& with, const char* name) {
  return attribute::as_string(attribute::named(with, name), name);
}
bool truth(const Attributes& with, const char* name) { return attribute::as_bool(attribute::named(with, name), name); }
bool has(const Attributes& with, const char* name) {
  return std::any_of(with.begin(), with.end(), [&](const auto& each) { return each.first == name; });
}
bool truth_or_false(const Attributes& with, const char* name) { return has(with, name) && truth(with, name); }

std::vector<std::int64_t> numbers(const Attributes& with, const char* name, std::size_t count) {
  const auto& list = attribute::as_list(attribute::named(with, name), name);
  if (list.size() != count)
    throw Error(fmt::format("the attribute \"{}\" must have {} numbers, not {}", name, count, list.size()));
  return list;
}
template <>
Padding1d around(const Attributes& with) {
  // Files held pools' as the others' once.
  if (!has(with, "named_padding") && truth(with, "same")) return "same";
  const std::string name = has(with, "named_padding") ? text(with, "named_padding") : "";
  if (!name.empty()) return name;
  const auto list = numbers(with, "padding", 2);
  return {list[0], list[1]};
}
template <>
Padding around(const Attributes& with) {
  if (truth(with, "same")) return "same";
  const auto list = numbers(with, "padding", 4);
  return {list[0], list[1], list[2], list[3]};
}
template <>
Padding3d around(const Attributes& with) {
  if (truth(with, "same")) return "same";
  const auto list = numbers(with, "padding", 6);
  return {list[0], list[1], {list[2], list[3], list[4], list[5]}};
}

}  // namespace reading
}  // namespace twopass
