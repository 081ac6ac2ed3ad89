#include <twopass/graph/autodiff/beside.h>

#include <algorithm>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/roundings.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/keeping.h>

namespace twopass {
namespace {

// Of points spread over [-8, 8] nearly all give the same a little beside, and no gradient passes. That the record says
// 0 is not enough: a derivative that was forgotten says so, too.
bool is_flat(const AloneCall& call) {
  constexpr int kPoints = 65, kJumpsAtMost = 2;
  constexpr double kBeside = 0x1p-20;
  if (!call.op->elementwise() || call.inputs.size() != 1 || !is_floating(call.inputs[0].dtype())) return false;
  std::vector<double> points, beside;
  for (int k = 0; k < kPoints; ++k) {
    points.push_back(-8 + 16.0 * (k + 0.37) / kPoints);
    beside.push_back(points.back() + kBeside);
  }
  const RecordingScope on(true);
  const auto at = [&](const std::vector<double>& place) {
    return from_values(place, {kPoints}, call.inputs[0].dtype());
  };
  const Tensors x = as_variables({at(points)}), others = {at(beside)};
  const Tensor y = apply(*call.op, call.arguments, x);
  if (y.recorded() && backward(y, {.seed = ones(y.shape(), y.dtype())}).contains(x[0])) return false;
  const auto here = y.values<double>(), there = apply(*call.op, call.arguments, others).values<double>();
  int jumps = 0;
  for (std::size_t k = 0; k < here.size(); ++k) jumps += here[k] == there[k] ? 0 : 1;
  return jumps <= kJumpsAtMost;
}

}  // namespace

std::vector<AloneCall> calls_of_treads(const Tensors& outputs) {
  std::vector<AloneCall> flat;
  for (AloneCall& call : calls_behind(outputs)) {
    try {
      if (is_flat(call)) flat.push_back(std::move(call));
    } catch (const Error&) {
      // An op that refuses the points is none of these.
    }
  }
  return flat;
}

double Beside::derivative(std::size_t output, const Tensor& seed, const Direction& column, double t) const {
  Tensors at = moved(column, inputs, values, t).first;
  try {
    const RecordingScope on(true);
    at = as_variables(at);
    const Tensor y = f(at)[output];
    const Gradients found = y.recorded() ? backward(y, {.seed = seed}) : Gradients();
    std::vector<std::vector<double>> gradients;
    for (const Tensor& x : at)
      gradients.push_back(is_floating(x.dtype()) ? found[x].values<double>() : std::vector<double>());
    return along(column, gradients);
  } catch (const Error&) {
    return std::numeric_limits<double>::quiet_NaN();
  }
}

double Beside::hidden(std::size_t output, const Tensor& seed, const Direction& column, double t) const {
  const RecordingScope on(true);
  const KeepingScope keeping;
  try {
    const Tensor y = f(as_variables(moved(column, inputs, values, t).first))[output];
    return roundings_of({y}, {seed}, {}).hidden;
  } catch (const Error&) {
    return 0;
  }
}

bool Beside::steps_over(std::size_t output, const std::vector<AloneCall>& treads, const Direction& column,
                        double t) const {
  const RecordingScope on(true);
  const KeepingScope keeping;
  const auto record = [&](double step) { return f(as_variables(moved(column, inputs, values, step).first)); };
  try {
    const Tensors near_by = record(t), farther = record(4 * t);  // which own what their calls gave
    const auto near = calls_of_treads({near_by[output]}), far = calls_of_treads({farther[output]});
    if (near.size() != treads.size() || far.size() != treads.size()) return false;
    for (std::size_t k = 0; k < treads.size(); ++k) {
      const auto values_of = [&](const std::vector<AloneCall>& calls) {
        return Tensor(calls[k].node).values<double>();
      };
      const auto x = values_of(treads), y = values_of(near), z = values_of(far);
      // At the edge of a tread both points lie on the next one.
      for (std::size_t at = 0; at < std::min({x.size(), y.size(), z.size()}); ++at)
        if (x[at] != y[at] && y[at] != z[at]) return true;
    }
    return false;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace twopass
