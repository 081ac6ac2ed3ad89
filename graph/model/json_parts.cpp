#include <twopass/graph/model/json_parts.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include <twopass/core/error.h>

namespace twopass {

using nlohmann::json;

namespace {

double special_number(const json& value) {
  const std::string text =
      value.is_object() && value.size() == 1 && value.contains("number") && value["number"].is_string()
          ? value["number"].get<std::string>()
          : "";
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  throw Error("an attribute is no value");
}

}  // namespace

json json_of(const Attributes& attributes) {
  json object = json::object();
  for (const auto& attribute : attributes)
    std::visit(
        [&](const auto& held) {
          if constexpr (std::is_same_v<std::decay_t<decltype(held)>, double>) {
            if (!std::isfinite(held)) {
              object[attribute.first] = {{"number", fmt::format("{}", held)}};
              return;
            }
          }
          object[attribute.first] = held;
        },
        attribute.second);
  return object;
}

Attributes attributes_from(const json& object) {
  if (!object.is_object()) throw Error("attributes are no object");
  Attributes attributes;
  for (const auto& [name, value] : object.items()) {
    if (value.is_boolean())
      attributes.emplace_back(name, value.get<bool>());
    else if (value.is_number_integer())
      attributes.emplace_back(name, value.get<std::int64_t>());
    else if (value.is_number())
      attributes.emplace_back(name, value.get<double>());
    else if (value.is_string())
      attributes.emplace_back(name, value.get<std::string>());
    else if (value.is_array()) {
      for (const json& each : value)
        if (!each.is_number_integer()) throw Error(fmt::format("attribute \"{}\" is no list of integers", name));
      attributes.emplace_back(name, value.get<std::vector<std::int64_t>>());
    } else
      attributes.emplace_back(name, special_number(value));
  }
  return attributes;
}

const json& member(const json& object, const char* name) {
  if (!object.is_object() || !object.contains(name)) throw Error(fmt::format("\"{}\" is missing", name));
  return object[name];
}

std::string text_member(const json& object, const char* name) {
  const json& value = member(object, name);
  if (!value.is_string()) throw Error(fmt::format("\"{}\" is no string", name));
  return value.get<std::string>();
}

std::string short_text(const json& value) {
  return value.is_number() || value.is_string() ? value.dump().substr(0, 40) : value.type_name();
}

std::size_t number_below(const json& value, std::size_t bound, const char* what) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= bound)
    throw Error(fmt::format("{} {} does not exist: there are {}", what, short_text(value), bound));
  return value.get<std::size_t>();
}

const json& list_member(const json& object, const char* name) {
  const json& value = member(object, name);
  if (!value.is_array()) throw Error(fmt::format("\"{}\" is no list", name));
  return value;
}

std::int64_t count_member(const json& object, const char* name, std::int64_t most) {
  const json& value = member(object, name);
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(most))
    throw Error(fmt::format("\"{}\" is no number from 0 to {}", name, most));
  return value.get<std::int64_t>();
}

}  // namespace twopass
