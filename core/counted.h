// Numbers and names of things in messages.
#pragma once
#include <algorithm>
#include <concepts>
#include <string>
#include <string_view>

namespace twopass {

/// "1 row", "2 rows".
inline std::string counted(std::integral auto count, std::string_view one) {
  return std::to_string(count) + ' ' + std::string(one) + (count == 1 ? "" : "s");
}

/// "a Dense", "an Add", "an LSTM": two capitals are spelled out.
inline std::string with_article(std::string_view name) {
  constexpr std::string_view kVowels = "AEIOUaeiou", kSpelledWithVowel = "AEFHILMNORSX";
  const bool spelled = name.size() > 1 && name[1] >= 'A' && name[1] <= 'Z';
  const bool vowel = !name.empty() && (spelled ? kSpelledWithVowel : kVowels).find(name[0]) != std::string_view::npos;
  return (vowel ? "an " : "a ") + std::string(name);
}

/// A user's name or reason as part of one line: with blanks in place of line breaks and other control characters.
inline std::string one_line(std::string text) {
  const auto breaks = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
  std::replace_if(text.begin(), text.end(), breaks, ' ');
  return text;
}

}  // namespace twopass
