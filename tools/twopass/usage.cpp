#include "usage.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <utility>

namespace {

// The fewest insertions, deletions, replacements and exchanges of neighbours that make one word of another (optimal
// string alignment).
std::size_t edits(const std::string& from, const std::string& to) {
  std::vector<std::vector<std::size_t>> least(from.size() + 1, std::vector<std::size_t>(to.size() + 1));
  for (std::size_t i = 0; i <= from.size(); ++i) {
    for (std::size_t k = 0; k <= to.size(); ++k) {
      if (i == 0 || k == 0) {
        least[i][k] = i + k;
        continue;
      }
      const std::size_t replaced = least[i - 1][k - 1] + (from[i - 1] != to[k - 1]);
      least[i][k] = std::min({least[i - 1][k] + 1, least[i][k - 1] + 1, replaced});
      if (i > 1 && k > 1 && from[i - 1] == to[k - 2] && from[i - 2] == to[k - 1])
        least[i][k] = std::min(least[i][k], least[i - 2][k - 2] + 1);
    }
  }
  return least[from.size()][to.size()];
}

}  // namespace

std::string suggestion(const std::string& word, const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 3;
  const std::size_t bound = std::max<std::size_t>(1, word.size() / 3);
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const std::string& name : names) {
    const std::size_t distance = edits(word, name);
    const bool within = word.size() > 2 && name.find(word) != std::string::npos;
    if (distance <= bound || within) near.emplace_back(within ? std::min(distance, bound) : distance, name);
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (near.empty()) return "";
  near.resize(std::min(near.size(), kMost));
  std::string text = " (did you mean ";
  for (std::size_t k = 0; k < near.size(); ++k)
    text += (k == 0 ? "" : k + 1 == near.size() ? " or " : ", ") + near[k].second;
  return text + "?)";
}

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

std::string complaint(const CLI::App& app, const CLI::Error& error) {
  const std::vector<std::string> left = app.remaining(true);
  if (!dynamic_cast<const CLI::ExtrasError*>(&error) || left.empty()) return error.what();
  const std::string& word = left.front();
  const auto commands = app.get_subcommands();
  std::vector<std::string> names;
  if (word.starts_with("-")) {
    const CLI::App& of = app.remaining().empty() ? *commands.at(0) : app;
    for (const CLI::Option* option : of.get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    return fmt::format("{} has no option \"{}\"{}", of.get_name(), word, suggestion(word, names));
  }
  if (!commands.empty()) return fmt::format("{}: \"{}\" is one word too many", commands[0]->get_name(), word);
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  return fmt::format("there is no subcommand \"{}\"{}: it must be one of {}", word, suggestion(word, names),
                     listed(names));
}

CLI::Validator no_sign() {
  const auto refuse = [](const std::string& word) {
    return word.starts_with("-") ? fmt::format("{} is negative", word) : std::string();
  };
  return CLI::Validator(refuse, "", "no sign");
}

CLI::Validator ending_in(const std::vector<std::string>& endings) {
  const auto refuse = [endings](const std::string& path) -> std::string {
    for (const std::string& ending : endings)
      if (path.ends_with(ending)) return "";
    return fmt::format("\"{}\" must end in one of {}", path, listed(endings));
  };
  return CLI::Validator(refuse, "", "ending");
}
