// Numbers between white space, as ADBench writes its instances.
#pragma once
#include <twopass/core/tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace adbench {

/// Reads a text number by number, the same in every locale. Refuses, naming the line, what is no finite number and a
/// text that ends early or late, before it takes memory for it.
class Numbers {
 public:
  /// `name` stands in errors; the text must live as long.
  Numbers(std::string_view text, std::string_view name) : rest_(text), name_(name) {}

  /// An integer from `least` to 2^31 - 1.
  std::int64_t integer(std::string_view what, std::int64_t least);
  double number(std::string_view what);
  /// An f64 tensor of these sizes, row by row.
  twopass::Tensor tensor(const std::vector<std::int64_t>& sizes, std::string_view what);
  /// Refuses a text that goes on.
  void end();
  /// Throws an Error about this place.
  [[noreturn]] void refuse(const std::string& reason) const;

 private:
  // The next word; empty at the end.
  std::string_view word();
  std::string_view needed_word(std::string_view what);

  std::string_view rest_;
  std::string name_;
  std::int64_t line_ = 1;
};

}  // namespace adbench
