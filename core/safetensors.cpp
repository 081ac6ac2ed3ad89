#include <twopass/core/safetensors.h>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/files.h>

namespace twopass {
namespace {

using nlohmann::json;
static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr std::uint64_t kLongestHeader = 100'000'000;  // as the format's own reader

const char* format_name(DType dtype) {
  return dtype == f32 ? "F32" : dtype == f64 ? "F64" : dtype == i64 ? "I64" : "BOOL";
}

DType dtype_of_format(const std::string& name) {
  for (const DType dtype : {f32, f64, i64, boolean})
    if (name == format_name(dtype)) return dtype;
  throw Error(fmt::format("has dtype {}: F32, F64, I64 and BOOL are read", name));
}

struct Entry {
  std::string name;
  DType dtype;
  Shape shape;
  std::uint64_t begin, end;
};

Entry entry_of(const std::string& name, const json& value) {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets"))
    throw Error("must have exactly dtype, shape and data_offsets");
  const json &dtype = value["dtype"], &sizes = value["shape"], &offsets = value["data_offsets"];
  if (!dtype.is_string()) throw Error("has a dtype that is no string");
  const auto all_counts = [](const json& list) {
    return list.is_array() && std::all_of(list.begin(), list.end(), [](const json& x) {
             return x.is_number_unsigned() && x.get<std::uint64_t>() < (1ull << 62);
           });
  };
  if (!all_counts(sizes)) throw Error("has a shape that is no list of sizes");
  if (!all_counts(offsets) || offsets.size() != 2) throw Error("has data_offsets that are no pair of offsets");
  Entry entry{name, dtype_of_format(dtype.get<std::string>()), Shape(sizes.get<std::vector<std::int64_t>>()),
              offsets[0].get<std::uint64_t>(), offsets[1].get<std::uint64_t>()};
  const std::int64_t bytes = checked_product(entry.shape.elements(), static_cast<std::int64_t>(size_of(entry.dtype)));
  if (entry.begin > entry.end || entry.end - entry.begin != static_cast<std::uint64_t>(bytes))
    throw Error(fmt::format("has {} bytes at {}…{} where its shape {} needs {}",
                            entry.end >= entry.begin ? entry.end - entry.begin : 0, entry.begin, entry.end,
                            entry.shape.text(), bytes));
  return entry;
}

json parsed_header(std::string_view text) {
  // Names that stand twice would hide one of the two.
  std::vector<std::vector<std::string>> keys;
  const json::parser_callback_t unique = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 64) throw Error("is nested more than 64 deep");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (depth == 1 && std::find(keys.back().begin(), keys.back().end(), key) != keys.back().end())
        throw Error(fmt::format("names \"{}\" twice", key));
      keys.back().push_back(key);
    }
    return true;
  };
  try {
    json header = json::parse(text, unique);
    if (!header.is_object()) throw Error("is no JSON object");
    return header;
  } catch (const json::exception& error) {
    throw Error(fmt::format("is no JSON: {}", error.what()));
  }
}

}  // namespace

void write_safetensors(std::string_view path, const Safetensors& contents) {
  json header = json::object();
  for (const auto& [name, text] : contents.metadata) header["__metadata__"][name] = text;
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : contents.tensors) {
    if (header.contains(name)) throw Error(fmt::format("{}: two tensors are named \"{}\"", path, name));
    const std::uint64_t bytes = tensor.node().bytes();
    header[name] = {
        {"dtype", format_name(tensor.dtype())}, {"shape", tensor.shape().sizes()}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  file += text;
  for (const auto& each : contents.tensors)
    file.append(reinterpret_cast<const char*>(each.second.node().data), each.second.node().bytes());
  write_file(path, file);
}

Safetensors read_safetensors(std::string_view path) {
  const auto bytes = read_file(path);
  const std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto refuse = [&](const std::string& what) { return Error(fmt::format("{}: {}", path, what)); };
  if (file.size() < 8)
    throw refuse(fmt::format("is cut short, or no safetensors file: it has {} where the first 8 tell of a header",
                             counted(file.size(), "byte")));
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  if (length > file.size() - 8 && length <= kLongestHeader && file.size() > 8 && file[8] == '{')
    throw refuse(fmt::format("is cut short: its header alone ends at byte {}, but it has {}", 8 + length, file.size()));
  if (length > file.size() - 8 || length > kLongestHeader)
    throw refuse(fmt::format("is no safetensors file: its first 8 bytes announce a header of {} bytes, but it has {}",
                             length, file.size()));
  if (length == 0 || file[8] != '{') throw refuse("the header at offset 8 is no JSON object");
  json header;
  try {
    header = parsed_header(file.substr(8, length));
  } catch (const Error& error) {
    throw refuse(fmt::format("the header at offset 8 {}", error.what()));
  }
  Safetensors contents;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) throw refuse("__metadata__ is no object");
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) throw refuse(fmt::format("__metadata__ holds \"{}\", which is no string", key));
        contents.metadata.emplace_back(key, text.get<std::string>());
      }
      continue;
    }
    if (name.empty() || name.find('\0') != std::string::npos) throw refuse("a tensor's name is empty or holds a NUL");
    try {
      entries.push_back(entry_of(name, value));
    } catch (const Error& error) {
      throw refuse(fmt::format("tensor \"{}\" {}", name, error.what()));
    }
  }
  // In the order of their bytes they must fill the rest of the file, without holes and without sharing.
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t at = 0, end = 0;
  const std::uint64_t data = file.size() - 8 - length;
  for (const Entry& entry : entries) end = std::max(end, entry.end);
  if (end > data)
    throw refuse(fmt::format("is cut short: its tensors end at byte {}, but it has {}", 8 + length + end, file.size()));
  for (const Entry& entry : entries) {
    if (entry.begin != at || entry.end > data)
      throw refuse(fmt::format("tensor \"{}\" lies at {}…{} where {} is next and {} is the end", entry.name,
                               entry.begin, entry.end, at, data));
    at = entry.end;
  }
  if (at != data) throw refuse(fmt::format("{} bytes are left over behind the last tensor", data - at));
  for (const Entry& entry : entries) {
    Tensor tensor = uninitialised(entry.shape, entry.dtype);
    const char* from = file.data() + 8 + length + entry.begin;
    if (entry.dtype == boolean &&
        std::any_of(from, from + (entry.end - entry.begin), [](char c) { return c != 0 && c != 1; }))
      throw refuse(fmt::format("tensor \"{}\" is BOOL but holds other bytes than 0 and 1", entry.name));
    if (entry.end > entry.begin) std::memcpy(tensor.node().data, from, entry.end - entry.begin);
    contents.tensors.emplace_back(entry.name, std::move(tensor));
  }
  return contents;
}

}  // namespace twopass
