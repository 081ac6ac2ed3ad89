#include <twopass/graph/autodiff/not_finite.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace twopass {

std::optional<std::string> first_not_finite(const Tensor& x) {
  if (!is_floating(x.dtype())) return std::nullopt;
  const std::vector<double> values = x.values<double>();
  const auto found = std::find_if(values.begin(), values.end(), [](double each) { return !std::isfinite(each); });
  if (found == values.end()) return std::nullopt;
  const std::string text = fmt::format("is {}", std::isnan(*found) ? "nan" : *found > 0 ? "inf" : "-inf");
  if (x.rank() == 0) return text;
  return fmt::format("{} at [{}]", text, fmt::join(x.shape().index_of(found - values.begin()), ", "));
}

}  // namespace twopass
