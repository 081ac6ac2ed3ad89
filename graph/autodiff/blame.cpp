#include <twopass/graph/autodiff/blame.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include <twopass/core/error.h>
#include <twopass/core/place.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/alone.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/coarse.h>
#include <twopass/graph/autodiff/exact.h>
#include <twopass/graph/autodiff/kinks.h>
#include <twopass/graph/autodiff/subject.h>
#include <twopass/ops/anomaly.h>
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
  if (is_coarse(call, options.seed)) {
    Subject coarse{.f = f, .inputs = {}, .options = alone};
    narrow(coarse, "");
    alone = coarse.options;
    epsilon = coarse.epsilon;
    bound = coarse.exact;
  }
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

// Inputs of recorded calls that the record takes as constants though they change with the inputs of f, as a second run
// beside the point shows; none where that takes another way.
std::vector<std::string> computed_beside(const ManyFunction& f, const Tensors& inputs, const Tensors& outputs,
                                         const PlaceLog& places, std::uint64_t seed) {
  Random random(seed_of(seed, "computed beside"));
  Tensors at = inputs;
  for (Tensor& x : at)
    if (is_floating(x.dtype())) x = (x + (abs(x) + 1.0) * random.uniform(x.shape(), x.dtype(), 1e-4, 2e-4));
  const Tensors others = f(as_variables(at));  // whose values the calls read
  const auto calls = calls_behind(outputs), moved = calls_behind(others);
  if (calls.size() != moved.size()) return {};
  std::vector<std::string> lines;
  for (std::size_t k = 0; k < calls.size() && lines.size() < kMostCulprits; ++k) {
    const AloneCall& call = calls[k];
    if (call.op != moved[k].op || call.inputs.size() != moved[k].inputs.size()) return {};
    for (std::size_t input = 0; input < call.inputs.size(); ++input) {
      const Tensor& x = call.inputs[input];
      if (call.wanted[input] || !is_floating(x.dtype()) || difference({x}, {moved[k].inputs[input]}) == 0) continue;
      // Where it was made tells more than where it is read.
      const std::string made = places.of(*call.node->edges()[input].node());
      const std::string layer = made.empty() ? places.of(*call.node) : made;
      lines.push_back(fmt::format("{}{} takes its input {} as a constant, but it changes with what is checked",
                                  layer.empty() ? "" : fmt::format("in layer \"{}\": ", layer), call.text(), input));
    }
  }
  std::vector<std::string> once;
  for (std::string& line : lines)
    if (std::find(once.begin(), once.end(), line) == once.end()) once.push_back(std::move(line));
  return once;
}

// Notes which call of the gradient gives the first number that is not finite, if one does.
bool note_not_finite(const Tensors& outputs, std::uint64_t seed, GradcheckReport& report) {
  if (std::none_of(report.pairs().begin(), report.pairs().end(), [](const GradcheckPair& pair) {
        return pair.verdict == Verdict::fail && !std::isfinite(pair.analytic);
      }))
    return false;
  const Tensor total = weighted_sum(outputs, seed);
  if (!total.defined() || !total.recorded()) return false;
  const AnomalyScope anomalies;
  try {
    backward(total);
  } catch (const Error& error) {
    if (!anomalies.found()) throw;
    report.note(fmt::format("the gradient is not finite here: {}", error.what()));
    return true;
  }
  return false;
}

// Calls that sit at kinks here, and what is found beside.
struct AtKinks {
  std::vector<std::string> calls;
  std::vector<GradcheckPair> beside;
};

// Where calls sit at kinks here, slopes of several branches need not add up: relu(t) - relu(-t) at 0. None where what
// fails is not finite, or fails beside the point too.
std::optional<AtKinks> at_kinks(const ManyFunction& f, const Tensors& inputs, const Tensors& outputs, int order,
                                double epsilon, const PlaceLog& places, const GradcheckOptions& options,
                                const GradcheckReport& report) {
  bool any = false;
  for (const GradcheckPair& pair : report.pairs()) {
    if (pair.verdict != Verdict::fail) continue;
    if (!std::isfinite(pair.analytic)) return std::nullopt;
    any = true;
  }
  if (!any) return std::nullopt;
  AtKinks found;
  try {
    found.calls = calls_at_kinks(f, inputs, outputs, places, options.seed);
    if (!found.calls.empty()) found.beside = pairs_beside(f, inputs, order, epsilon, options);
  } catch (const Error&) {
    return std::nullopt;  // f refuses the points beside
  }
  const auto fails = [](const GradcheckPair& pair) { return pair.verdict == Verdict::fail; };
  if (found.beside.empty() || std::any_of(found.beside.begin(), found.beside.end(), fails)) return std::nullopt;
  return found;
}

void note_beside_the_record(const ManyFunction& f, const Tensors& inputs, const Tensors& outputs,
                            const PlaceLog& places, std::uint64_t seed, GradcheckReport& report) {
  report.note(
      "every recorded op is right by itself: something is computed beside the record (detach, no_record, values read "
      "out, or numbers that differ from call to call)");
  try {
    for (std::string& line : computed_beside(f, inputs, outputs, places, seed)) report.note(std::move(line));
  } catch (const Error&) {
    // A function that refuses the point beside is not looked at.
  }
}

}  // namespace

void blame(const ManyFunction& f, const Tensors& inputs, int order, double epsilon, double bound,
           const GradcheckOptions& options, GradcheckReport& report) {
  const RecordingScope on(true);
  const KeepingScope keeping;
  const PlaceLog places;
  const Tensors variables = as_variables(inputs);
  // The gradients of order - 1 are a record like any other: a wrong second derivative is a wrong first one in it.
  ManyFunction derived = f;
  for (int k = 1; k < order; ++k) derived = gradient_of(derived, options.seed);
  const Tensors outputs = derived(variables);
  const auto kinks = [&] { return at_kinks(derived, inputs, outputs, order, epsilon, places, options, report); };
  // Where nobody asks for culprits they are looked for only if there may be an excuse.
  std::optional<AtKinks> excuse;
  if (!options.blame && !(excuse = kinks())) return;
  GradcheckReport unasked;
  GradcheckReport& found = options.blame ? report : unasked;
  bool all = search(outputs, 1, epsilon, bound, places, options, found);
  if (found.culprits().empty() && order > 1)
    all = search(f(variables), order, epsilon, bound, places, options, found) && all;
  if (!found.culprits().empty() || !all || note_not_finite(outputs, options.seed, report)) return;
  if (options.blame) excuse = kinks();
  if (excuse && report.excuse(excuse->beside, order))
    report.note(fmt::format(
        "every recorded op is right by itself, and so is the gradient beside this point, where slopes of several "
        "branches need not add up: at a kink or a jump {} {}",
        excuse->calls.size() == 1 ? "sits" : "sit", fmt::join(excuse->calls, ", ")));
  else if (options.blame)
    note_beside_the_record(derived, inputs, outputs, places, options.seed, report);
}

}  // namespace twopass
