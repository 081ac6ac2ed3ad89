// An op as the engine, DOT, plans, saving and the tests see it, calls of it, and the list of all ops.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/tensor.h>
#include <twopass/ops/arguments.h>
#include <twopass/ops/call.h>
#include <twopass/ops/lanes.h>
#include <twopass/ops/sample.h>
#include <twopass/ops/views.h>

namespace twopass {

class Op;

/// The one user of a product, convolution or gradient of pooling, as that sees it when a plan asks whether it takes the
/// user's work over.
struct Consumer {
  const Op& op;
  const Arguments* arguments;
  Specs inputs;
  /// Which of those inputs the product is.
  std::size_t at;
  /// The inputs of the product.
  Specs product;
  /// Which of these the other input of a consumer that has two is, or -1.
  int same = -1;
};

/// One call in place of both.
struct Absorbed {
  const Op* op;
  ArgumentsPointer arguments = {};
  /// Where the inputs come from: k of the product, or -1 - k of the consumer.
  std::vector<int> inputs;
  /// Which of them is read as one axis of all its elements, if any.
  int flat = -1;
};

/// Which operands of a call are images that lie with their channels in blocks, [n, c / size, h, w, size] in place of
/// [n, c, h, w]: bit k of `inputs` stands for input k.
struct ChannelBlocks {
  std::int64_t size = 0;
  unsigned inputs = 0;
  bool output = false;
};

/// The call that takes its place then.
struct InBlocks {
  const Op* op;
  ArgumentsPointer arguments = {};
  ChannelBlocks blocks = {};
  /// The inputs that must lie as the output does; of the other operands each may lie either way.
  unsigned tied = 0;
  /// Whether the call brings what lies otherwise into blocks, as convolutions do, and so is spared that.
  bool spared = false;
};

/// The branches that an op may take, and which each element of its output took, as gradient checks report it.
struct Branches {
  std::int64_t count;
  std::vector<std::int64_t> taken;
  /// One for each; none where they are places, one of which each element came from.
  std::vector<const char*> names = {};
};

/// A record without its types: what the engine, DOT, plans, saving and the tests see.
class Op {
 public:
  struct Sample {
    ArgumentsPointer arguments;
    std::vector<sample::Input> inputs;
  };
  struct Example {
    ArgumentsPointer arguments;
    std::vector<sample::Literal> inputs;
    sample::Literal output;
  };
  struct Refusal {
    ArgumentsPointer arguments;
    std::vector<sample::Input> inputs;
    std::string message;
  };

  /// What an op is, whatever its arguments.
  struct Facts {
    std::string name, doc;
    Keep keeps = Keep::none;
    /// Whether inputs are broadcast to the output, so that the engine sums gradients back.
    bool broadcasts = false;
    bool elementwise = false;
    bool differentiable = false;
    Linear linear = Linear::no;
    /// Whether the record has a rule for tangents.
    bool tangent = false;
    /// Whether the output may lie in the first input's memory.
    bool aliases = false;
    /// The input that the output may be written over, or -1. An elementwise op may write over any of its size.
    int in_place = -1;
    /// Rows of the first input that make one of the output: see OpRecord::gathers.
    int gathers = 0;
    /// Whether forward is a user's code, which may not be ready to run beside itself.
    bool foreign = false;
  };

  explicit Op(Facts facts) : facts_(std::move(facts)) {}
  virtual ~Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  const std::string& name() const { return facts_.name; }
  const std::string& doc() const { return facts_.doc; }
  Keep keeps() const { return facts_.keeps; }
  bool broadcasts() const { return facts_.broadcasts; }
  bool elementwise() const { return facts_.elementwise; }
  bool differentiable() const { return facts_.differentiable; }
  Linear linear() const { return facts_.linear; }
  bool has_tangent() const { return facts_.tangent; }
  bool aliases() const { return facts_.aliases; }
  int in_place() const { return facts_.in_place; }
  int gathers() const { return facts_.gathers; }
  bool foreign() const { return facts_.foreign; }
  const std::vector<Sample>& samples() const { return samples_; }
  const std::vector<Example>& examples() const { return examples_; }
  const std::vector<Refusal>& refusals() const { return refusals_; }

  virtual Spec shape(const Arguments* arguments, const Specs& inputs) const = 0;
  virtual void forward(const Arguments* arguments, Inputs inputs, const Output& output) const = 0;
  /// The kernel of an elementwise op for n elements.
  virtual void run(const Arguments* arguments, std::span<const Operand> in, std::byte* out, std::int64_t n,
                   DType dtype) const = 0;
  /// What the op does to each element of inputs x, or an undefined lane: see OpRecord::lanes.
  virtual Lane lanes(const Arguments* arguments, const Specs& inputs, Lanes& lanes, std::span<const Lane> x) const = 0;
  /// Whether input k may be read as it was before it was broadcast: see OpRecord::repeats.
  virtual bool repeats(const Arguments* arguments, const Specs& inputs, std::size_t k) const = 0;
  /// Which inputs are read row by row: see OpRecord::rows.
  virtual unsigned rows(const Arguments* arguments, const Specs& inputs) const = 0;
  /// Floating-point operations of a call.
  virtual double work(const Arguments* arguments, const Specs& inputs) const = 0;
  /// Bytes that a call takes beside its output while it runs: see OpRecord::scratch.
  virtual std::int64_t scratch(const Arguments* arguments, const Specs& inputs) const = 0;
  virtual std::optional<Absorbed> absorb(const Arguments* arguments, const Consumer& consumer) const = 0;
  /// The call on images in blocks: see OpRecord::in_blocks.
  virtual std::optional<InBlocks> in_blocks(const Arguments*, const Specs&, const ChannelBlocks&) const { return {}; }
  /// What the kernel does that the call does not show: see OpRecord::note.
  virtual std::string note(const Arguments*, const Specs&) const { return {}; }
  /// The op that this call may begin with: see OpRecord::begins.
  virtual const Op* begins(const Arguments* arguments, const Specs& inputs) const = 0;
  /// For ops that only look at their first input's memory: where in it the output begins, in elements.
  virtual std::optional<std::int64_t> alias(const Arguments* arguments, const Shape& input) const = 0;
  virtual std::optional<Branches> branches(const Arguments* arguments, const Tensors& inputs,
                                           const Tensor& output) const = 0;
  virtual Tensors gradient(const Arguments* arguments, const Call& call, const Tensor& g) const = 0;
  /// The record's rule for tangents, where it has one.
  virtual Tensor tangent(const Arguments* arguments, const Call& call, const Tensors& tangents) const = 0;
  /// Many calls in one, or an undefined tensor where the record has no rule: see OpRecord::stacked.
  virtual Tensor stacked(const Arguments* arguments, const Tensors& inputs, const std::vector<bool>& which) const = 0;
  virtual Attributes attributes(const Arguments* arguments) const = 0;
  /// Those of a call that says nothing.
  virtual Attributes defaults() const = 0;
  virtual ArgumentsPointer arguments(const Attributes& attributes) const = 0;

 protected:
  std::vector<Sample> samples_;
  std::vector<Example> examples_;
  std::vector<Refusal> refusals_;

 private:
  Facts facts_;
};

/// "axis=1, keep=true": the arguments that are not the defaults, nor sentences that the reason of an error has.
std::string arguments_text(const Op& op, const Arguments* arguments, std::string_view reason = {});
/// "matmul((2, 3), (4, 5))": the head of an error message, of which the reason follows.
std::string call_text(const Op& op, const Arguments* arguments, const Specs& inputs, std::string_view reason = {});

/// Computes an op on values, or runs its shape rule alone where an input is a symbol, and records the call where an
/// input is recorded. Refuses what the op's rule refuses, with the call and its shapes before the reason.
Tensor apply(const Op& op, ArgumentsPointer arguments, std::span<const Tensor> inputs);
inline Tensor apply(const Op& op, std::initializer_list<Tensor> inputs) {
  return apply(op, {}, std::span<const Tensor>(inputs.begin(), inputs.size()));
}
/// A symbol of the given spec that remembers a call without running any rule.
Tensor remember(const Op& op, ArgumentsPointer arguments, std::span<const Tensor> inputs, const Spec& spec);

/// Every op of the library and every one that was defined since, in that order.
std::vector<const Op*> all_ops();
/// The op of a name, or none.
const Op* find_op(const std::string& name);
/// Puts a user's op beside the library's. Refuses a name that is taken.
void register_op(const Op& op);

}  // namespace twopass
