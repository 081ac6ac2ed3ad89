// Tables of numbers as comma-separated text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// A table: the names of the columns (empty if the file has no head line) and the numbers as [rows, columns].
struct Csv {
  std::vector<std::string> columns;
  Tensor values;
};

struct CsvOptions {
  bool head = true;  // whether the first line names the columns
  char separator = ',';
  DType dtype = f32;  // f32 or f64
};

/// The numbers of a CSV file, read the same in every locale. Fields are plain numbers (nan and inf too); names may
/// stand in double quotes. Refuses rows of another length, fields that are no numbers or don't fit the dtype, an empty
/// table, and a last line that does not end in a line break (a file cut short), naming line and column.
Csv read_csv(std::string_view path, const CsvOptions& options = {});
/// The same from text; `name` stands in errors.
Csv parse_csv(std::string_view text, std::string_view name, const CsvOptions& options = {});

}  // namespace twopass
