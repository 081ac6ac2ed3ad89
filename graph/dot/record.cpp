#include <twopass/graph/dot/record.h>

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include <twopass/graph/layers/layer.h>
#include <twopass/ops/op.h>

namespace twopass {
namespace {

std::string node_label(const Node& node) {
  const std::string spec = spec_text(node.shape, node.dtype);
  if (const LeafArguments* leaf = node.leaf()) {
    const char* kind = leaf->parameter ? "parameter" : node.is(Node::kSymbol) ? "input" : "variable";
    return fmt::format("{}\n{}", leaf->name.empty() ? kind : leaf->name, spec);
  }
  if (const LayerCallArguments* call = layer_call_of(node))
    return fmt::format("{}\n{}", call->call->layer->type(), spec);
  if (node.op) {
    return call_label(node.op->name(), *node.op, node.arguments.get(), spec);
  }
  if (!node.is(Node::kSymbol) && node.data && node.shape.rank() == 0)
    return dispatch(node.dtype,
                    [&]<typename T>() { return fmt::format("{}", *reinterpret_cast<const T*>(node.data)); });
  return "constant\n" + spec;
}

DotStyle node_style(const Node& node, DotStyle ops) {
  if (const LeafArguments* leaf = node.leaf())
    return leaf->parameter || !node.is(Node::kSymbol) ? DotStyle::parameter : DotStyle::input;
  return node.op ? ops : DotStyle::constant;
}

// In order of numbers, which is that of making, constants where they are met. Parameters were made whenever their
// values were: they come just before what reads them first.
void in_order(std::vector<const Node*>& nodes) {
  using Order = std::tuple<std::uint64_t, bool, std::size_t>;
  std::unordered_map<const Node*, Order> orders;
  for (const Node* node : nodes) {
    const auto edges = node->edges();
    for (std::size_t k = 0; k < edges.size(); ++k) {
      const Node* const read = edges[k].node();
      if (!read->leaf() || !read->leaf()->parameter) continue;
      const Order here{node->number, false, k};
      const auto [known, first] = orders.try_emplace(read, here);
      if (!first) known->second = std::min(known->second, here);
    }
  }
  const auto order = [&](const Node* node) {
    const auto read = orders.find(node);
    return read == orders.end() ? Order{node->number, true, 0} : read->second;
  };
  std::stable_sort(nodes.begin(), nodes.end(), [&](const Node* a, const Node* b) { return order(a) < order(b); });
}

}  // namespace

std::string spec_text(const Shape& shape, DType dtype) { return fmt::format("{} {}", shape.text(), name_of(dtype)); }

std::string RecordDrawing::label_of(const Node& node) const {
  const LeafArguments* leaf = node.leaf();
  const auto path = leaf ? paths_.find(leaf->parameter) : paths_.end();
  return path == paths_.end() ? node_label(node) : path->second + "\n" + spec_text(node.shape, node.dtype);
}

std::string call_label(const std::string& title, const Op& op, const Arguments* arguments, const std::string& rest) {
  constexpr std::size_t kLongest = 24;
  std::string text = arguments_text(op, arguments);
  for (const auto& [name, value] : op.attributes(arguments)) {
    const auto* said = std::get_if<std::string>(&value);
    if (!said || said->size() <= kLongest) continue;
    std::size_t end = kLongest;
    while (end > 0 && (static_cast<unsigned char>((*said)[end]) & 0xC0) == 0x80) --end;  // no part of a character
    if (const std::size_t at = text.find(*said); at != std::string::npos)
      text.replace(at, said->size(), said->substr(0, end) + "…");
  }
  return title + (text.empty() ? "" : "\n" + text) + "\n" + rest;
}

void RecordDrawing::draw(const Tensors& outputs, DotStyle ops, bool dashed) {
  // What is new, found without recursion.
  std::vector<const Node*> found, open;
  std::unordered_set<const Node*> seen;
  const auto meet = [&](const Node* node) {
    const bool wanted = only_.empty() || only_.contains(node);
    if (wanted && !drawn_.contains(node) && seen.insert(node).second) open.push_back(node);
  };
  for (const Tensor& y : outputs) {
    meet(&y.node());
    alive_.push_back(y);
  }
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    found.push_back(node);
    for (const Node::Edge& edge : node->edges()) meet(edge.node());
  }
  std::reverse(found.begin(), found.end());
  in_order(found);
  const std::unordered_map<const Node*, std::size_t> before =
      dashed ? drawn_ : std::unordered_map<const Node*, std::size_t>();
  for (const Node* node : found) {
    const auto why = accused_.find(node);
    drawn_[node] = why == accused_.end() ? writer_.node(label_of(*node), node_style(*node, ops))
                                         : writer_.node(label_of(*node) + "\n" + why->second, DotStyle::guilty);
  }
  for (const Node* node : found)
    for (const Node::Edge& edge : node->edges())
      if (drawn_.contains(edge.node()))
        writer_.edge(drawn_.at(edge.node()), drawn_.at(node), "", dashed && before.contains(edge.node()));
}

}  // namespace twopass
