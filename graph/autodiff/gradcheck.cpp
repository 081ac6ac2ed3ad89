#include <twopass/graph/autodiff/gradcheck.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/blame.h>
#include <twopass/graph/autodiff/comparison.h>
#include <twopass/graph/autodiff/coverage_log.h>
#include <twopass/graph/autodiff/exact.h>
#include <twopass/graph/autodiff/vacuity.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

constexpr double kExact = 1e-12;

// What is checked, in the precision in which it can be.
struct Subject {
  ManyFunction f;
  Tensors inputs;
  double epsilon = std::numeric_limits<double>::epsilon();
  double exact = kExact;
  GradcheckOptions options;
  std::string refused = {};  // what f says of wider inputs
};

bool has_f32(const Tensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return x.dtype() == f32; });
}

// f32 is too coarse to differentiate by differences: inputs are widened. A function that caught f32 tensors refuses
// them; it is checked as it is, within f32's bounds.
Subject subject_of(const ManyFunction& f, const Tensors& inputs, const GradcheckOptions& options) {
  Subject subject{.f = f, .inputs = inputs, .options = options};
  if (!options.names.empty() && options.names.size() != inputs.size())
    throw Error(
        fmt::format("gradcheck: {} for {}", counted(options.names.size(), "name"), counted(inputs.size(), "input")));
  if (!has_f32(inputs)) return subject;
  for (Tensor& x : subject.inputs)
    if (x.dtype() == f32) x = cast(detach(x), f64);
  try {
    const Tensors outputs = no_record([&] { return f(subject.inputs); });
    gradient_of(f, options.seed)(as_variables(subject.inputs));  // rules may have caught f32 tensors too
    if (!has_f32(outputs)) return subject;
    subject.refused = "its outputs are f32 then too";
  } catch (const Error& error) {
    subject.refused = error.what();
    subject.refused = subject.refused.substr(0, subject.refused.find('\n'));
  }
  subject.inputs = inputs;
  subject.epsilon = std::numeric_limits<float>::epsilon();
  subject.exact = 1e-5;
  subject.options.absolute = std::max(options.absolute, 1e-4);
  subject.options.relative = std::max(options.relative, 1e-3);
  return subject;
}

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

GradcheckReport check(const ManyFunction& f, const Tensors& inputs, const GradcheckOptions& options) {
  Subject subject = subject_of(f, inputs, options);
  GradcheckReport report;
  report.set_seed(options.seed);
  if (subject.epsilon > 1e-10)
    report.note(fmt::format("f takes f32 only ({}): differences and bounds are those of f32", subject.refused));
  const RecordingScope on(true);
  const auto find_culprits = [&](int order) {
    if (options.blame) blame(subject.f, subject.inputs, order, subject.epsilon, subject.exact, subject.options, report);
  };
  int highest = options.order;
  ManyFunction derived = subject.f;
  Tensors base;
  for (int order = 1; order <= highest; ++order) {
    if (order > 1) {
      derived = gradient_of(derived, options.seed);
      subject.options.outputs = gradient_names(inputs, options);
    }
    const Tensors record = derived(as_variables(subject.inputs));
    if (const Op* op = order > 1 ? not_differentiable(record) : nullptr) {
      report.note(fmt::format("{} has no gradient: derivatives above order {} do not exist", op->name(), order - 1));
      highest = order - 1;
      break;
    }
    log_coverage(record, 1);
    if (order == 1)
      base = record;
    else
      log_coverage(base, order);
    compare(derived, subject.inputs, order, subject.epsilon, subject.options, report);
    if (fails(report)) {
      find_culprits(order);
      break;
    }
  }
  if (options.exact && !fails(report)) {
    check_exactly(subject.f, subject.inputs, highest, subject.exact, options, report);
    if (breaks_identities(report)) find_culprits(highest);
  }
  if (report.pairs().empty()) report.note("nothing was checked: no floating input leads to a floating output");
  note_what_was_sampled(options, report);
  const KeepingScope keeping;
  for (std::string& line : untaken_branches(subject.f(as_variables(subject.inputs)))) report.note(std::move(line));
  return report;
}

// Two calls in one give what each gives: at the element that is furthest off.
ExactCheck check_side_by_side(const Op& op, const ArgumentsPointer& arguments, const Tensors& one, const Tensors& two) {
  Tensors both;
  for (std::size_t k = 0; k < one.size(); ++k) both.push_back(stack({one[k], two[k]}));
  const auto together = apply_stacked(op, arguments, both, std::vector<bool>(both.size(), true)).values<double>();
  const auto apart = stack({apply(op, arguments, one), apply(op, arguments, two)}).values<double>();
  ExactCheck check{.name = "calls side by side", .bound = kExact};
  for (std::size_t k = 0; k < apart.size(); ++k) {
    const double bound = kExact * std::max(1.0, std::abs(apart[k])), off = std::abs(together[k] - apart[k]);
    const bool same = off <= bound || together[k] == apart[k] || (std::isnan(together[k]) && std::isnan(apart[k]));
    if (check.ok && !same) check = {check.name, together[k], apart[k], bound, false};
  }
  return check;
}

}  // namespace

GradcheckReport gradcheck(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs,
                          const GradcheckOptions& options) {
  return check([&](const Tensors& at) { return Tensors{f(at)}; }, inputs, options);
}

GradcheckReport gradcheck(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs,
                          const GradcheckOptions& options) {
  return check(f, inputs, options);
}

GradcheckReport gradcheck(const Op& op, const GradcheckOptions& options) {
  GradcheckReport report;
  report.set_seed(options.seed);
  for (std::size_t k = 0; k < op.samples().size(); ++k) {
    const Op::Sample& sample = op.samples()[k];
    const auto f = [&](const Tensors& at) { return Tensors{apply(op, sample.arguments, at)}; };
    Random random(seed_of(options.seed, fmt::format("{}/{}", op.name(), k)));
    Tensors before;
    for (int draw = 0; draw < options.draws; ++draw) {
      Tensors inputs;
      for (const auto& input : sample.inputs) inputs.push_back(input.draw(random, f64));
      report.add(check(f, inputs, options),
                 draw == 0 ? fmt::format("sample {}, ", k) : fmt::format("sample {} drawn again, ", k));
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
