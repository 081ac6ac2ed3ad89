#include <twopass/core/csv.h>

#include <charconv>

#include <fmt/core.h>

#include <twopass/core/error.h>
#include <twopass/core/files.h>

namespace twopass {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Splits a line; inside double quotes a separator is a letter and "" is one quote.
std::vector<std::string> fields_of(std::string_view line, char separator, std::string_view where) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t k = 0; k < line.size(); ++k) {
    if (line[k] == '"' && quoted && k + 1 < line.size() && line[k + 1] == '"') {
      fields.back() += line[++k];
    } else if (line[k] == '"') {
      quoted = !quoted;
    } else if (line[k] == separator && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += line[k];
    }
  }
  if (quoted) throw Error(fmt::format("{}: a quoted field does not end on its line", where));
  for (std::string& field : fields) field = std::string(trimmed(field));
  return fields;
}

template <typename T>
T number(const std::string& field, std::string_view where, std::size_t column) {
  T value{};
  const char* begin = field.data() + (field.size() > 1 && field[0] == '+' && field[1] != '-');
  const char* end = field.data() + field.size();
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error == std::errc::result_out_of_range)
    throw Error(fmt::format("{}, column {}: \"{:.40}\" is out of range", where, column, field));
  if (error != std::errc() || stop != end)
    throw Error(fmt::format("{}, column {}: \"{:.40}\" is not a number", where, column, field));
  return value;
}

template <typename T>
Csv parse(std::string_view text, std::string_view name, const CsvOptions& options) {
  if (text.empty()) throw Error(fmt::format("{}: is empty", name));
  Csv table;
  std::vector<T> values;
  std::size_t columns = 0, line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const std::string where = fmt::format("{}: line {}", name, line_number);
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) throw Error(where + ": does not end in a line break; is the file cut short?");
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const std::vector<std::string> fields = fields_of(line, options.separator, where);
    if (columns == 0) columns = fields.size();
    if (fields.size() != columns)
      throw Error(fmt::format("{}: has {} fields, but the lines before have {}", where, fields.size(), columns));
    if (line_number == 1 && options.head) {
      table.columns = fields;
      continue;
    }
    for (std::size_t k = 0; k < columns; ++k) values.push_back(number<T>(fields[k], where, k + 1));
  }
  if (values.empty()) throw Error(fmt::format("{}: has no rows", name));
  const auto width = static_cast<std::int64_t>(columns);
  table.values = from_values(values, {static_cast<std::int64_t>(values.size()) / width, width}, options.dtype);
  return table;
}

}  // namespace

Csv parse_csv(std::string_view text, std::string_view name, const CsvOptions& options) {
  if (!is_floating(options.dtype))
    throw Error(fmt::format("{}: a CSV file is read as f32 or f64, not {}", name, name_of(options.dtype)));
  if (options.dtype == f64) return parse<double>(text, name, options);
  return parse<float>(text, name, options);
}

Csv read_csv(std::string_view path, const CsvOptions& options) { return parse_csv(read_file(path), path, options); }

}  // namespace twopass
