// Which ops were checked while a program ran.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace twopass {

/// How often gradient checks of this process met an op in what they checked, to first and to higher order.
struct OpCoverage {
  std::string op;
  std::int64_t first = 0;
  std::int64_t higher = 0;
  bool differentiable = true;
  bool zero = false;  // its derivative is 0 by definition, which no difference shows
};

/// Every op that there is, in the order of the reference page, also those never met.
std::vector<OpCoverage> gradcheck_coverage();
/// The same as a table; ops never met are marked, where there is something to check.
std::string gradcheck_coverage_text();

}  // namespace twopass
