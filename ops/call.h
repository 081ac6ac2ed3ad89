// A recorded call as gradients see it, and which of its values they read.
#pragma once
#include <cstddef>
#include <cstdint>

#include <twopass/core/node.h>
#include <twopass/core/tensor.h>

namespace twopass {

/// Which values the gradient of an op reads: only these are kept.
enum class Keep : std::uint16_t {
  none = 0,
  output = 1,
  first = 2,
  second = 4,
  third = 8,
  input = 0xfffe,
  input_and_output = 0xffff
};
constexpr Keep operator|(Keep a, Keep b) {
  return static_cast<Keep>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr bool keeps_output(Keep keep) { return static_cast<unsigned>(keep) & 1; }
constexpr bool keeps_input(Keep keep, std::size_t k) {
  return static_cast<unsigned>(keep) >> (k < 14 ? k + 1 : 15) & 1;
}

/// How tangents pass through an op that is linear: through the op itself. no: not so. jointly: in all floating inputs
/// at once, the others standing, ẏ = f(ȧ, ḃ). each: in each input while the others stand, ẏ = f(ȧ, b) + f(a, ḃ).
enum class Linear : std::uint8_t { no, jointly, each };

/// A recorded call, as its gradient and its tangent see it.
class Call {
 public:
  explicit Call(Node& node) : node_(node) {}
  /// One of which only these inputs' gradients are wanted: bit k for input k.
  Call(Node& node, std::uint64_t wanted) : node_(node), wanted_(wanted) {}
  std::size_t size() const { return node_.input_count; }
  /// Whether anybody wants the gradient of input k; an undefined Tensor may be returned where not.
  bool wants(std::size_t k) const { return edge(k)->is(Node::kRecorded) && (k >= 64 || (wanted_ >> k & 1)); }
  const Shape& shape(std::size_t k) const { return edge(k)->shape; }
  DType dtype(std::size_t k) const { return edge(k)->dtype; }
  const Shape& output_shape() const { return node_.shape; }
  /// The value of input k or of the output; refuses what the record does not keep.
  Tensor input(std::size_t k) const;
  Tensor output() const;

 private:
  Node* edge(std::size_t k) const { return node_.edges()[k].node(); }
  Node& node_;
  std::uint64_t wanted_ = ~std::uint64_t{0};
};

}  // namespace twopass
