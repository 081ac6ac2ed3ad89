// The arguments of ops: plain structs whose one line of `fields` gives text, equality, saving and DOT.
#pragma once
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <twopass/core/dtype.h>
#include <twopass/core/node.h>
#include <twopass/core/shape.h>

namespace twopass {

/// One argument as text, JSON and DOT see it.
using Attribute = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>>;
using Attributes = std::vector<std::pair<std::string, Attribute>>;

/// "axes=[0, 1], keep=true"; floating numbers with shortest round-trip digits.
std::string text_of(const Attributes& attributes);

template <typename Args, typename T>
struct Field {
  const char* name;
  T Args::*member;
};

/// An entry of an argument struct's `fields`: its name and its member (bool, integer, enum, floating, string, Shape,
/// DType or list of integers).
template <typename Args, typename T>
constexpr Field<Args, T> field(const char* name, T Args::*member) {
  return {name, member};
}

/// The arguments of an op that has none.
struct NoArgs {
  static constexpr std::tuple<> fields{};
};

namespace attribute {
DType dtype_named(const std::string& name);
/// The attribute of a name; refuses one that is missing.
const Attribute& named(const Attributes& attributes, const char* name);
void check_count(const Attributes& attributes, std::size_t count);
/// What an attribute holds; refuses one of another type, calling it `name`. An integer is a floating number too.
bool as_bool(const Attribute& value, const char* name);
std::int64_t as_integer(const Attribute& value, const char* name);
double as_double(const Attribute& value, const char* name);
const std::string& as_string(const Attribute& value, const char* name);
const std::vector<std::int64_t>& as_list(const Attribute& value, const char* name);

template <typename T>
Attribute from(const T& value) {
  if constexpr (std::is_same_v<T, bool>)
    return value;
  else if constexpr (std::is_same_v<T, DType>)
    return std::string(name_of(value));
  else if constexpr (std::is_same_v<T, std::string>)
    return value;
  else if constexpr (std::is_same_v<T, Shape>)
    return value.sizes();
  else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
    return static_cast<std::int64_t>(value);
  else if constexpr (std::is_floating_point_v<T>)
    return static_cast<double>(value);
  else
    return std::vector<std::int64_t>(value.begin(), value.end());
}

template <typename T>
void to(const Attribute& value, const char* name, T& out) {
  if constexpr (std::is_same_v<T, bool>)
    out = as_bool(value, name);
  else if constexpr (std::is_same_v<T, DType>)
    out = dtype_named(as_string(value, name));
  else if constexpr (std::is_same_v<T, std::string>)
    out = as_string(value, name);
  else if constexpr (std::is_same_v<T, Shape>)
    out = Shape(as_list(value, name));
  else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
    out = static_cast<T>(as_integer(value, name));
  else if constexpr (std::is_floating_point_v<T>)
    out = static_cast<T>(as_double(value, name));
  else
    out = T(as_list(value, name).begin(), as_list(value, name).end());
}
}  // namespace attribute

template <typename Args>
Attributes attributes_of(const Args& args) {
  Attributes attributes;
  std::apply(
      [&](const auto&... each) { (attributes.emplace_back(each.name, attribute::from(args.*each.member)), ...); },
      Args::fields);
  return attributes;
}

/// The struct of these attributes; refuses missing, unknown and mistyped ones by name.
template <typename Args>
Args args_from(const Attributes& attributes) {
  Args args;
  attribute::check_count(attributes, std::tuple_size_v<std::remove_cvref_t<decltype(Args::fields)>>);
  std::apply(
      [&](const auto&... each) {
        (attribute::to(attribute::named(attributes, each.name), each.name, args.*each.member), ...);
      },
      Args::fields);
  return args;
}

/// An argument struct as nodes hold it.
template <typename Args>
struct ArgumentsOf : Arguments {
  explicit ArgumentsOf(Args values) : args(std::move(values)) {}
  Args args;
};

template <typename Args>
ArgumentsPointer boxed(Args args) {
  if constexpr (std::is_empty_v<Args>)
    return {};
  else
    return ArgumentsPointer(new ArgumentsOf<Args>(std::move(args)));
}

template <typename Args>
const Args& unboxed(const Arguments* arguments) {
  if constexpr (std::is_empty_v<Args>) {
    static constexpr Args none{};
    return none;
  } else {
    return static_cast<const ArgumentsOf<Args>*>(arguments)->args;
  }
}

}  // namespace twopass
