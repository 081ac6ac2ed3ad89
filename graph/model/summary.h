// How counts are written in summaries and pictures.
#pragma once
#include <cstdint>
#include <string>

namespace twopass {

/// "1,234,567", of a count that is not negative.
std::string with_commas(std::int64_t count);

}  // namespace twopass
