// What is read from and written to the JSON of model files. For the files of this folder.
#pragma once
#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include <twopass/ops/arguments.h>

namespace twopass {

/// Attributes as an object. Numbers that JSON has no text for are strings in objects.
nlohmann::json json_of(const Attributes& attributes);
/// Back, in the order of their names.
Attributes attributes_from(const nlohmann::json& object);

/// A member of an object; these refuse what is not there or is of another kind, by name.
const nlohmann::json& member(const nlohmann::json& object, const char* name);
std::string text_member(const nlohmann::json& object, const char* name);
const nlohmann::json& list_member(const nlohmann::json& object, const char* name);
std::int64_t count_member(const nlohmann::json& object, const char* name, std::int64_t most);
std::size_t number_below(const nlohmann::json& value, std::size_t bound, const char* what);

/// A number or the beginning of a string, for messages; of others the kind, as the text of lists in lists is made by
/// recursion.
std::string short_text(const nlohmann::json& value);

}  // namespace twopass
