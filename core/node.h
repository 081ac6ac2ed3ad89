// What a tensor points to: a value and the record of how it was made.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>

#include <twopass/core/dtype.h>
#include <twopass/core/memory.h>
#include <twopass/core/shape.h>
#include <twopass/core/shared_count.h>

namespace twopass {

class Op;
class Tensor;

/// The arguments of a call, or what a leaf remembers: immutable, shared by counting.
class Arguments {
 public:
  Arguments() = default;
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  virtual ~Arguments() = default;

 private:
  friend class ArgumentsPointer;
  mutable SharedCount<std::int64_t> references_{0};
};

class ArgumentsPointer {
 public:
  ArgumentsPointer() = default;
  explicit ArgumentsPointer(const Arguments* arguments) noexcept : pointer_(arguments) { take(); }
  ArgumentsPointer(const ArgumentsPointer& other) noexcept : pointer_(other.pointer_) { take(); }
  ArgumentsPointer(ArgumentsPointer&& other) noexcept : pointer_(std::exchange(other.pointer_, nullptr)) {}
  ArgumentsPointer& operator=(ArgumentsPointer other) noexcept {
    std::swap(pointer_, other.pointer_);
    return *this;
  }
  ~ArgumentsPointer() {
    if (pointer_ && pointer_->references_.remove(1) == 0) delete pointer_;
  }
  const Arguments* get() const { return pointer_; }
  explicit operator bool() const { return pointer_ != nullptr; }

 private:
  void take() const noexcept {
    if (pointer_) pointer_->references_.add(1);
  }
  const Arguments* pointer_ = nullptr;
};

/// What a leaf (a variable, a parameter's value, an input) remembers.
struct LeafArguments : Arguments {
  LeafArguments(std::string leaf_name, std::uint64_t of_parameter, std::weak_ptr<void> in_cell = {})
      : name(std::move(leaf_name)), parameter(of_parameter), cell(std::move(in_cell)) {}
  std::string name;
  std::uint64_t parameter;   // the number of the Parameter whose value this is; 0 for others
  std::weak_ptr<void> cell;  // that Parameter's cell
};

/// (op, arguments, inputs, number) and the value. There are two counts, as with shared and weak pointers: `handles`
/// (tensors, and calls that keep this value for their gradient) hold the value, `references` hold the record. So a
/// graph keeps only the values that its gradients read, in one allocation a node.
class Node {
 public:
  enum Flag : std::uint8_t {
    kRecorded = 1,     // derivatives pass through here
    kSymbol = 2,       // has no value: made by input() or from what was
    kLeaf = 4,         // variable, parameter or input: nothing made it
    kKeepsOutput = 8,  // the gradient of its op reads its value
  };

  /// An edge to an input; with `keeps` the input's value stays alive too.
  struct Edge {
    std::uintptr_t bits = 0;
    Node* node() const { return reinterpret_cast<Node*>(bits & ~std::uintptr_t{1}); }
    bool keeps() const { return bits & 1; }
  };

  static Node* make(const Op* op, ArgumentsPointer arguments, Shape shape, DType dtype, std::uint8_t flags,
                    std::size_t inputs);

  const Op* op;
  ArgumentsPointer arguments;
  Shape shape;
  std::byte* data = nullptr;
  Buffer buffer;  // empty where the value lies in `small` or is gone
  std::uint64_t small = 0;
  std::uint64_t number = 0;  // larger than that of every input
  DType dtype;
  std::uint8_t flags;
  std::uint16_t input_count;

  std::span<Edge> edges() { return {reinterpret_cast<Edge*>(this + 1), input_count}; }
  std::span<const Edge> edges() const { return {reinterpret_cast<const Edge*>(this + 1), input_count}; }
  bool is(Flag flag) const { return flags & flag; }
  const LeafArguments* leaf() const { return is(kLeaf) ? static_cast<const LeafArguments*>(arguments.get()) : nullptr; }
  std::size_t bytes() const { return static_cast<std::size_t>(shape.elements()) * size_of(dtype); }
  /// Gives the node uninitialised memory for its value.
  void allocate_value();

  void take_handle() noexcept {
    if (counts_.value() == 0)
      counts_.set(kHandle + kReference);  // just made: nobody else knows it
    else
      counts_.add(kHandle + kReference);
  }
  void take_reference() noexcept { counts_.add(kReference); }
  void drop_handle() noexcept;
  void drop_reference() noexcept;
  bool only_handle() const { return (counts_.value() & kHandles) == kHandle; }

  /// The number of nodes alive: back to where it was when everything made since has been released.
  static std::int64_t live();
  /// One more than the larger of `largest` and this thread's last number.
  static std::uint64_t next_number(std::uint64_t largest);

 private:
  Node(const Op* of, ArgumentsPointer with, Shape a_shape, DType a_dtype, std::uint8_t with_flags, std::size_t inputs)
      : op(of),
        arguments(std::move(with)),
        shape(std::move(a_shape)),
        dtype(a_dtype),
        flags(with_flags),
        input_count(static_cast<std::uint16_t>(inputs)) {}
  ~Node() = default;
  static void destroy(Node* node) noexcept;

  // Both counts in one word: handles below, references (of which every handle is one) above.
  static constexpr std::uint64_t kHandle = 1, kHandles = 0xFFFFFFFF, kReference = std::uint64_t{1} << 32;
  SharedCount<std::uint64_t> counts_{0};
};

}  // namespace twopass
