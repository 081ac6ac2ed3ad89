// Numbers of things in messages.
#pragma once
#include <concepts>
#include <string>
#include <string_view>

namespace twopass {

/// "1 row", "2 rows".
inline std::string counted(std::integral auto count, std::string_view one) {
  return std::to_string(count) + ' ' + std::string(one) + (count == 1 ? "" : "s");
}

}  // namespace twopass
