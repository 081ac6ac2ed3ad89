#include <twopass/graph/autodiff/kinks.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/alone.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>

namespace twopass {
namespace {

constexpr std::size_t kMostCalls = 8;  // that are named

// What leads from the inputs to a point beside that shares no kink with them: each element by 0.5 to 1 % of its size.
Tensors steps_aside(const Tensors& inputs, Random& random) {
  Tensors steps;
  for (const Tensor& x : inputs)
    steps.push_back(is_floating(x.dtype())
                        ? (abs(x) + 1.0) * random.uniform(x.shape(), x.dtype(), 0.005, 0.01) *
                              (cast(random.uniform(x.shape(), x.dtype()) < 0.5, x.dtype()) * 2.0 - 1.0)
                        : Tensor());
  return steps;
}

Tensors moved_by(const Tensors& inputs, const Tensors& steps, double t) {
  Tensors at = inputs;
  for (std::size_t k = 0; k < at.size(); ++k)
    if (steps[k].defined()) at[k] = at[k] + steps[k] * t;
  return at;
}

// Whether an element of what the call gives bends or jumps within 2^-17 of the point, along a line: over a step of
// 2^-10 of the way and one of 2^-2 second differences shrink as the step does, not as its square.
bool bends(const AloneCall& call, const Tensors& steps) {
  constexpr double kNear = 0x1p-10, kFar = 0x1p-2, kNoise = 0x1p-22;
  const auto at = [&](double t) { return apply(*call.op, call.arguments, moved_by(call.inputs, steps, t)); };
  const auto values = [&](double t) { return cast(at(t), f64).values<double>(); };
  const auto here = values(0), above = values(kNear), below = values(-kNear), far_above = values(kFar),
             far_below = values(-kFar);
  for (std::size_t k = 0; k < here.size(); ++k) {
    const double size = std::max({std::abs(here[k]), std::abs(above[k]), std::abs(below[k])});
    const double bend = std::abs(above[k] + below[k] - 2 * here[k]), change = std::abs(above[k] - below[k]);
    const double far_bend = std::abs(far_above[k] + far_below[k] - 2 * here[k]);
    const double far_change = std::abs(far_above[k] - far_below[k]);
    const bool kink = bend > kNoise * size && 4 * bend / kNear > far_bend / kFar && 16 * bend > change;
    const bool jump = change > kNoise * size && 4 * change > far_change;
    if (kink || jump) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> calls_at_kinks(const ManyFunction& f, const Tensors& inputs, const Tensors& outputs,
                                        const PlaceLog& places, std::uint64_t seed) {
  Random random(seed_of(seed, "kinks"));
  const Tensors others = f(as_variables(moved_by(inputs, steps_aside(inputs, random), 1)));
  const auto calls = calls_behind(outputs), beside = calls_behind(others);
  if (calls.size() != beside.size()) return {};
  const RecordingScope off(false);
  std::vector<std::string> lines;
  std::map<std::string, int> counts;
  for (std::size_t k = 0; k < calls.size(); ++k) {
    const AloneCall& call = calls[k];
    if (call.op != beside[k].op || call.inputs.size() != beside[k].inputs.size()) return {};
    Tensors steps;
    for (std::size_t input = 0; input < call.inputs.size(); ++input) {
      const Tensor &from = call.inputs[input], &to = beside[k].inputs[input];
      if (from.shape() != to.shape() || from.dtype() != to.dtype()) return {};
      steps.push_back(is_floating(from.dtype()) ? to - from : Tensor());
    }
    try {
      if (!bends(call, steps)) continue;
    } catch (const Error&) {
      continue;  // a call that refuses the points beside
    }
    const std::string layer = places.of(*call.node);
    const std::string line = call.text() + (layer.empty() ? "" : fmt::format(" in layer \"{}\"", layer));
    if (counts[line]++ == 0) lines.push_back(line);
  }
  if (lines.size() > kMostCalls) lines.resize(kMostCalls);
  for (std::string& line : lines)
    if (const int count = counts[line]; count > 1) line += fmt::format(" ({} calls)", count);
  return lines;
}

std::vector<GradcheckPair> pairs_beside(const ManyFunction& f, const Tensors& inputs, int order, double epsilon,
                                        const GradcheckOptions& options) {
  constexpr int kLines = 2;
  Random random(seed_of(options.seed, "beside kinks"));
  std::vector<GradcheckPair> worst;
  for (int line = 0; line < kLines; ++line) {
    const Tensors steps = steps_aside(inputs, random);
    for (const double side : {1.0, -1.0}) {
      GradcheckReport found;
      compare(f, moved_by(inputs, steps, side), order, epsilon, options, found);
      if (worst.empty()) worst = found.pairs();
      for (std::size_t k = 0; k < worst.size(); ++k) {
        if (found.pairs()[k].verdict > worst[k].verdict) worst[k] = found.pairs()[k];
        if (worst[k].verdict == Verdict::fail) return worst;
      }
    }
  }
  return worst;
}

}  // namespace twopass
