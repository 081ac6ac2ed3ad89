#include <twopass/graph/autodiff/backward.h>

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <utility>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/graph/autodiff/given.h>
#include <twopass/graph/autodiff/node_map.h>
#include <twopass/graph/autodiff/rule.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/op.h>

namespace twopass {

struct Gradients::Found {
  struct Entry {
    NodeReference node;
    Tensor gradient;
  };
  std::vector<Entry> entries;
  NodeMap places;                                     // node -> entry
  std::unordered_map<std::uint64_t, Tensor> of_cell;  // a parameter's id -> the sum over the values that it had
  bool intermediates = false;
  std::int64_t visited = 0;

  const Tensor* of(const Node& node) const {
    const std::uint32_t* place = places.find(&node);
    return place ? &entries[*place].gradient : nullptr;
  }
};

namespace {

Tensor seed_of_pass(const Tensor& y, const Tensor& seed) {
  check_defined("backward", "y", {&y, 1});
  if (!is_floating(y.dtype()))
    throw Error(fmt::format("backward({}): {} has no derivative", y.shape().text(), name_of(y.dtype())));
  if (!y.recorded())
    throw Error(fmt::format("backward({}): the tensor is not recorded: no variable, parameter or input led to it",
                            y.shape().text()));
  if (!seed.defined()) {
    if (y.elements() != 1)
      throw Error(fmt::format("backward({}): a tensor of {} elements needs a seed: the gradient of it",
                              y.shape().text(), y.elements()));
    return full(y.shape(), 1, y.dtype());
  }
  if (seed.shape() != y.shape() || seed.dtype() != y.dtype())
    throw Error(fmt::format("backward({}): the seed is {} {} but the tensor {} {}", y.shape().text(),
                            name_of(seed.dtype()), seed.shape().text(), name_of(y.dtype()), y.shape().text()));
  return seed;
}

}  // namespace

// One pass: nodes wait in a heap, newest first, so that all who use a value have been visited before it is.
class BackwardPass {
 public:
  BackwardPass(bool intermediates, bool record) : found_(std::make_shared<Gradients::Found>()), scope_(record) {
    found_->intermediates = intermediates;
  }

  // Restricts the pass to nodes through which one of `wanted` is reached from `y`; `beyond` says whether it goes on
  // from one of these to others.
  void restrict_to(const Tensors& wanted, Node& y, bool beyond) {
    restricted_ = true;
    beyond_ = beyond;
    std::uint64_t oldest = ~std::uint64_t{0};
    for (const Tensor& x : wanted) {
      wanted_.insert(&x.node(), 0);
      oldest = std::min(oldest, x.node().number);
    }
    // Oldest first: whether an input leads on.
    for (Node* node : recorded_behind({&y}, oldest)) {
      bool leads = wanted_.find(node) != nullptr;
      for (const Node::Edge& edge : node->edges()) leads = leads || leading_.find(edge.node()) != nullptr;
      if (leads) leading_.insert(node, 0);
    }
  }

  Gradients run(NodeReference root, Tensor seed) {
    meet(std::move(root), std::move(seed));
    return run();
  }

  Gradients run(Tensors roots, Tensors seeds) {
    for (std::size_t k = 0; k < roots.size(); ++k) meet(NodeReference(&roots[k].node()), std::move(seeds[k]));
    roots.clear();
    return run();
  }

 private:
  Gradients run() {
    while (!waiting_.empty()) {
      const std::uint32_t place = waiting_.top().place;
      waiting_.pop();
      NodeReference node = std::move(slots_[place].node);
      Tensor g = std::move(slots_[place].gradient);
      places_.erase(node.get());
      free_.push_back(place);
      ++found_->visited;
      const bool wanted = restricted_ && wanted_.find(node.get());
      if (node->is(Node::kLeaf) || wanted || (!restricted_ && found_->intermediates)) keep(node, g);
      if (!node->is(Node::kLeaf) && (beyond_ || !wanted)) spread(*node, g);
    }
    Gradients result;
    result.found_ = std::move(found_);
    return result;
  }

  struct Slot {
    NodeReference node;
    Tensor gradient;
  };
  struct Waiting {
    std::uint64_t number;
    std::uint64_t arrival;
    std::uint32_t place;
    // Newest first; of equal numbers (from several threads, unrelated then) the first met.
    bool operator<(const Waiting& other) const {
      return number != other.number ? number < other.number : arrival > other.arrival;
    }
  };

  bool matters(const Node* node) const { return node->is(Node::kRecorded) && (!restricted_ || leading_.find(node)); }

  void keep(const NodeReference& node, const Tensor& g) {
    found_->places.insert(node.get(), static_cast<std::uint32_t>(found_->entries.size()));
    found_->entries.push_back({node, g});
    const LeafArguments* leaf = node->leaf();
    if (!leaf || !leaf->parameter) return;
    const auto [known, fresh] = found_->of_cell.emplace(leaf->parameter, g);
    if (!fresh) known->second = add(known->second, g);
  }

  void meet(NodeReference node, Tensor g) {
    if (const std::uint32_t* known = places_.find(node.get())) {
      Tensor& sum = slots_[*known].gradient;
      sum = add(sum, g);
      return;
    }
    std::uint32_t place = 0;
    if (free_.empty()) {
      place = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      place = free_.back();
      free_.pop_back();
    }
    places_.insert(node.get(), place);
    waiting_.push({node->number, arrivals_++, place});
    slots_[place] = {std::move(node), std::move(g)};
  }

  void spread(Node& node, const Tensor& g) {
    const Op& op = *node.op;
    bool wanted = false;
    for (const Node::Edge& edge : node.edges()) wanted = wanted || matters(edge.node());
    if (!wanted) return;
    if (!op.differentiable())
      throw Error(fmt::format("{} has no gradient, but a derivative through it is asked for", op.name()));
    Tensors gradients = gradients_of(node, Call(node), g);
    const auto edges = node.edges();
    for (std::size_t k = 0; k < edges.size(); ++k) {
      Node* input = edges[k].node();
      if (!gradients[k].defined() || !matters(input)) continue;
      meet(NodeReference(input), checked_gradient(op, *input, k, std::move(gradients[k])));
    }
  }

  std::shared_ptr<Gradients::Found> found_;
  RecordingScope scope_;
  bool restricted_ = false, beyond_ = true;
  NodeMap wanted_, leading_;
  NodeMap places_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::priority_queue<Waiting> waiting_;
  std::uint64_t arrivals_ = 0;
};

Gradients backward(const Tensor& y, const BackwardOptions& options) {
  Tensor seed = seed_of_pass(y, options.seed);
  return BackwardPass(options.intermediates, options.record).run(NodeReference(&y.node()), std::move(seed));
}

Gradients backward(Tensor&& y, const BackwardOptions& options) {
  Tensor seed = seed_of_pass(y, options.seed);
  NodeReference root(&y.node());
  y = Tensor();  // from here on the pass alone holds the record
  return BackwardPass(options.intermediates, options.record).run(std::move(root), std::move(seed));
}

Gradients backward(Tensors&& several, Tensors&& seeds, bool record) {
  if (several.size() != seeds.size())
    throw Error(
        fmt::format("backward: {} cannot have {}", counted(several.size(), "tensor"), counted(seeds.size(), "seed")));
  Tensors roots = std::move(several), checked;
  for (std::size_t k = 0; k < roots.size(); ++k) checked.push_back(seed_of_pass(roots[k], seeds[k]));
  seeds.clear();
  return BackwardPass(false, record).run(std::move(roots), std::move(checked));
}

Tensors gradients(const Tensor& y, const Tensors& of, const GradientsOptions& options) {
  check_defined("gradients", "input", of);
  for (const Tensor& x : of)
    if (!x.recorded()) throw Error(fmt::format("gradients: a tensor of shape {} is not recorded", x.shape().text()));
  Tensor seed = seed_of_pass(y, options.seed);
  BackwardPass pass(false, options.record);
  pass.restrict_to(of, y.node(), options.beyond);
  const Gradients found = pass.run(NodeReference(&y.node()), std::move(seed));
  Tensors result;
  for (std::size_t k = 0; k < of.size(); ++k) {
    if (found.contains(of[k])) {
      result.push_back(found[of[k]]);
    } else {
      if (options.unreachable == Unreachable::refuse)
        throw Error(
            fmt::format("gradients: the output does not depend on tensor {} of shape {}", k, of[k].shape().text()));
      result.push_back(zeros(of[k].shape(), of[k].dtype()));
    }
  }
  return result;
}

Tensor Gradients::operator[](const Tensor& x) const {
  if (!x.recorded())
    throw Error(fmt::format("no gradient of a tensor of shape {}: it is not recorded", x.shape().text()));
  if (found_) {
    if (const Tensor* gradient = found_->of(x.node())) return *gradient;
    if (!x.node().is(Node::kLeaf) && !found_->intermediates)
      throw Error(
          fmt::format("the gradient of a tensor of shape {} was not kept: it is no leaf; backward(y, {{.intermediates "
                      "= true}}) keeps it",
                      x.shape().text()));
  }
  return zeros(x.shape(), x.dtype());
}

Tensor Gradients::operator[](const Parameter& parameter) const {
  const Tensor* gradient = nullptr;
  if (found_)
    if (const auto known = found_->of_cell.find(parameter.id()); known != found_->of_cell.end())
      gradient = &known->second;
  return gradient ? *gradient : zeros(parameter.shape(), parameter.dtype());
}

bool Gradients::contains(const Tensor& x) const { return found_ && found_->of(x.node()) != nullptr; }

bool Gradients::contains(const Parameter& parameter) const {
  return found_ && found_->of_cell.contains(parameter.id());
}

std::int64_t Gradients::visited() const { return found_ ? found_->visited : 0; }

}  // namespace twopass
