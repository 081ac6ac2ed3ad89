#include <twopass/graph/autodiff/roundings.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>
#include <twopass/ops/reduction.h>

namespace twopass {

namespace {

Roundings roundings(const Tensors& outputs, const Tensors& seeds, bool f32_counts) {
  double error = 0, size = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Tensor& y = outputs[k];
    if (!seeds[k].defined() || !y.recorded() || y.elements() == 0) continue;
    const Gradients found = backward(y, {.seed = seeds[k], .intermediates = true});
    for (Node* node : nodes_behind({y})) {
      const Tensor value(node);
      if (!node->is(Node::kRecorded) || !node->data || !found.contains(value)) continue;
      const double epsilon = node->dtype == f32 && f32_counts ? std::numeric_limits<float>::epsilon()
                                                              : std::numeric_limits<double>::epsilon();
      const auto values = value.values<double>(), derivatives = found[value].values<double>();
      std::vector<double> terms;
      terms.reserve(values.size());
      for (std::size_t at = 0; at < values.size(); ++at)
        if (const double term = values[at] * derivatives[at]; std::isfinite(term)) terms.push_back(term);
      const double of_node = norm_of(terms);
      size = std::hypot(size, of_node);
      error = std::hypot(error, epsilon * of_node);
    }
  }
  return {error, size};
}

bool holds_f32(const Tensors& outputs) {
  const std::vector<Node*> nodes = nodes_behind(outputs);
  return std::any_of(nodes.begin(), nodes.end(), [](const Node* node) { return node->dtype == f32; });
}

}  // namespace

double norm_of(const std::vector<double>& numbers) {
  double largest = 0, squares = 0;
  for (const double number : numbers) {
    if (!std::isfinite(number)) return std::abs(number);
    largest = std::max(largest, std::abs(number));
  }
  if (largest == 0) return 0;
  for (const double number : numbers) squares += (number / largest) * (number / largest);
  return largest * std::sqrt(squares);
}

Roundings roundings_of(const Tensors& outputs, const Tensors& seeds) { return roundings(outputs, seeds, true); }

double rounding_of_derivative(const Tensors& outputs, const Tensors& seeds, const Tensors& of,
                              const Tensors& directions) {
  const RecordingScope on(true);
  const KeepingScope keeping;
  try {
    Tensor total;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!seeds[k].defined() || !outputs[k].recorded()) continue;
      const Tensors found = gradients(outputs[k], of, {.seed = seeds[k], .record = true});
      for (std::size_t input = 0; input < of.size(); ++input) {
        const Tensor part = cast(sum(found[input] * directions[input]), f64);
        total = total.defined() ? total + part : part;
      }
    }
    if (!total.defined() || !total.recorded()) return 0;
    return roundings({total}, {ones({}, f64)}, holds_f32(outputs)).error;
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace twopass
