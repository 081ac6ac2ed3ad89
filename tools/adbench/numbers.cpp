#include "numbers.h"

#include <fmt/ranges.h>
#include <twopass/core/error.h>

#include <charconv>
#include <cmath>
#include <limits>

using namespace twopass;

namespace adbench {
namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";

// All of a word as a T; '+' may stand before it, as for scanf.
template <typename T>
std::errc parse(std::string_view word, T& value) {
  if (word.size() > 1 && word[0] == '+' && word[1] != '-') word.remove_prefix(1);
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error == std::errc() && stop != word.data() + word.size()) return std::errc::invalid_argument;
  return error;
}

}  // namespace

void Numbers::refuse(const std::string& reason) const {
  throw Error(fmt::format("{}: line {}: {}", name_, line_, reason));
}

std::string_view Numbers::word() {
  while (!rest_.empty() && kSpace.find(rest_.front()) != std::string_view::npos) {
    line_ += rest_.front() == '\n';
    rest_.remove_prefix(1);
  }
  const std::string_view found = rest_.substr(0, rest_.find_first_of(kSpace));
  rest_.remove_prefix(found.size());
  return found;
}

std::string_view Numbers::needed_word(std::string_view what) {
  const std::string_view found = word();
  if (found.empty()) refuse(fmt::format("ends before {}", what));
  return found;
}

std::int64_t Numbers::integer(std::string_view what, std::int64_t least) {
  const std::string_view found = needed_word(what);
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  std::int64_t value = 0;
  const std::errc error = parse(found, value);
  if (error == std::errc::invalid_argument) refuse(fmt::format("{} is \"{:.40}\", not an integer", what, found));
  if (error != std::errc() || value < least || value > kMost)
    refuse(fmt::format("{} is {:.40}, not in {} … {}", what, found, least, kMost));
  return value;
}

double Numbers::number(std::string_view what) {
  const std::string_view found = needed_word(what);
  double value = 0;
  const std::errc error = parse(found, value);
  if (error == std::errc::result_out_of_range) refuse(fmt::format("{}: \"{:.40}\" is out of range", what, found));
  if (error != std::errc()) refuse(fmt::format("{}: \"{:.40}\" is not a number", what, found));
  if (!std::isfinite(value)) refuse(fmt::format("{}: \"{:.40}\" is not finite", what, found));
  return value;
}

Tensor Numbers::tensor(const std::vector<std::int64_t>& sizes, std::string_view what) {
  double count = 1;  // sizes may multiply beyond 2^63
  for (const std::int64_t size : sizes) count *= static_cast<double>(size);
  // A number takes a digit and a space before it.
  if (count > static_cast<double>(rest_.size() / 2))
    refuse(fmt::format("{} ({}) are {:.15g} numbers, more than the {} bytes that are left can hold", what,
                       fmt::join(sizes, ", "), count, rest_.size()));
  const Shape shape(sizes);
  Tensor made = uninitialised(shape, f64);
  double* to = writable<double>(made);
  for (std::int64_t k = 0; k < shape.elements(); ++k) to[k] = number(what);
  return made;
}

void Numbers::end() {
  const std::string_view found = word();
  if (!found.empty()) refuse(fmt::format("goes on with \"{:.40}\" after the last number", found));
}

}  // namespace adbench
