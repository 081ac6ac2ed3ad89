#include <twopass/graph/autodiff/side_by_side.h>

#include <algorithm>
#include <exception>
#include <unordered_map>

#include <twopass/graph/autodiff/node_map.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/stacking.h>

namespace twopass {

std::optional<SideBySide> SideBySide::trace(const LinearMap& map, const Shape& shape, DType dtype) {
  SideBySide traced;
  try {
    traced.symbol_ = symbol(shape, dtype, "v");
    traced.outputs_ = map(traced.symbol_);
  } catch (const std::exception&) {
    return std::nullopt;
  }
  NodeMap moving;
  moving.insert(&traced.symbol_.node(), 0);
  for (Node* node : nodes_behind(traced.outputs_, traced.symbol_.node().number)) {
    const auto edges = node->edges();
    if (std::none_of(edges.begin(), edges.end(), [&](const Node::Edge& edge) { return moving.find(edge.node()); }))
      continue;
    if (node->shape.rank() == kMaxRank) return std::nullopt;  // no room for one axis more
    // What runs eagerly leaves something for the calls behind it: each row needs its own.
    if (planning::eager_stage(*node->op, node->arguments.get()) ||
        planning::differentiated_stage(*node->op, node->arguments.get()))
      return std::nullopt;
    moving.insert(node, 0);
    traced.calls_.push_back(node);
    traced.elements_ += node->shape.elements();
  }
  return traced;
}

Tensors SideBySide::operator()(const Tensor& x, bool record) const {
  const RecordingScope scope(record);
  std::unordered_map<const Node*, int> readers;
  for (const Node* call : calls_)
    for (const Node::Edge& edge : call->edges()) ++readers[edge.node()];
  for (const Tensor& y : outputs_) ++readers[&y.node()];
  std::unordered_map<const Node*, Tensor> made{{&symbol_.node(), x}};
  for (const Node* call : calls_) {
    Tensors inputs;
    std::vector<bool> which;
    for (const Node::Edge& edge : call->edges()) {
      const auto found = made.find(edge.node());
      which.push_back(found != made.end());
      if (found == made.end()) {
        inputs.emplace_back(edge.node());
        continue;
      }
      inputs.push_back(found->second);
      if (--readers[edge.node()] == 0) made.erase(found);
    }
    Tensor result = apply_stacked(*call->op, call->arguments, inputs, which);
    if (readers[call] > 0) made.emplace(call, std::move(result));
  }
  Tensors results;
  for (const Tensor& y : outputs_) {
    const auto found = made.find(&y.node());
    results.push_back(found != made.end() ? found->second : broadcast_to(y, y.shape().inserted(0, x.shape()[0])));
  }
  return results;
}

}  // namespace twopass
