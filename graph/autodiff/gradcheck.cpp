#include <twopass/graph/autodiff/gradcheck.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/numerical.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

namespace twopass {
namespace {

using Many = std::function<Tensor(const Tensors&)>;

// f's output weighted with fixed numbers and summed, so that every element of the output counts and none cancels
// another.
Many projected(const Many& f, std::uint64_t seed) {
  return [f, seed](const Tensors& inputs) {
    const Tensor y = f(inputs);
    if (y.rank() == 0) return y;
    Random random(seed_of(seed, "projection"));
    return sum(y * random.uniform(y.shape(), y.dtype(), 0.5, 1.5));
  };
}

Tensors as_variables(const Tensors& inputs) {
  Tensors variables;
  for (const Tensor& x : inputs) variables.push_back(is_floating(x.dtype()) ? variable(detach(x)) : x);
  return variables;
}

void compare(const Many& f, const Tensors& inputs, int order, const GradcheckOptions& options,
             GradcheckReport& report) {
  const Tensors variables = as_variables(inputs);
  const Tensor y = [&] {
    const RecordingScope on(true);
    return f(variables);
  }();
  const Gradients found = y.recorded() ? backward(y) : Gradients();
  const NumericalGradients numerical = numerical_gradients(
      [&](const Tensors& at) {
        // Second order differentiates gradients, which need a record of their own to be computed.
        const RecordingScope on(order > 1);
        return detach(f(order > 1 ? as_variables(at) : at));
      },
      inputs, {.difference = Difference::central});
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!is_floating(inputs[k].dtype())) continue;
    const std::vector<double> ours = found[variables[k]].values<double>();
    const std::vector<double> theirs = numerical.gradients[k].values<double>();
    GradcheckReport::Line line;
    line.input = k < options.names.size() ? options.names[k] : fmt::format("input {}", k);
    line.order = order;
    line.elements = static_cast<std::int64_t>(ours.size());
    double worst = -1;
    for (std::size_t place = 0; place < ours.size(); ++place) {
      const double allowed =
          options.absolute + options.relative * std::max(std::abs(ours[place]), std::abs(theirs[place]));
      double off = std::abs(ours[place] - theirs[place]) / allowed;
      if (!(off >= 0)) off = INFINITY;  // NaN is never right
      if (off <= worst) continue;
      worst = off;
      line.worst = inputs[k].shape().index_of(static_cast<std::int64_t>(place));
      line.analytic = ours[place];
      line.numerical = theirs[place];
      line.allowed = allowed;
      line.ok = off <= 1;
    }
    report.add(std::move(line));
  }
}

void check(const Many& f, const Tensors& inputs, const GradcheckOptions& options, GradcheckReport& report) {
  const Many once = projected(f, options.seed);
  compare(once, inputs, 1, options, report);
  if (options.order < 2) return;
  // The first gradients, each weighted and summed, as a function of the same inputs.
  const Many twice = [once, seed = options.seed](const Tensors& at) {
    const Tensor y = once(at);
    Tensors of;
    for (const Tensor& x : at)
      if (is_floating(x.dtype())) of.push_back(x);
    Tensor total = tensor(0.0, f64);
    if (!y.recorded()) return total;
    Random random(seed_of(seed, "second projection"));
    for (const Tensor& g : gradients(y, of, {.record = true}))
      total = total + cast(sum(g * random.uniform(g.shape(), g.dtype(), 0.5, 1.5)), f64);
    return total;
  };
  compare(twice, inputs, 2, options, report);
}

}  // namespace

bool GradcheckReport::ok() const {
  return std::all_of(lines_.begin(), lines_.end(), [](const Line& line) { return line.ok; });
}

std::string GradcheckReport::text() const {
  std::string text;
  for (const Line& line : lines_) {
    if (!text.empty()) text += "\n";
    text += fmt::format("{}{}: ", line.input, line.order > 1 ? ", second order" : "");
    if (line.elements == 0)
      text += "no elements";
    else
      text += fmt::format(
          "worst of {} at [{}]: analytic {:.10g}, numerical {:.10g}, off by {:.2g} where {:.2g} is allowed: {}",
          line.elements, fmt::join(line.worst, ", "), line.analytic, line.numerical,
          std::abs(line.analytic - line.numerical), line.allowed, line.ok ? "ok" : "WRONG");
  }
  return text;
}

GradcheckReport gradcheck(const Many& f, const Tensors& inputs, const GradcheckOptions& options) {
  GradcheckReport report;
  check(f, inputs, options, report);
  return report;
}

GradcheckReport gradcheck(const Op& op, const GradcheckOptions& options) {
  GradcheckReport report;
  for (std::size_t k = 0; k < op.samples().size(); ++k) {
    const Op::Sample& sample = op.samples()[k];
    Random random(seed_of(options.seed, fmt::format("{}/{}", op.name(), k)));
    Tensors inputs;
    GradcheckOptions named = options;
    named.names.clear();
    for (const auto& input : sample.inputs) {
      named.names.push_back(fmt::format("sample {}, input {}", k, inputs.size()));
      inputs.push_back(input.draw(random, f64));
    }
    check([&](const Tensors& at) { return apply(op, sample.arguments, at); }, inputs, named, report);
  }
  return report;
}

}  // namespace twopass
