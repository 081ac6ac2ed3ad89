// A small open-addressing map from nodes to numbers, and a counted reference to a node. For the files of this folder
// and of graph/plan.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include <twopass/core/node.h>

namespace twopass {

/// Holds a node's record, not its value.
class NodeReference {
 public:
  NodeReference() = default;
  explicit NodeReference(Node* node) noexcept : node_(node) { node_->take_reference(); }
  NodeReference(const NodeReference& other) noexcept : node_(other.node_) {
    if (node_) node_->take_reference();
  }
  NodeReference(NodeReference&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  NodeReference& operator=(NodeReference other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~NodeReference() {
    if (node_) node_->drop_reference();
  }
  Node* get() const { return node_; }
  Node* operator->() const { return node_; }
  Node& operator*() const { return *node_; }

 private:
  Node* node_ = nullptr;
};

/// Linear probing; erasing shifts back what follows, so that no markers are left.
class NodeMap {
 public:
  const std::uint32_t* find(const Node* node) const {
    if (entries_.empty()) return nullptr;
    for (std::size_t at = home(node);; at = next(at)) {
      if (entries_[at].first == node) return &entries_[at].second;
      if (!entries_[at].first) return nullptr;
    }
  }
  void insert(const Node* node, std::uint32_t value) {
    if (2 * (count_ + 1) > entries_.size()) grow();
    std::size_t at = home(node);
    while (entries_[at].first && entries_[at].first != node) at = next(at);
    if (!entries_[at].first) ++count_;
    entries_[at] = {node, value};
  }
  void erase(const Node* node) {
    std::size_t hole = home(node);
    while (entries_[hole].first != node) {
      if (!entries_[hole].first) return;
      hole = next(hole);
    }
    --count_;
    for (std::size_t at = next(hole); entries_[at].first; at = next(at)) {
      // An entry may move into the hole if its home does not lie behind the hole.
      if (((at - home(entries_[at].first)) & mask()) >= ((at - hole) & mask())) {
        entries_[hole] = entries_[at];
        hole = at;
      }
    }
    entries_[hole] = {nullptr, 0};
  }

 private:
  std::size_t mask() const { return entries_.size() - 1; }
  std::size_t next(std::size_t at) const { return (at + 1) & mask(); }
  std::size_t home(const Node* node) const {
    return (reinterpret_cast<std::uintptr_t>(node) >> 4) * 0x9E3779B97F4A7C15ull >> 20 & mask();
  }
  void grow() {
    std::vector<std::pair<const Node*, std::uint32_t>> before(entries_.empty() ? 32 : 2 * entries_.size());
    before.swap(entries_);
    count_ = 0;
    for (const auto& [node, value] : before)
      if (node) insert(node, value);
  }

  std::vector<std::pair<const Node*, std::uint32_t>> entries_;
  std::size_t count_ = 0;
};

}  // namespace twopass
