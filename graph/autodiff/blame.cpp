#include <twopass/graph/autodiff/blame.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include <twopass/core/error.h>
#include <twopass/core/place.h>
#include <twopass/graph/autodiff/alone.h>
#include <twopass/graph/autodiff/exact.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>

namespace twopass {
namespace {

constexpr std::size_t kMostCulprits = 8;
constexpr std::size_t kMostCalls = 20000;
constexpr std::int64_t kElements = 256;  // of a call's input or output that are all checked, unless told

// The worst pair of one call by itself, if any of its pairs or identities fails.
std::optional<GradcheckPair> wrong_alone(const AloneCall& call, int order, double epsilon, double bound,
                                         const GradcheckOptions& options) {
  GradcheckOptions alone = options;
  if (alone.elements == 0) alone.elements = kElements;
  alone.names.clear();
  alone.outputs.clear();
  const ManyFunction f = [&](const Tensors& at) {
    const Tensor y = apply(*call.op, call.arguments, at);
    // A gradient must also be right in how it depends on its seed: y² makes the seed depend on y.
    return Tensors{order > 1 ? y + square(y) : y};
  };
  GradcheckReport report;
  ManyFunction derived = f;
  for (int k = 1; k < order; ++k) derived = gradient_of(derived, options.seed);
  compare(derived, call.inputs, order, epsilon, alone, report);
  // An element says more than a direction.
  const GradcheckPair* worst = nullptr;
  const auto better = [&](const GradcheckPair& pair) {
    if (!worst || pair.input_index.empty() != worst->input_index.empty()) return !worst || worst->input_index.empty();
    return pair.relative_error > worst->relative_error;
  };
  for (const GradcheckPair& pair : report.pairs())
    if (pair.verdict == Verdict::fail && better(pair)) worst = &pair;
  if (worst) return *worst;
  // Where differences agree, an identity may not hold.
  GradcheckReport exact;
  check_exactly(f, call.inputs, order, bound, alone, exact);
  for (const ExactCheck& check : exact.exact())
    if (!check.ok)
      return GradcheckPair{
          .input = check.name,
          .output = {},
          .verdict = Verdict::fail,
          .analytic = check.left,
          .numerical = check.right,
          .absolute_error = std::abs(check.left - check.right),
          .relative_error = std::abs(check.left - check.right) / std::max(std::abs(check.left), std::abs(check.right)),
          .bound = check.bound,
          .tried = 1,
          .elements = 1};
  return std::nullopt;
}

bool differentiated(const AloneCall& call) {
  return call.op->differentiable() && std::find(call.wanted.begin(), call.wanted.end(), true) != call.wanted.end();
}

// Finds the culprits among the calls behind `outputs`; `order` is that of the check of each. Whether all were looked
// at.
bool search(const Tensors& outputs, int order, double epsilon, double bound, const PlaceLog& places,
            const GradcheckOptions& options, GradcheckReport& report) {
  const auto calls = calls_behind(outputs);
  std::set<std::string> blamed;
  std::vector<std::string> unchecked;
  for (std::size_t k = 0; k < calls.size(); ++k) {
    const AloneCall& call = calls[k];
    if (!differentiated(call)) continue;
    if (k >= kMostCalls || report.culprits().size() >= kMostCulprits) {
      report.note(
          fmt::format("{} of {} recorded calls were checked alone: there may be more to blame", k, calls.size()));
      return false;
    }
    try {
      auto pair = wrong_alone(call, order, epsilon, bound, options);
      if (!pair || !blamed.insert(call.text() + places.of(*call.node)).second) continue;
      report.add(Culprit{.op = call.op->name(),
                         .call = call.text(),
                         .layer = places.of(*call.node),
                         .pair = std::move(*pair),
                         .node = Tensor(call.node),
                         .output = outputs[0]});
    } catch (const Error& error) {
      unchecked.push_back(fmt::format("{} could not be checked alone: {}", call.text(), error.what()));
    }
  }
  // Where the culprit is found, others are none.
  if (report.culprits().empty())
    for (std::string& note : unchecked) report.note(std::move(note));
  return true;
}

}  // namespace

void blame(const ManyFunction& f, const Tensors& inputs, int order, double epsilon, double bound,
           const GradcheckOptions& options, GradcheckReport& report) {
  const RecordingScope on(true);
  const KeepingScope keeping;
  const PlaceLog places;
  const Tensors variables = as_variables(inputs);
  Tensors outputs;
  // The gradients of order - 1 are a record like any other: a wrong second derivative is a wrong first one in it.
  ManyFunction derived = f;
  for (int k = 1; k < order; ++k) derived = gradient_of(derived, options.seed);
  outputs = derived(variables);
  bool all = search(outputs, 1, epsilon, bound, places, options, report);
  if (report.culprits().empty() && order > 1)
    all = search(f(variables), order, epsilon, bound, places, options, report) && all;
  if (report.culprits().empty() && all)
    report.note(
        "every recorded op is right by itself: something is computed beside the record (detach, no_record, values read "
        "out, or numbers that differ from call to call)");
}

}  // namespace twopass
