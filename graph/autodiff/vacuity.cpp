#include <twopass/graph/autodiff/vacuity.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/alone.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/op.h>

namespace twopass {
namespace {

constexpr std::size_t kMost = 10;

// The derivatives of an elementwise op of one input at these points, one by one.
std::optional<std::vector<double>> slopes(const Op& op, const ArgumentsPointer& arguments, const Tensor& points) {
  const RecordingScope on(true);
  const Tensor x = variable(detach(points));
  const Tensor y = apply(op, arguments, std::span(&x, 1));
  if (!y.recorded()) return std::nullopt;
  return backward(y, {.seed = full(y.shape(), 1, y.dtype())})[x].values<double>();
}

// The slopes of the straight pieces of an op: those that many of the points spread over [-8, 8] have exactly. An op
// whose slope is the same everywhere has no pieces.
std::vector<double> pieces(const Op& op, const ArgumentsPointer& arguments) {
  constexpr int kPoints = 65;
  std::vector<double> points;
  for (int k = 0; k < kPoints; ++k) points.push_back(-8 + 16.0 * (k + 0.37) / kPoints);
  const auto found = slopes(op, arguments, from_values(points, {kPoints}, f64));
  std::map<double, int> counts;
  if (found)
    for (const double slope : *found)
      if (std::isfinite(slope)) ++counts[slope];
  std::vector<double> straight;
  for (const auto& [slope, count] : counts)
    if (count >= 4 && count < kPoints) straight.push_back(slope);
  return straight;
}

void note_pieces(const AloneCall& call, std::vector<std::string>& lines) {
  const auto straight = pieces(*call.op, call.arguments);
  if (straight.empty() || call.inputs[0].elements() == 0) return;
  const auto found = slopes(*call.op, call.arguments, call.inputs[0]);
  if (!found) return;
  for (const double slope : straight)
    if (std::find(found->begin(), found->end(), slope) == found->end())
      lines.push_back(fmt::format("never taken: the branch of {} with slope {:.4g}", call.text(), slope));
  // All elements on one piece that is straight: whatever else the op does was not tried.
  if (straight.size() == 1 && std::all_of(found->begin(), found->end(), [&](double s) { return s == straight[0]; }))
    lines.push_back(
        fmt::format("never taken: any branch of {} but the one with slope {:.4g}", call.text(), straight[0]));
}

// What the record says of the branches that each element took. Where one of many places may be taken, all elements
// having taken the same is what tells that the choice was not tried.
void note_branches(const Branches& branches, const AloneCall& call, std::vector<std::string>& lines) {
  const auto& taken = branches.taken;
  if (taken.empty()) return;
  for (std::size_t k = 0; k < branches.names.size(); ++k)
    if (std::find(taken.begin(), taken.end(), static_cast<std::int64_t>(k)) == taken.end())
      lines.push_back(fmt::format("never taken: the branch of {} {}", call.text(), branches.names[k]));
  const bool tried = branches.count == 1 || (branches.count > 2 && taken.size() == 1) ||
                     std::any_of(taken.begin(), taken.end(), [&](std::int64_t place) { return place != taken[0]; });
  if (branches.names.empty() && !tried)
    lines.push_back(
        fmt::format("never taken: any of the {} places of {} but place {}", branches.count, call.text(), taken[0]));
}

void note_zeros(const AloneCall& call, std::vector<std::string>& lines) {
  const RecordingScope on(true);
  Tensors at = call.inputs;
  std::size_t floating = 0;
  for (Tensor& x : at)
    if (is_floating(x.dtype())) {
      x = variable(x);
      ++floating;
    }
  if (floating < 2 || std::none_of(call.wanted.begin(), call.wanted.end(), [](bool wanted) { return wanted; })) return;
  const Tensor y = apply(*call.op, call.arguments, at);
  if (!y.recorded() || y.elements() == 0) return;
  const Gradients found = backward(y, {.seed = full(y.shape(), 1, y.dtype())});
  for (std::size_t k = 0; k < at.size(); ++k) {
    if (!found.contains(at[k]) || at[k].elements() == 0) continue;
    const auto values = found[at[k]].values<double>();
    if (std::all_of(values.begin(), values.end(), [](double g) { return g == 0; }))
      lines.push_back(fmt::format("never taken: nothing of {} comes from its input {}", call.text(), k));
  }
}

// The same line of several calls once, with their number, where the first stood.
void merge(std::vector<std::string>& lines) {
  std::map<std::string, int> counts;
  for (const std::string& line : lines) ++counts[line];
  std::vector<std::string> merged;
  for (std::string& line : lines) {
    int& count = counts[line];
    if (count > 1)
      merged.push_back(fmt::format("{} ({} calls)", line, count));
    else if (count == 1)
      merged.push_back(line);
    count = 0;
  }
  lines = std::move(merged);
}

}  // namespace

std::vector<std::string> untaken_branches(const Tensors& outputs, const PlaceLog& places,
                                          const std::vector<std::string>& known) {
  std::vector<std::string> lines;
  for (const AloneCall& call : calls_behind(outputs)) {
    if (!call.op->differentiable()) continue;
    const std::string layer = places.of(*call.node);
    if (std::find(known.begin(), known.end(), layer) != known.end()) continue;
    const std::size_t before = lines.size();
    try {
      if (const auto branches = call.op->branches(call.arguments.get(), call.inputs, detach(Tensor(call.node))))
        note_branches(*branches, call, lines);
      else if (call.op->elementwise() && call.inputs.size() == 1)
        note_pieces(call, lines);
      else if (call.op->elementwise())
        note_zeros(call, lines);
    } catch (const Error&) {
      // An op that refuses the points is not looked at.
    }
    for (std::size_t k = before; k < lines.size() && !layer.empty(); ++k)
      lines[k] += fmt::format(" in layer \"{}\"", layer);
  }
  merge(lines);
  if (lines.size() > kMost) {
    const std::size_t more = lines.size() - kMost;
    lines.resize(kMost);
    lines.push_back(fmt::format("never taken: {} branches more", more));
  }
  return lines;
}

std::string denormal_values(const Tensors& outputs) {
  for (const AloneCall& call : calls_behind(outputs)) {
    if (call.node->dtype != f64 || !call.node->data) continue;
    const std::vector<double> values = Tensor(call.node).values<double>();
    const auto denormal =
        std::find_if(values.begin(), values.end(), [](double x) { return std::fpclassify(x) == FP_SUBNORMAL; });
    if (denormal == values.end()) continue;
    return fmt::format(
        "{} gives denormal numbers, {:.3g} at [{}]: differences see no more of them than the digits left", call.text(),
        *denormal, fmt::join(call.node->shape.index_of(denormal - values.begin()), ", "));
  }
  return "";
}

}  // namespace twopass
