#include <twopass/graph/model/history.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/graph/model/progress.h>

namespace twopass {
namespace {

template <typename Values>
auto named(Values& values, const std::string& name) {
  return std::find_if(values.begin(), values.end(), [&](const auto& each) { return each.first == name; });
}

}  // namespace

const std::vector<double>& History::operator[](const std::string& name) const {
  const auto found = named(values_, name);
  if (found == values_.end()) {
    std::string list;
    for (const auto& each : values_) list += (list.empty() ? "" : ", ") + each.first;
    throw Error(fmt::format("history has no \"{}\": it has {}", name, list.empty() ? "nothing yet" : list));
  }
  return found->second;
}

bool History::contains(const std::string& name) const { return named(values_, name) != values_.end(); }

std::vector<std::string> History::names() const {
  std::vector<std::string> names;
  for (const auto& each : values_) names.push_back(each.first);
  return names;
}

void History::add(int epoch, const Logs& logs) {
  for (const auto& [name, value] : logs) {
    auto found = named(values_, name);
    if (found == values_.end()) {
      // A value that begins late (a callback's) has none for the epochs before.
      values_.emplace_back(name, std::vector<double>(epochs_.size(), std::nan("")));
      found = values_.end() - 1;
    }
    found->second.push_back(value);
  }
  epochs_.push_back(epoch);
  for (auto& each : values_) each.second.resize(epochs_.size(), std::nan(""));
}

std::string History::text() const {
  std::vector<std::string> lines{"epoch"};
  for (const int epoch : epochs_) lines.push_back(fmt::format("{:>5}", epoch + 1));
  for (const auto& [name, values] : values_) {
    const std::size_t width = std::max<std::size_t>(name.size(), 10);
    lines[0] += fmt::format("  {:>{}}", name, width);
    for (std::size_t row = 0; row < values.size(); ++row)
      lines[row + 1] += fmt::format("  {:>{}}", number_text(values[row]), width);
  }
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

void History::save_csv(std::string_view path) const {
  std::string text = "epoch";
  for (const auto& each : values_) text += "," + each.first;
  text += "\n";
  for (std::size_t row = 0; row < epochs_.size(); ++row) {
    text += fmt::format("{}", epochs_[row]);
    for (const auto& each : values_) text += fmt::format(",{}", each.second[row]);
    text += "\n";
  }
  write_file(path, text);
}

}  // namespace twopass
