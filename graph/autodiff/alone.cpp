#include <twopass/graph/autodiff/alone.h>

#include <unordered_set>

#include <twopass/graph/autodiff/walk.h>

namespace twopass {

std::vector<AloneCall> calls_behind(const Tensors& outputs) {
  std::vector<AloneCall> calls;
  for (Node* node : nodes_behind(outputs)) {
    if (!node->op || node->is(Node::kLeaf) || node->is(Node::kSymbol)) continue;
    AloneCall call{.op = node->op, .arguments = node->arguments, .inputs = {}, .wanted = {}, .node = node};
    bool kept = true;
    for (const Node::Edge& edge : node->edges()) {
      Node* input = edge.node();
      kept = kept && !input->is(Node::kSymbol) && (input->data || input->shape.elements() == 0);
      if (!kept) break;
      call.inputs.push_back(detach(Tensor(input)));
      call.wanted.push_back(input->is(Node::kRecorded));
    }
    if (kept) calls.push_back(std::move(call));
  }
  return calls;
}

double work_behind(const Tensors& outputs) {
  const std::vector<const Op*> ops = all_ops();
  const std::unordered_set<const Op*> library(ops.begin(), ops.end());
  double work = 0;
  for (const Node* node : nodes_behind(outputs)) {
    if (!node->op || node->is(Node::kLeaf) || node->is(Node::kSymbol)) continue;
    std::vector<Spec> inputs;
    for (const Node::Edge& edge : node->edges()) inputs.push_back({edge.node()->shape, edge.node()->dtype});
    // Ops outside of the registry are not asked: their shapes may follow from a function that must not be called now.
    work += 1000 + (library.count(node->op) ? node->op->work(node->arguments.get(), Specs(inputs))
                                            : static_cast<double>(node->shape.elements()));
  }
  return work;
}

}  // namespace twopass
