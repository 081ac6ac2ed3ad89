#include <twopass/graph/autodiff/roundings.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/many_function.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>
#include <twopass/ops/reduction.h>

namespace twopass {

namespace {

// Of one rounding of a number: relative, and of the smallest, which are denormal, absolute.
struct Step {
  double relative, least;
};
template <typename T>
constexpr Step kStepOf{std::numeric_limits<T>::epsilon(), std::numeric_limits<T>::denorm_min()};

class Sum {
 public:
  // Whether what was computed as 0 may have been too small to be told from it.
  explicit Sum(bool zeros_count) : zeros_count_(zeros_count) {}
  // Values that are each off by a rounding, and the derivatives of the sum for them.
  void add(const Tensor& value, const Tensor& derivative, const Step& step, bool leaf) {
    const auto values = value.values<double>(), derivatives = derivative.values<double>();
    std::vector<double> terms, of_denormal;
    terms.reserve(values.size());
    for (std::size_t at = 0; at < values.size(); ++at) {
      if (const double term = values[at] * derivatives[at]; std::isfinite(term)) terms.push_back(term);
      const bool exact = values[at] == 0 && (leaf || !zeros_count_);
      if (!exact && std::abs(values[at]) < step.least / step.relative && std::isfinite(derivatives[at]))
        of_denormal.push_back(step.least * derivatives[at]);
    }
    const double size = norm_of(terms), error = std::hypot(step.relative * size, norm_of(of_denormal));
    sum_.size = std::hypot(sum_.size, size);
    sum_.error = std::hypot(sum_.error, error);
    if (leaf) return;
    sum_.inside = std::hypot(sum_.inside, error);
    sizes_.push_back(size);
  }
  // What a call does to the sum that rounds its inputs within itself.
  void add_inside(const AloneCall& call, const Tensor& derivative) {
    const RecordingScope on(true);
    const Tensors at = as_variables(call.inputs);
    const Tensor y = apply(*call.op, call.arguments, at);
    if (!y.recorded()) return;
    const Gradients found = backward(y, {.seed = derivative});
    for (const Tensor& x : at)
      if (found.contains(x)) add(x, found[x], kStepOf<float>, false);
  }
  Roundings sum() {
    constexpr double kBeside = 256;
    for (const double size : sizes_)
      if (size < kBeside * sum_.error) sum_.hidden += size;
    return sum_;
  }

 private:
  bool zeros_count_;
  Roundings sum_;
  std::vector<double> sizes_;  // of values on the way
};

Roundings roundings(const Tensors& outputs, const Tensors& seeds, const std::vector<AloneCall>& coarse, bool f32_counts,
                    bool zeros_count) {
  Sum sum(zeros_count);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Tensor& y = outputs[k];
    if (!seeds[k].defined() || !y.recorded() || y.elements() == 0) continue;
    const Gradients found = backward(y, {.seed = seeds[k], .intermediates = true});
    for (Node* node : nodes_behind({y})) {
      const Tensor value(node);
      if (!node->is(Node::kRecorded) || !node->data || !found.contains(value)) continue;
      const auto call =
          std::find_if(coarse.begin(), coarse.end(), [&](const AloneCall& each) { return each.node == node; });
      const bool is_coarse = call != coarse.end() || (node->dtype == f32 && f32_counts);
      sum.add(value, found[value], is_coarse ? kStepOf<float> : kStepOf<double>, node->is(Node::kLeaf));
      if (call != coarse.end()) sum.add_inside(*call, found[value]);
    }
  }
  return sum.sum();
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

Roundings roundings_of(const Tensors& outputs, const Tensors& seeds, const std::vector<AloneCall>& coarse) {
  return roundings(outputs, seeds, coarse, true, false);
}

double rounding_of_derivative(const Tensors& outputs, const Tensors& seeds, const Tensors& of,
                              const Tensors& directions, const std::vector<AloneCall>& coarse) {
  const RecordingScope on(true);
  const KeepingScope keeping;
  try {
    Tensor total;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!seeds[k].defined() || !outputs[k].recorded()) continue;
      // Gradients that are the same everywhere depend on their seed alone.
      const Tensors found = gradients(outputs[k], of, {.seed = variable(detach(seeds[k])), .record = true});
      for (std::size_t input = 0; input < of.size(); ++input) {
        const Tensor part = cast(sum(found[input] * directions[input]), f64);
        total = total.defined() ? total + part : part;
      }
    }
    if (!total.defined() || !total.recorded()) return 0;
    return roundings({total}, {ones({}, f64)}, coarse, !coarse.empty() || holds_f32(outputs), true).error;
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace twopass
