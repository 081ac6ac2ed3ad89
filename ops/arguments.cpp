#include <twopass/ops/arguments.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>

namespace twopass {
namespace {

template <typename T>
const T& checked(const Attribute& value, const char* name, const char* expected) {
  if (const T* found = std::get_if<T>(&value)) return *found;
  throw Error(fmt::format("argument \"{}\" must be {}", name, expected));
}

}  // namespace

std::string text_of(const Attributes& attributes) {
  std::string text;
  for (const auto& [name, value] : attributes) {
    if (!text.empty()) text += ", ";
    text += name + "=";
    std::visit([&](const auto& held) { text += fmt::format("{}", held); }, value);
  }
  return text;
}

namespace attribute {

DType dtype_named(const std::string& name) {
  for (const DType dtype : {f32, f64, i64, boolean})
    if (name_of(dtype) == name) return dtype;
  throw Error(fmt::format("there is no dtype \"{}\": it must be f32, f64, i64 or bool", name));
}

const Attribute& named(const Attributes& attributes, const char* name) {
  for (const auto& [key, value] : attributes)
    if (key == name) return value;
  throw Error(fmt::format("argument \"{}\" is missing", name));
}

void check_count(const Attributes& attributes, std::size_t count) {
  if (attributes.size() != count)
    throw Error(fmt::format("{} {} expected, not {}", counted(count, "argument"), count == 1 ? "is" : "are",
                            attributes.size()));
}

bool as_bool(const Attribute& value, const char* name) { return checked<bool>(value, name, "true or false"); }
std::int64_t as_integer(const Attribute& value, const char* name) {
  return checked<std::int64_t>(value, name, "an integer");
}
double as_double(const Attribute& value, const char* name) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return static_cast<double>(*integer);
  return checked<double>(value, name, "a number");
}
const std::string& as_string(const Attribute& value, const char* name) {
  return checked<std::string>(value, name, "a string");
}
const std::vector<std::int64_t>& as_list(const Attribute& value, const char* name) {
  return checked<std::vector<std::int64_t>>(value, name, "a list of integers");
}

}  // namespace attribute
}  // namespace twopass
