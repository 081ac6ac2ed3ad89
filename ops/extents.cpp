#include <twopass/ops/extents.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>

namespace twopass {

Padding::Padding(const std::string& name) : same_(name == "same") {
  if (name != "same" && name != "valid")
    throw Error(fmt::format("there is no padding \"{}\": it is valid, same or numbers", name));
}

Padding1d::Padding1d(const std::string& name) : causal_(name == "causal") {
  if (!causal_) same_ = Padding(name).same();
}

Padding Padding1d::of_row(std::int64_t reach) const {
  if (same_) return "same";
  return {0, 0, causal_ ? std::max<std::int64_t>(0, reach - 1) : before_, after_};
}

std::vector<std::int64_t> Padding3d::widths() const {
  std::vector<std::int64_t> all{front_, back_};
  all.insert(all.end(), plane_.widths().begin(), plane_.widths().end());
  return all;
}

}  // namespace twopass
