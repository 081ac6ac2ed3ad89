// Parameters as symbols: while a function is traced.
#include <twopass/core/parameter_reads.h>
#include <twopass/core/parameter_view.h>

namespace twopass {

LiftScope::LiftScope() : before_(parameter_view) {
  parameter_view = {.lifting = this, .substitutions = substituted.size()};
}
LiftScope::~LiftScope() { parameter_view = before_; }
bool LiftScope::active() { return parameter_view.lifting != nullptr; }

LiftScope::Lifted& LiftScope::of(const Parameter& parameter) {
  const auto [known, fresh] = places_.emplace(parameter.id(), lifted_.size());
  if (fresh) {
    const auto flags =
        static_cast<std::uint8_t>(Node::kLeaf | Node::kSymbol | (parameter.trainable() ? Node::kRecorded : 0));
    Node* node =
        Node::make(nullptr, ArgumentsPointer(new LeafArguments(parameter.name(), parameter.id(), parameter.cell_)),
                   parameter.shape(), parameter.dtype(), flags, 0);
    node->number = Node::next_number(0);
    const Tensor leaf(node);
    lifted_.push_back({.parameter = parameter, .symbol = leaf, .now = leaf});
  }
  return lifted_[known->second];
}

// One without a derivative has the number of what it stands for, and so its place.
Tensor LiftScope::leaf_for(const Tensor& x, const Parameter& parameter, bool recorded) {
  const auto flags = static_cast<std::uint8_t>(Node::kLeaf | Node::kSymbol | (recorded ? Node::kRecorded : 0));
  auto* const arguments = parameter.defined() ? new LeafArguments(parameter.name(), parameter.id(), parameter.cell_)
                                              : new LeafArguments("", 0);
  const Tensor leaf(Node::make(nullptr, ArgumentsPointer(arguments), x.shape(), x.dtype(), flags, 0));
  leaf.node().number = recorded ? Node::next_number(x.node().number) : x.node().number;
  leaves_.push_back(leaf);
  behind_.emplace(&leaf.node(), x);
  return leaf;
}

Tensor LiftScope::behind(const Node& leaf) const {
  const auto found = behind_.find(&leaf);
  return found == behind_.end() ? Tensor() : found->second;
}

Tensor detached_symbol(const Tensor& x) {
  return parameter_view.lifting && x.recorded() ? parameter_view.lifting->leaf_for(x, {}, false) : x;
}

LiftedSets::LiftedSets() : before_(parameter_view.lifting ? parameter_view.lifting->replaced_.size() : 0) {}

void LiftedSets::undo() const {
  if (!parameter_view.lifting) return;
  LiftScope& scope = *parameter_view.lifting;
  for (; scope.replaced_.size() > before_; scope.replaced_.pop_back())
    scope.of(scope.replaced_.back().parameter) = scope.replaced_.back();
}

bool LiftedSets::more() const { return parameter_view.lifting && parameter_view.lifting->replaced_.size() > before_; }

Parameters lifted_and_set() {
  Parameters all;
  for (const LiftScope::Lifted& each : parameter_view.lifting->lifted())
    if (&each.now.node() != &each.symbol.node()) all.push_back(each.parameter);
  return all;
}

void LiftedSets::put(const Parameter& parameter, const Tensor& tensor) const {
  LiftScope& scope = *parameter_view.lifting;
  LiftScope::Lifted& lifted = scope.of(parameter);
  scope.replaced_.push_back(lifted);
  lifted.now = tensor;
  lifted.value = {};
}

}  // namespace twopass
