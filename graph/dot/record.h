// Recorded nodes as DOT nodes. For the files of this folder.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <twopass/core/parameter.h>
#include <twopass/core/tensor.h>
#include <twopass/graph/dot/writer.h>

namespace twopass {

/// "(None, 20) f32".
std::string spec_text(const Shape& shape, DType dtype);
/// "clip\nlow=0, high=2\n(None, 20) f32": a title, the arguments that are not the defaults, and the rest; of a text
/// that is an argument the first 24 bytes, in whole characters.
std::string call_label(const std::string& title, const Op& op, const Arguments* arguments, const std::string& rest);

/// Draws the record behind tensors, each node once.
class RecordDrawing {
 public:
  explicit RecordDrawing(DotWriter& writer) : writer_(writer) {}
  /// Says what an already drawn thing is to be pointed at for this tensor.
  void put(const Tensor& x, std::size_t drawn) { drawn_[&x.node()] = drawn; }
  /// What to call a parameter in place of its own name.
  void name(const Parameter& parameter, const std::string& path) { paths_[parameter.id()] = path; }
  /// Draws what is not drawn yet of the record behind `outputs`, oldest first. Ops have the style `ops`; edges from
  /// what was drawn before this call are dashed where `dashed` says so.
  void draw(const Tensors& outputs, DotStyle ops, bool dashed = false);
  /// Draws this node red when its turn comes, with more in its label.
  void accuse(const Node& node, std::string why) { accused_[&node] = std::move(why); }
  /// Draws none but these nodes.
  void only(std::unordered_set<const Node*> nodes) { only_ = std::move(nodes); }
  std::size_t at(const Tensor& x) const { return drawn_.at(&x.node()); }
  bool has(const Tensor& x) const { return drawn_.contains(&x.node()); }

 private:
  std::string label_of(const Node& node) const;

  DotWriter& writer_;
  std::unordered_map<const Node*, std::size_t> drawn_;
  std::unordered_map<std::uint64_t, std::string> paths_;  // by a parameter's number
  std::unordered_map<const Node*, std::string> accused_;
  std::unordered_set<const Node*> only_;  // all where it is empty
  Tensors alive_;                         // so that no node's address is used again while this drawing goes on
};

}  // namespace twopass
