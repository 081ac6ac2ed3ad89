// The nodes behind tensors, oldest first. For the files of this folder.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include <twopass/graph/autodiff/node_map.h>

#include <twopass/core/tensor.h>

namespace twopass {

/// Every node that `outputs` were computed from, themselves included, in the order of making; without recursion. What
/// nodes of a number up to `start` were computed from is left out.
inline std::vector<Node*> nodes_behind(const Tensors& outputs, std::uint64_t start = 0) {
  std::vector<Node*> found, open;
  NodeMap seen;
  const auto meet = [&](Node* node) {
    if (seen.find(node)) return;
    seen.insert(node, 0);
    found.push_back(node);
    open.push_back(node);
  };
  for (const Tensor& y : outputs) meet(&y.node());
  while (!open.empty()) {
    Node* node = open.back();
    open.pop_back();
    if (node->number <= start && start > 0) continue;
    for (const Node::Edge& edge : node->edges()) meet(edge.node());
  }
  std::sort(found.begin(), found.end(), [](const Node* a, const Node* b) { return a->number < b->number; });
  return found;
}

/// The recorded nodes that `roots` were computed from, themselves included, without those older than number `oldest`,
/// in the order of making.
inline std::vector<Node*> recorded_behind(const std::vector<Node*>& roots, std::uint64_t oldest) {
  std::vector<std::pair<std::uint64_t, Node*>> found;  // with their numbers, so that sorting reads no node
  std::vector<Node*> open;
  NodeMap seen;
  const auto meet = [&](Node* node) {
    if (!node->is(Node::kRecorded) || node->number < oldest || seen.find(node)) return;
    seen.insert(node, 0);
    found.emplace_back(node->number, node);
    open.push_back(node);
  };
  for (Node* root : roots) meet(root);
  while (!open.empty()) {
    Node* node = open.back();
    open.pop_back();
    for (const Node::Edge& edge : node->edges()) meet(edge.node());
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Node*> nodes;
  nodes.reserve(found.size());
  for (const auto& [number, node] : found) nodes.push_back(node);
  return nodes;
}

}  // namespace twopass
