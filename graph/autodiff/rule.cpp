#include <twopass/graph/autodiff/rule.h>

#include <fmt/format.h>

#include <utility>

#include <twopass/ops/anomaly.h>
#include <twopass/ops/reduction.h>

namespace twopass {

void rethrow_placed(const Error& error, const char* rule, Node& node, const std::string& layer) {
  if (AnomalyScope* anomalies = AnomalyScope::current()) anomalies->happened_in_gradient_of(Tensor(&node));
  throw error.within(fmt::format("in the {} of {}{}", rule, node.op->name(),
                                 layer.empty() ? "" : fmt::format(" in layer \"{}\"", layer)));
}

Tensors gradients_of(Node& node, const Call& call, const Tensor& g) {
  Tensors gradients = in_its_layer("gradient", node, [&] { return node.op->gradient(node.arguments.get(), call, g); });
  if (gradients.size() != call.size())
    throw Error(fmt::format("the gradient of {} returned {} gradients for {} inputs", node.op->name(), gradients.size(),
                            call.size()));
  return gradients;
}

Tensor checked_gradient(const Op& op, const Node& input, std::size_t k, Tensor gradient) {
  if (gradient.dtype() != input.dtype)
    throw Error(fmt::format("the gradient of {} returned {} for input {}, which is {}", op.name(),
                            name_of(gradient.dtype()), k, name_of(input.dtype)));
  if (gradient.shape() == input.shape) return gradient;
  bool fits = op.broadcasts();
  if (fits) {
    try {
      fits = broadcast(gradient.shape(), input.shape) == gradient.shape();
    } catch (const Error&) {
      fits = false;
    }
  }
  if (!fits)
    throw Error(fmt::format("the gradient of {} returned shape {} for input {} of shape {}", op.name(),
                            gradient.shape().text(), k, input.shape.text()));
  return sum_to(gradient, input.shape);
}

}  // namespace twopass
