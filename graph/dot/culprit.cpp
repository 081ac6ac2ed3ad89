// Pictures of what went wrong: the guilty node among those around it.
#include <fmt/format.h>

#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/dot/dot.h>
#include <twopass/graph/dot/record.h>
#include <twopass/graph/dot/writer.h>

namespace twopass {
namespace {

constexpr std::size_t kWhole = 80;  // a record of so many nodes is drawn as a whole
constexpr int kRadius = 3;

// The nodes at most so many steps from a node, towards inputs and users, in the record behind `root`; empty (which
// stands for all) where the record is small.
std::unordered_set<const Node*> neighbourhood(const Tensor& root, const Node* centre) {
  std::unordered_map<const Node*, std::vector<const Node*>> beside;
  std::vector<const Node*> open{&root.node()};
  beside[open[0]];
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    for (const Node::Edge& edge : node->edges()) {
      if (!beside.contains(edge.node())) open.push_back(edge.node());
      beside[edge.node()].push_back(node);
      beside[node].push_back(edge.node());
    }
  }
  if (beside.size() <= kWhole) return {};
  std::unordered_set<const Node*> near{centre};
  std::vector<const Node*> rim{centre};
  for (int step = 0; step < kRadius; ++step) {
    std::vector<const Node*> next;
    for (const Node* node : rim)
      for (const Node* other : beside[node])
        if (near.size() < kWhole && near.insert(other).second) next.push_back(other);
    rim = std::move(next);
  }
  return near;
}

// A picture of the record behind `root` around one node. Drawing follows edges to inputs, so it starts at whatever of
// the neighbourhood nothing else of it uses.
std::string drawn_around(const std::string& title, const Tensor& root, const Node* centre,
                         const std::vector<std::pair<const Node*, std::string>>& accused) {
  DotWriter writer(title);
  RecordDrawing drawing(writer);
  for (const auto& [node, why] : accused) drawing.accuse(*node, why);
  const auto near = neighbourhood(root, centre);
  Tensors starts;
  if (near.empty()) starts.push_back(root);
  for (const Node* node : near) starts.emplace_back(const_cast<Node*>(node));
  drawing.only(near);
  drawing.draw(starts, DotStyle::op);
  return writer.text();
}

}  // namespace

std::string to_dot(const GradcheckReport& report) {
  if (report.culprits().empty()) throw Error("to_dot: the gradient check blames no op");
  std::vector<std::pair<const Node*, std::string>> accused;
  for (const Culprit& culprit : report.culprits())
    accused.emplace_back(&culprit.node.node(),
                         fmt::format("{}analytic {:.6g}, numerical {:.6g}",
                                     culprit.layer.empty() ? "" : fmt::format("in layer \"{}\"\n", culprit.layer),
                                     culprit.pair.analytic, culprit.pair.numerical));
  const Culprit& first = report.culprits()[0];
  return drawn_around("gradient check", first.output, accused[0].first, accused);
}

std::string to_dot(const Anomaly& anomaly) {
  const std::string in = anomaly.layer.empty() ? "" : fmt::format("in layer \"{}\"\n", anomaly.layer);
  const std::string what = anomaly.error.substr(0, anomaly.error.find('\n'));
  if (anomaly.gradient_of.defined()) {
    const Node* node = &anomaly.gradient_of.node();
    return drawn_around("anomaly in the backward pass", anomaly.gradient_of, node,
                        {{node, in + "in its gradient, " + anomaly.call + ": " + what}});
  }
  DotWriter writer("anomaly");
  RecordDrawing drawing(writer);
  std::vector<std::size_t> drawn;
  for (const Tensor& input : anomaly.inputs) {
    drawing.only(neighbourhood(input, &input.node()));
    if (!drawing.has(input)) drawing.draw({input}, DotStyle::op);
    drawn.push_back(drawing.at(input));
  }
  const std::size_t guilty = writer.node(anomaly.call + "\n" + in + what, DotStyle::guilty);
  for (const std::size_t each : drawn) writer.edge(each, guilty);
  return writer.text();
}

}  // namespace twopass
