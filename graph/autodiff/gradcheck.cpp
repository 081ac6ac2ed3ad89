#include <twopass/graph/autodiff/gradcheck.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/core/place.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/blame.h>
#include <twopass/graph/autodiff/comparison.h>
#include <twopass/graph/autodiff/coverage_log.h>
#include <twopass/graph/autodiff/exact.h>
#include <twopass/graph/autodiff/given.h>
#include <twopass/graph/autodiff/not_finite.h>
#include <twopass/graph/autodiff/subject.h>
#include <twopass/graph/autodiff/vacuity.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

// An op in the record of f's gradients that has no gradient itself, if there is one.
const Op* not_differentiable(const Tensors& outputs) {
  for (const Node* node : nodes_behind(outputs))
    if (node->op && !node->is(Node::kLeaf) && node->is(Node::kRecorded) && !node->op->differentiable()) return node->op;
  return nullptr;
}

// What the outputs of the function that gives the gradients are called.
std::vector<std::string> gradient_names(const Tensors& inputs, const GradcheckOptions& options) {
  std::vector<std::string> names;
  for (std::size_t k = 0; k < inputs.size(); ++k)
    if (is_floating(inputs[k].dtype()))
      names.push_back("gradient of " + (k < options.names.size() ? options.names[k] : fmt::format("input {}", k)));
  return names;
}

bool fails(const GradcheckReport& report) {
  return std::any_of(report.pairs().begin(), report.pairs().end(),
                     [](const GradcheckPair& pair) { return pair.verdict == Verdict::fail; });
}

bool breaks_identities(const GradcheckReport& report) {
  return std::any_of(report.exact().begin(), report.exact().end(), [](const ExactCheck& check) { return !check.ok; });
}

void note_what_was_sampled(const GradcheckOptions& options, GradcheckReport& report) {
  for (const GradcheckPair& pair : report.pairs())
    if (pair.tried < pair.elements)
      return report.note(
          fmt::format("not every derivative was tried: elements and directions were drawn with seed {}", options.seed));
}

void check_options(const GradcheckOptions& options) {
  constexpr int kMostOrders = 8;
  if (options.order < 1 || options.order > kMostOrders)
    throw Error(fmt::format("gradcheck: order is {}, not from 1 to {}", options.order, kMostOrders));
  const auto refuse = [](const char* name, auto given, const char* least) {
    throw Error(fmt::format("gradcheck: {} is {}, not {} or more", name, given, least));
  };
  if (!(options.absolute >= 0)) refuse("absolute", options.absolute, "0");
  if (!(options.relative >= 0)) refuse("relative", options.relative, "0");
  if (options.elements < 0) refuse("elements", options.elements, "0");
  if (options.directions < 0) refuse("directions", options.directions, "0");
  if (options.draws < 1) refuse("draws", options.draws, "1");
}

// Notes the first number of each tensor that is not finite. Whether nothing can be checked, as one is no number or all
// are none of those that could be moved or compared.
bool note_not_finite(const Tensors& tensors, const std::vector<std::string>& names, const char* what, bool any_nan,
                     GradcheckReport& report) {
  bool nothing = false;
  std::int64_t elements = 0, finite = 0;
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    const Tensor& x = tensors[k];
    if (!is_floating(x.dtype())) continue;
    const std::string name = k < names.size()      ? names[k]
                             : tensors.size() == 1 ? fmt::format("the {}", what)
                                                   : fmt::format("{} {}", what, k);
    const auto bad = first_not_finite(x);
    if (bad) report.note(fmt::format("{} {}: nothing can be checked there", name, *bad));
    for (const double each : x.values<double>()) {
      finite += std::isfinite(each) ? 1 : 0;
      nothing = nothing || (any_nan && std::isnan(each));
    }
    elements += x.elements();
  }
  return nothing || (elements > 0 && finite == 0);
}

// Pairs of which nothing can be said.
void add_untried(const Tensors& inputs, const Tensors& outputs, const GradcheckOptions& options,
                 GradcheckReport& report) {
  for (std::size_t output = 0; output < outputs.size(); ++output)
    for (std::size_t input = 0; input < inputs.size(); ++input) {
      if (!is_floating(inputs[input].dtype()) || !is_floating(outputs[output].dtype())) continue;
      GradcheckPair pair;
      pair.input = input < options.names.size() ? options.names[input] : fmt::format("input {}", input);
      if (outputs.size() > 1)
        pair.output = output < options.outputs.size() ? options.outputs[output] : fmt::format("output {}", output);
      pair.verdict = Verdict::unreliable;
      pair.elements = inputs[input].elements() * outputs[output].elements();
      report.add(std::move(pair));
    }
}

class Check {
 public:
  Check(const ManyFunction& f, const Tensors& inputs, const GradcheckOptions& options)
      : subject_(subject_of(f, inputs, options)), inputs_(inputs), options_(options) {}

  GradcheckReport made() {
    report_.set_seed(options_.seed);
    if (!subject_.why.empty()) report_.note(subject_.why + ": differences and bounds are those of f32");
    const RecordingScope on(true);
    base_ = subject_.f(as_variables(subject_.inputs));
    if (!has_floating(subject_.inputs) || !has_floating(base_)) {
      report_.note(
          fmt::format("nothing was checked: no {} is f32 or f64", has_floating(subject_.inputs) ? "output" : "input"));
      return std::move(report_);
    }
    const bool of_inputs = note_not_finite(subject_.inputs, options_.names, "input", true, report_);
    const bool of_outputs = note_not_finite(base_, options_.outputs, "output", false, report_);
    if (of_inputs || of_outputs) {
      add_untried(subject_.inputs, base_, options_, report_);
      return std::move(report_);
    }
    const double differs = difference(base_, subject_.f(as_variables(subject_.inputs)));
    differs_ = differs > 0;
    if (differs_)
      report_.note("the function gives other numbers at each call: differences cannot tell its derivatives");
    if (differs > kNoise) return std::move(report_);
    const int highest = compare_orders();
    if (options_.exact && !differs_ && !fails(report_)) {
      check_exactly(subject_.f, subject_.inputs, highest, subject_.exact, options_, report_);
      if (breaks_identities(report_)) find_culprits(highest);
    }
    note_what_was_sampled(options_, report_);
    note_untaken();
    return std::move(report_);
  }

 private:
  // The highest order to which there are derivatives.
  int compare_orders() {
    ManyFunction derived = subject_.f;
    for (int order = 1; order <= options_.order; ++order) {
      if (order > 1) {
        derived = gradient_of(derived, options_.seed);
        subject_.options.outputs = gradient_names(inputs_, options_);
      }
      const Tensors record = order > 1 ? derived(as_variables(subject_.inputs)) : base_;
      if (const Op* op = order > 1 ? not_differentiable(record) : nullptr) {
        report_.note(fmt::format("{} has no gradient: derivatives above order {} do not exist", op->name(), order - 1));
        return order - 1;
      }
      log_coverage(record, 1);
      if (order > 1) log_coverage(base_, order);
      compare_one(derived, order);
      if (fails(report_)) find_culprits(order);
      if (fails(report_)) break;
    }
    return options_.order;
  }

  void compare_one(const ManyFunction& derived, int order) {
    GradcheckReport found;
    compare(derived, subject_.inputs, order, subject_.epsilon, subject_.options, found);
    for (GradcheckPair pair : found.pairs()) {
      if (differs_ && pair.verdict == Verdict::fail) pair.verdict = Verdict::unreliable;
      report_.add(std::move(pair));
    }
    for (const std::string& note : found.notes()) report_.note(note);
  }

  void find_culprits(int order) {
    blame(subject_.f, subject_.inputs, order, subject_.epsilon, subject_.exact, subject_.options, report_);
  }

  void note_untaken() {
    const KeepingScope keeping;
    const PlaceLog places;
    const Tensors record = subject_.f(as_variables(subject_.inputs));
    for (std::string& line : untaken_branches(record, places, options_.known)) report_.note(std::move(line));
    if (std::string line = report_.conclusive() || report_.wrong() ? "" : denormal_values(record); !line.empty())
      report_.note(std::move(line));
  }

  Subject subject_;
  const Tensors& inputs_;
  const GradcheckOptions& options_;
  Tensors base_;
  bool differs_ = false;
  GradcheckReport report_;
};

Tensors given(Tensors outputs) {
  check_gives("gradcheck", outputs);
  return outputs;
}

GradcheckReport check(const ManyFunction& f, const Tensors& inputs, const GradcheckOptions& options) {
  return Check(f, inputs, options).made();
}

// Whether the record says of each floating input that no gradient passes to it: the op is constant between jumps.
bool says_zero(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs) {
  const RecordingScope on(true);
  const Tensors at = as_variables(inputs);
  const Tensor y = apply(op, arguments, at);
  if (!y.recorded() || y.elements() == 0) return false;
  const Gradients found = backward(y, {.seed = ones(y.shape(), y.dtype())});
  return std::none_of(at.begin(), at.end(), [&](const Tensor& x) { return x.recorded() && found.contains(x); });
}

// Two calls in one give what each gives: at the element that is furthest off.
ExactCheck check_side_by_side(const Op& op, const ArgumentsPointer& arguments, const Tensors& one, const Tensors& two) {
  Tensors both;
  for (std::size_t k = 0; k < one.size(); ++k) both.push_back(stack({one[k], two[k]}));
  const auto together = apply_stacked(op, arguments, both, std::vector<bool>(both.size(), true)).values<double>();
  const auto apart = stack({apply(op, arguments, one), apply(op, arguments, two)}).values<double>();
  ExactCheck check{.name = "calls side by side", .bound = kExactly};
  for (std::size_t k = 0; k < apart.size(); ++k) {
    const double bound = kExactly * std::max(1.0, std::abs(apart[k])), off = std::abs(together[k] - apart[k]);
    const bool same = off <= bound || together[k] == apart[k] || (std::isnan(together[k]) && std::isnan(apart[k]));
    if (check.ok && !same) check = {check.name, together[k], apart[k], bound, false};
  }
  return check;
}

}  // namespace

GradcheckReport gradcheck(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs,
                          const GradcheckOptions& options) {
  check_given("gradcheck", bool(f), "function");
  check_defined("gradcheck", "input", inputs);
  check_options(options);
  return check([&](const Tensors& at) { return given({f(at)}); }, inputs, options);
}

GradcheckReport gradcheck(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs,
                          const GradcheckOptions& options) {
  check_given("gradcheck", bool(f), "function");
  check_defined("gradcheck", "input", inputs);
  check_options(options);
  return check([&](const Tensors& at) { return given(f(at)); }, inputs, options);
}

GradcheckReport gradcheck(const std::string& op, const GradcheckOptions& options) {
  const Op* const found = find_op(op);
  if (!found) throw Error(fmt::format("gradcheck: there is no op \"{}\": docs/ops.md lists those that there are", op));
  return gradcheck(*found, options);
}

GradcheckReport gradcheck(const Op& op, const GradcheckOptions& options) {
  check_options(options);
  GradcheckReport report;
  report.set_seed(options.seed);
  if (op.samples().empty()) report.note(fmt::format("nothing was checked: the record of {} has no samples", op.name()));
  for (std::size_t k = 0; k < op.samples().size(); ++k) {
    const Op::Sample& sample = op.samples()[k];
    const auto f = [&](const Tensors& at) { return Tensors{apply(op, sample.arguments, at)}; };
    Random random(seed_of(options.seed, fmt::format("{}/{}", op.name(), k)));
    Tensors before;
    for (int draw = 0; draw < options.draws; ++draw) {
      Tensors inputs;
      for (const auto& input : sample.inputs) inputs.push_back(input.draw(random, f64));
      GradcheckReport of_draw = check(f, inputs, options);
      if (says_zero(op, sample.arguments, inputs)) of_draw.expect_zeros();
      report.add(of_draw, draw == 0 ? fmt::format("sample {}, ", k) : fmt::format("sample {} drawn again, ", k));
      if (draw == 1 && options.exact && !inputs.empty()) {
        ExactCheck check = check_side_by_side(op, sample.arguments, before, inputs);
        check.name = fmt::format("sample {}, {}", k, check.name);
        report.add(std::move(check));
      }
      before = std::move(inputs);
    }
  }
  return report;
}

}  // namespace twopass
