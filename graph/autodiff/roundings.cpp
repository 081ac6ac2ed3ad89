#include <twopass/graph/autodiff/roundings.h>

#include <cmath>
#include <limits>

#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/walk.h>

namespace twopass {

Roundings roundings_of(const Tensors& outputs, const Tensors& seeds) {
  double error = 0, size = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Tensor& y = outputs[k];
    if (!seeds[k].defined() || !y.recorded() || y.elements() == 0) continue;
    const Gradients found = backward(y, {.seed = seeds[k], .intermediates = true});
    for (Node* node : nodes_behind({y})) {
      const Tensor value(node);
      if (!node->is(Node::kRecorded) || !node->data || !found.contains(value)) continue;
      const double epsilon =
          node->dtype == f32 ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
      const auto values = value.values<double>(), derivatives = found[value].values<double>();
      double squares = 0;
      for (std::size_t at = 0; at < values.size(); ++at) {
        const double term = values[at] * derivatives[at];
        if (std::isfinite(term)) squares += term * term;
      }
      size += squares;
      error += epsilon * epsilon * squares;
    }
  }
  return {std::sqrt(error), std::sqrt(size)};
}

}  // namespace twopass
