#include <twopass/graph/autodiff/report.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace twopass {
namespace {

constexpr const char* kTogether = "all inputs together";

// Lines of one kind in a brief report, and names in a line that stands for more.
constexpr std::size_t kFew = 6;
constexpr std::size_t kMost = 20;

// NaN has no sign to read about.
double shown(double x) { return std::isnan(x) ? std::abs(x) : x; }

std::string place_text(const GradcheckPair& pair) {
  std::string place;
  if (!pair.output_index.empty()) place += fmt::format(" output [{}]", fmt::join(pair.output_index, ", "));
  if (!pair.input_index.empty()) place += fmt::format(" at [{}]", fmt::join(pair.input_index, ", "));
  return place.empty() ? " along a direction" : place;
}

// JSON has no NaN and no infinity.
nlohmann::ordered_json number(double x) {
  if (std::isfinite(x)) return x;
  return fmt::format("{}", shown(x));
}

nlohmann::ordered_json json_of(const GradcheckPair& pair) {
  nlohmann::ordered_json json = {{"input", pair.input},
                                 {"output", pair.output},
                                 {"order", pair.order},
                                 {"verdict", name_of(pair.verdict)},
                                 {"input_index", pair.input_index},
                                 {"output_index", pair.output_index},
                                 {"analytic", number(pair.analytic)},
                                 {"numerical", number(pair.numerical)},
                                 {"absolute_error", number(pair.absolute_error)},
                                 {"relative_error", number(pair.relative_error)},
                                 {"bound", number(pair.bound)},
                                 {"uncertainty", number(pair.uncertainty)},
                                 {"analytic_uncertainty", number(pair.analytic_uncertainty)},
                                 {"tried", pair.tried},
                                 {"elements", pair.elements}};
  if (pair.verdict == Verdict::kink) json["one_sided"] = {number(pair.below), number(pair.above)};
  return json;
}

std::string name_of(const GradcheckPair& pair) {
  static constexpr const char* kOrders[] = {"", "", ", second order", ", third order", ", fourth order"};
  const std::string order = pair.order < 5 ? kOrders[pair.order] : fmt::format(", order {}", pair.order);
  return pair.input + (pair.output.empty() ? "" : " -> " + pair.output) + order;
}

// That all inputs together agree too, or that a second derivative is 0, is nothing to read about.
bool quiet(const GradcheckPair& pair) {
  return pair.verdict < Verdict::unreliable &&
         (pair.input.ends_with(kTogether) ||
          (pair.order > 1 && (pair.verdict == Verdict::vacuous || pair.verdict == Verdict::zero)));
}

double share_of_bound(const GradcheckPair& pair) { return pair.bound > 0 ? pair.absolute_error / pair.bound : 0; }

// Pairs of one verdict and order: a line each where they are few or bad, else one for all.
void list_pairs(const std::vector<const GradcheckPair*>& pairs, std::vector<std::string>& lines) {
  const GradcheckPair& first = *pairs[0];
  const bool bad = first.verdict >= Verdict::unreliable;
  const bool untested = first.verdict == Verdict::vacuous ||
                        std::all_of(pairs.begin(), pairs.end(), [](const auto* pair) { return pair->tried == 0; });
  if (pairs.size() <= kFew || (bad && !untested)) {
    for (std::size_t k = 0; k < std::min(pairs.size(), kMost); ++k) lines.push_back(text_of(*pairs[k]));
    if (pairs.size() > kMost)
      lines.push_back(fmt::format("{}: {} pairs more", name_of(first.verdict), pairs.size() - kMost));
  } else if (untested) {
    std::vector<std::string> names;
    for (std::size_t k = 0; k < kFew; ++k) names.push_back(name_of(*pairs[k]));
    lines.push_back(fmt::format("{}, {}: {} and {} more", name_of(first.verdict),
                                bad ? "nothing could be tried" : "all derivatives that were tried are 0",
                                fmt::join(names, ", "), pairs.size() - kFew));
  } else {
    const auto worst = std::max_element(pairs.begin(), pairs.end(), [](const auto* a, const auto* b) {
      return share_of_bound(*a) < share_of_bound(*b);
    });
    lines.push_back(fmt::format("{} pairs of order {}: {}, of which furthest off\n  {}", pairs.size(), first.order,
                                name_of(first.verdict), text_of(**worst)));
  }
}

// A call that several samples or draws blame stands once, with the worst of its pairs.
void list_culprits(const std::vector<Culprit>& culprits, std::vector<std::string>& lines) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<const Culprit*>> by_name;
  for (const Culprit& culprit : culprits) {
    const std::string name =
        culprit.call + (culprit.layer.empty() ? "" : fmt::format(" in layer \"{}\"", culprit.layer));
    if (by_name[name].empty()) names.push_back(name);
    by_name[name].push_back(&culprit);
  }
  for (const std::string& name : names) {
    const auto& same = by_name[name];
    const auto worst = std::max_element(same.begin(), same.end(), [](const auto* a, const auto* b) {
      return a->pair.relative_error < b->pair.relative_error;
    });
    lines.push_back(fmt::format("to blame: {}{}\n  {}", name,
                                same.size() > 1 ? fmt::format(", found {} times, at its worst", same.size()) : "",
                                text_of((*worst)->pair)));
  }
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return "pass";
    case Verdict::kink:
      return "kink";
    case Verdict::zero:
      return "zero";
    case Verdict::vacuous:
      return "vacuous";
    case Verdict::unreliable:
      return "unreliable";
    case Verdict::fail:
      return "fail";
  }
  return "";
}

std::string text_of(const GradcheckPair& pair) {
  std::string text = fmt::format("{}: {}", name_of(pair), name_of(pair.verdict));
  if (pair.tried == 0) return text + (pair.elements > 0 ? ", nothing could be tried" : ", no elements");
  const std::string count =
      pair.tried == pair.elements ? fmt::format("{}", pair.tried) : fmt::format("{} of {}", pair.tried, pair.elements);
  if (pair.verdict == Verdict::zero) return text + fmt::format(", as the record says: all {} differences are 0", count);
  if (pair.verdict == Verdict::vacuous) return text + fmt::format(", all {} derivatives are 0 here", count);
  if (pair.verdict == Verdict::kink) {
    const bool outside = pair.absolute_error > 0;
    text += fmt::format(", {} tried,{}: analytic {:.10g} {} the slopes {:.10g} and {:.10g}", count, place_text(pair),
                        shown(pair.analytic), outside ? "beside" : "between", pair.below, pair.above);
    if (outside) text += fmt::format(", off by {:.2g}", pair.absolute_error);
    return outside && pair.absolute_error <= pair.bound ? text + fmt::format(" where {:.2g} is allowed", pair.bound)
                                                        : text;
  }
  if (!std::isfinite(pair.analytic))
    return text + fmt::format(", worst of {}{}: analytic {}, numerical {:.10g}", count, place_text(pair),
                              shown(pair.analytic), shown(pair.numerical));
  text += fmt::format(
      ", worst of {}{}: analytic {:.10g}, numerical {:.10g}, off by {:.2g} ({:.2g} % of its size) where {:.2g} is "
      "allowed",
      count, place_text(pair), shown(pair.analytic), shown(pair.numerical), shown(pair.absolute_error),
      100 * shown(pair.relative_error), shown(pair.bound));
  if (pair.verdict == Verdict::unreliable)
    text += fmt::format("; the difference itself may be off by {:.2g}", pair.uncertainty);
  if (pair.verdict == Verdict::unreliable && pair.analytic_uncertainty > 0)
    text += fmt::format(", and the gradient by {:.2g} by roundings on the way back", pair.analytic_uncertainty);
  return text;
}

bool GradcheckReport::ok() const {
  return !pairs_.empty() && std::all_of(pairs_.begin(), pairs_.end(), [](const auto& pair) {
    return pair.verdict < Verdict::unreliable;
  }) && std::all_of(exact_.begin(), exact_.end(), [](const auto& check) { return check.ok; });
}

bool GradcheckReport::wrong() const {
  return std::any_of(pairs_.begin(), pairs_.end(), [](const auto& pair) { return pair.verdict == Verdict::fail; }) ||
         std::any_of(exact_.begin(), exact_.end(), [](const auto& check) { return !check.ok; });
}

bool GradcheckReport::conclusive() const {
  return ok() && std::none_of(pairs_.begin(), pairs_.end(),
                              [](const auto& pair) { return pair.order == 1 && pair.verdict == Verdict::vacuous; });
}

std::string GradcheckReport::headline() const {
  std::size_t counts[6] = {}, first = 0, untested = 0;
  for (const GradcheckPair& pair : pairs_) {
    ++counts[static_cast<std::size_t>(pair.verdict)];
    first += pair.order == 1 ? 1 : 0;
    untested += pair.order == 1 && pair.verdict == Verdict::vacuous ? 1 : 0;
  }
  const auto broken = std::count_if(exact_.begin(), exact_.end(), [](const ExactCheck& check) { return !check.ok; });
  std::string text = wrong() ? "wrong" : pairs_.empty() ? "nothing was checked" : !ok() ? "unreliable" : "ok";
  if (ok() && untested > 0)
    text += fmt::format(", but inconclusive: nothing was tested of {} of {} pairs", untested, first);
  std::vector<std::string> parts;
  const auto part = [&](auto count, const char* what) {
    if (count > 0) parts.push_back(fmt::format("{} {}", count, what));
  };
  const auto of = [&](Verdict verdict) { return counts[static_cast<std::size_t>(verdict)]; };
  part(of(Verdict::fail), "wrong");
  part(broken, "identities broken");
  part(of(Verdict::unreliable), "unreliable");
  part(of(Verdict::pass), "pass");
  part(of(Verdict::kink), "at kinks");
  part(of(Verdict::zero), "zero");
  part(of(Verdict::vacuous), "vacuous");
  return parts.empty() ? text : fmt::format("{}: {}", text, fmt::join(parts, ", "));
}

std::string GradcheckReport::text(Listing listing) const {
  std::vector<std::string> lines;
  if (!pairs_.empty() || notes_.empty()) lines.push_back(headline());  // else the notes say why there is none
  const auto line = [&](std::string more) { lines.push_back(std::move(more)); };
  // Where nothing could be tried, the reason comes first.
  const bool untried =
      std::all_of(pairs_.begin(), pairs_.end(), [](const auto& pair) { return pair.tried == 0 && pair.elements > 0; });
  if (untried) lines.insert(lines.end(), notes_.begin(), notes_.end());
  if (listing == Listing::full)
    for (const GradcheckPair& pair : pairs_) line(text_of(pair));
  // What is worst first.
  for (int verdict = static_cast<int>(Verdict::fail); verdict >= 0 && listing == Listing::brief; --verdict) {
    std::map<int, std::vector<const GradcheckPair*>> by_order;
    for (const GradcheckPair& pair : pairs_)
      if (static_cast<int>(pair.verdict) == verdict && !quiet(pair)) by_order[pair.order].push_back(&pair);
    for (const auto& [order, pairs] : by_order) list_pairs(pairs, lines);
  }
  for (const ExactCheck& check : exact_)
    if (!check.ok)
      line(fmt::format("{}: fail, {:.17g} against {:.17g}, off by {:.2g} where {:.2g} is allowed", check.name,
                       check.left, check.right, std::abs(check.left - check.right), check.bound));
  if (!untried) lines.insert(lines.end(), notes_.begin(), notes_.end());
  list_culprits(culprits_, lines);
  return fmt::format("{}", fmt::join(lines, "\n"));
}

std::string GradcheckReport::json() const {
  nlohmann::ordered_json json = {{"ok", ok()}, {"wrong", wrong()}, {"conclusive", conclusive()}, {"seed", seed_}};
  json["pairs"] = nlohmann::ordered_json::array();
  for (const GradcheckPair& pair : pairs_) json["pairs"].push_back(json_of(pair));
  json["exact"] = nlohmann::ordered_json::array();
  for (const ExactCheck& check : exact_)
    json["exact"].push_back({{"name", check.name},
                             {"left", number(check.left)},
                             {"right", number(check.right)},
                             {"bound", number(check.bound)},
                             {"ok", check.ok}});
  json["notes"] = notes_;
  json["culprits"] = nlohmann::ordered_json::array();
  for (const Culprit& culprit : culprits_)
    json["culprits"].push_back(
        {{"op", culprit.op}, {"call", culprit.call}, {"layer", culprit.layer}, {"pair", json_of(culprit.pair)}});
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void GradcheckReport::expect_zeros() {
  for (GradcheckPair& pair : pairs_)
    if (pair.verdict == Verdict::vacuous) pair.verdict = Verdict::zero;
}

bool GradcheckReport::excuse(const std::vector<GradcheckPair>& beside, int order) {
  std::vector<GradcheckPair*> failed;
  for (GradcheckPair& pair : pairs_)
    if (pair.verdict == Verdict::fail && pair.order == order) failed.push_back(&pair);
  const auto fails = [](const GradcheckPair& pair) { return pair.verdict == Verdict::fail; };
  if (failed.empty() || std::any_of(beside.begin(), beside.end(), fails)) return false;
  for (GradcheckPair* pair : failed) {
    const auto there = std::find_if(beside.begin(), beside.end(), [&](const GradcheckPair& each) {
      return each.input == pair->input && each.output == pair->output;
    });
    const bool tested = there != beside.end() && there->verdict < Verdict::vacuous;
    pair->verdict = tested ? Verdict::kink : Verdict::unreliable;
    if (pair->below == pair->above) pair->below = pair->above = pair->numerical;
  }
  return true;
}

void GradcheckReport::add(const GradcheckReport& other, const std::string& prefix) {
  for (GradcheckPair pair : other.pairs_) {
    pair.input = prefix + pair.input;
    pairs_.push_back(std::move(pair));
  }
  for (ExactCheck check : other.exact_) {
    check.name = prefix + check.name;
    exact_.push_back(std::move(check));
  }
  for (const std::string& note : other.notes_) notes_.push_back(prefix + note);
  culprits_.insert(culprits_.end(), other.culprits_.begin(), other.culprits_.end());
}

}  // namespace twopass
