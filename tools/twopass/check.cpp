#include "check.h"

#include <fmt/format.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <string>
#include <vector>

#include "subject.h"
#include "usage.h"

using namespace twopass;

namespace {

struct Checked {
  std::string name;
  GradcheckReport report;
};

GradcheckReport check_model(const CheckChoice& choice, const GradcheckOptions& options) {
  constexpr std::int64_t kRows = 4;  // gradients are sums over rows
  Subject subject = subject_of({.model = choice.model, .loss = choice.loss, .seed = choice.seed}, kRows);
  subject.model.compile(subject.options);
  return subject.model.check_gradients(subject.rows.inputs, subject.rows.targets, options);
}

bool is_zero(const std::string& op) {
  for (const OpCoverage& row : gradcheck_coverage())
    if (row.op == op) return row.zero;
  return false;
}

std::vector<Checked> check_ops(const CheckChoice& choice, const GradcheckOptions& options) {
  std::vector<const Op*> ops;
  for (const std::string& name : choice.ops) {
    ops.push_back(find_op(name));
    if (ops.back()) continue;
    std::vector<std::string> names;
    for (const Op* op : all_ops()) names.push_back(op->name());
    throw UsageError(fmt::format("there is no op \"{}\"{}: `twopass gradcheck` goes through all {}", name,
                                 suggestion(name, names), names.size()));
  }
  if (ops.empty()) ops = all_ops();
  std::vector<Checked> checked;
  for (const Op* op : ops) {
    if (op->differentiable() && !op->samples().empty())
      checked.push_back({op->name(), gradcheck(*op, options)});
    else if (!choice.json)
      fmt::print("{:<32} {}\n", op->name(),
                 !op->differentiable() ? "has no gradient"
                 : is_zero(op->name()) ? "has the derivative 0 by definition, which no difference shows"
                                       : "has no samples");
  }
  return checked;
}

constexpr int kUnsettled = 3;  // exit code

enum class Outcome { passed, wrong, unsettled };
struct Finding {
  std::string text;
  Outcome outcome;
};

// A sample of an op may leave an input without a derivative, if not all inputs; that much of a model was not tested is
// to be known.
Finding finding_of(const GradcheckReport& report, bool of_model) {
  if (report.wrong()) return {"WRONG", Outcome::wrong};
  if (report.pairs().empty()) return {"NOT CHECKED", Outcome::unsettled};
  if (!report.ok()) return {"UNRELIABLE", Outcome::unsettled};
  const auto all = [&](Verdict verdict) {
    return std::all_of(report.pairs().begin(), report.pairs().end(),
                       [&](const GradcheckPair& pair) { return pair.verdict == verdict; });
  };
  if (all(Verdict::zero)) return {"ok, the derivative is 0 wherever there is one", Outcome::passed};
  if ((of_model && !report.conclusive()) || all(Verdict::vacuous)) return {"ok, but inconclusive", Outcome::unsettled};
  return {"ok", Outcome::passed};
}

void print_json(const std::vector<Checked>& checked) {
  std::string body;
  for (const auto& [name, report] : checked)
    body += fmt::format("{}{{\"name\": \"{}\", \"report\": {}}}", body.empty() ? "" : ",\n", name, report.json());
  fmt::print("[{}]\n", body);
}

}  // namespace

int check_gradients(const CheckChoice& choice) {
  const bool of_model = !choice.model.empty();
  const GradcheckOptions options{.order = choice.order ? choice.order
                                          : of_model   ? 1
                                                       : 2,
                                 .elements = choice.elements,
                                 .seed = choice.seed};
  const std::vector<Checked> checked =
      of_model ? std::vector<Checked>{{choice.model, check_model(choice, options)}} : check_ops(choice, options);
  const GradcheckReport* wrong = nullptr;
  bool unsettled = checked.size() < choice.ops.size();
  for (const auto& [name, report] : checked) {
    const Outcome outcome = finding_of(report, of_model).outcome;
    if (outcome == Outcome::wrong && !wrong) wrong = &report;
    unsettled = unsettled || outcome == Outcome::unsettled;
  }
  if (choice.json) {
    print_json(checked);
  } else {
    for (const auto& [name, report] : checked) {
      if (of_model || !choice.ops.empty() || !report.ok())
        fmt::print("{}\n", report.text(choice.full ? Listing::full : Listing::brief));
      fmt::print("{:<32} {}\n", name, finding_of(report, of_model).text);
    }
  }
  if (!choice.picture.empty()) {
    if (wrong && !wrong->culprits().empty())
      render(to_dot(*wrong), choice.picture);
    else
      fmt::print(stderr, "twopass: no op is to blame: {} is not written\n", choice.picture);
  }
  if (choice.coverage) fmt::print("{}", gradcheck_coverage_text());
  return wrong ? 1 : unsettled ? kUnsettled : 0;
}
