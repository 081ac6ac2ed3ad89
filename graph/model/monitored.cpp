#include <twopass/graph/model/monitored.h>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include <twopass/core/error.h>

namespace twopass {
namespace {

// Whether a larger value of this name is a better one; none where the name does not say.
std::optional<bool> grows(const std::string& name) {
  for (const char* rising : {"accuracy", "acc"})
    if (name.ends_with(rising)) return true;
  for (const char* falling : {"loss", "error", "crossentropy", "huber", "mse", "mae", "mape", "msle", "bce", "kld"})
    if (name.ends_with(falling)) return false;
  return std::nullopt;
}

}  // namespace

Monitored::Monitored(const char* who, const std::string& name, const std::string& mode)
    : who_(who), name_(name), knows_better_(mode != "auto" || grows(name)) {
  if (mode != "auto" && mode != "min" && mode != "max")
    throw Error(fmt::format("{}: the mode must be \"auto\", \"min\" or \"max\", not \"{}\"", who, mode));
  larger_is_better_ = mode == "max" || (mode == "auto" && grows(name).value_or(false));
}

void Monitored::begin(const std::vector<std::string>& names, bool all) const {
  if (all) check_among(names);
  if (knows_better_) return;
  const bool there = std::find(names.begin(), names.end(), name_) != names.end();
  throw Error(
      fmt::format("{}: is a larger \"{}\" better or worse? say so by mode \"max\" or \"min\"{}", who_, name_,
                  there ? "" : fmt::format("; training has {} and what callbacks add", fmt::join(names, ", "))));
}

bool Monitored::better(double value, double than, double by) const {
  return larger_is_better_ ? value - by > than : value + by < than;
}

double Monitored::worst() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return larger_is_better_ ? -kInfinity : kInfinity;
}

double Monitored::in(const Logs& logs) const {
  std::vector<std::string> names;
  for (const auto& [name, value] : logs) {
    if (name == name_) return value;
    names.push_back(name);
  }
  check_among(names);
  return worst();
}

void Monitored::check_among(const std::vector<std::string>& names) const {
  if (std::find(names.begin(), names.end(), name_) != names.end()) return;
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  const auto validates = [](const std::string& name) { return name.starts_with("val_"); };
  const bool unvalidated = validates(name_) && std::none_of(names.begin(), names.end(), validates);
  throw Error(fmt::format("{} watches \"{}\", which this training does not have: it has {}{}", who_, name_, list,
                          unvalidated ? "; validation_split or validation_data gives it more" : ""));
}

}  // namespace twopass
