// Ops as records: name, sentence, shape rule, forward, gradient, samples. Everything else reads the record.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
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

/// The one user of a product, as the product sees it when a plan asks whether it takes the user's work over.
struct Consumer {
  const Op& op;
  const Arguments* arguments;
  Specs inputs;
  /// Which of those inputs the product is.
  std::size_t at;
  /// The inputs of the product.
  Specs product;
};

/// One call in place of a product and its consumer.
struct Absorbed {
  const Op* op;
  ArgumentsPointer arguments = {};
  /// Where the inputs come from: k of the product, or -1 - k of the consumer.
  std::vector<int> inputs;
  /// Which of them is read as one axis of all its elements, if any.
  int flat = -1;
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
  /// Which inputs are read row by row: see OpRecord::rows.
  virtual unsigned rows(const Arguments* arguments, const Specs& inputs) const = 0;
  /// Floating-point operations of a call.
  virtual double work(const Arguments* arguments, const Specs& inputs) const = 0;
  virtual std::optional<Absorbed> absorb(const Arguments* arguments, const Consumer& consumer) const = 0;
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

/// One op. Exactly one of `forward` and `run` is given, or `alias` alone.
template <typename Args = NoArgs>
struct OpRecord {
  struct Sample {
    Args args{};
    std::vector<sample::Input> inputs;
  };
  struct Example {
    Args args{};
    std::vector<sample::Literal> inputs;
    sample::Literal output;
  };
  struct Refusal {
    Args args{};
    std::vector<sample::Input> inputs;
    std::string message;
  };

  const char* name;
  /// One sentence.
  const char* doc;
  /// Shape and dtype of the output; throws Error with the reason alone.
  Spec (*shape)(const Args& args, const Specs& in);
  /// Fills the output.
  void (*forward)(const Args& args, Inputs in, Output out) = nullptr;
  /// The kernel of an elementwise op: n elements, of input dtype `dtype`. An element's result may not depend on its
  /// place.
  void (*run)(const Args& args, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) = nullptr;
  /// For plans that write machine code: what `run` does to each floating element, to the bit, or what a reduction of
  /// all axes but the first does to each row; undefined where neither is so.
  Lane (*lanes)(const Args& args, const Specs& in, Lanes& lanes, std::span<const Lane> x) = nullptr;
  /// For ops that only look at their input's memory.
  std::int64_t (*alias)(const Args& args, const Shape& input) = nullptr;
  bool broadcasts = false;
  /// For plans, which run ops on parts of their inputs: bit k is set where row i of the output (along its first axis)
  /// is made of row i of input k; inputs without their bit are read whole. 0 where rows don't stay apart. Elementwise
  /// ops leave it out.
  unsigned (*rows)(const Args& args, const Specs& in) = nullptr;
  /// The input that forward may overwrite as it goes; elementwise ops leave it out.
  int in_place = -1;
  /// Floating-point operations, where they are not one for each element of the output.
  double (*work)(const Args& args, const Specs& in) = nullptr;
  /// For products: the call that does its one consumer's work too, if there is one.
  std::optional<Absorbed> (*absorb)(const Args& args, const Consumer& consumer) = nullptr;
  /// For texts of plans: what the kernel does with such inputs that the call does not show, or nothing.
  std::string (*note)(const Args& args, const Specs& in) = nullptr;
  /// n where row i of the output is made of rows n i to n i + n - 1 of the first input, one after another, so that
  /// plans may come with them in several calls: what was made of the rows before is the second input then, in the
  /// output's memory.
  int gathers = 0;
  /// For reductions over rows: an op with `gathers` and no arguments, if the call gives the same bits for what that op
  /// makes of its input as for the input.
  const Op* (*begins)(const Args& args, const Specs& in) = nullptr;
  /// For gradient checks: which branch each element took, where slopes at other points would not tell.
  Branches (*branches)(const Args& args, const Tensors& inputs, const Tensor& output) = nullptr;
  Keep keeps = Keep::none;
  /// A gradient per input (undefined: none, zero), of the input's shape, or of the output's where the op broadcasts.
  Tensors (*gradient)(const Args& args, const Call& call, const Tensor& g) = nullptr;
  /// For derivatives in forward mode, all from what `keeps` says. Where neither is said the tangent comes from the
  /// gradient: element by element, or as its transpose.
  Linear linear = Linear::no;
  /// The tangent of the output (undefined: zero), of its shape, from those of the inputs, of which one is defined.
  Tensor (*tangent)(const Args& args, const Call& call, const Tensors& tangents) = nullptr;
  /// For whole Jacobians: many calls in one, of which the inputs marked in `which` lie side by side along a new first
  /// axis, the others being the same for all; the outputs along such an axis too. Elementwise ops leave it out; where
  /// it is left out, calls are made one by one.
  Tensor (*stacked)(const Args& args, const Tensors& in, const std::vector<bool>& which) = nullptr;
  std::vector<Sample> samples = {};
  std::vector<Example> examples = {};
  std::vector<Refusal> refuses = {};
};

/// The driver of elementwise kernels: broadcasts the inputs to the output run by run, on several threads where large.
using RunKernel = void (*)(const void* context, std::span<const Operand> in, std::byte* out, std::int64_t n,
                           DType dtype);
void run_elementwise(RunKernel kernel, const void* context, Inputs in, const Output& out);

/// A record with its argument type.
template <typename Args = NoArgs>
class TypedOp : public Op {
 public:
  /// `foreign`: forward is a user's code.
  explicit TypedOp(OpRecord<Args> record, bool foreign = false)
      : Op({.name = record.name,
            .doc = record.doc,
            .keeps = record.keeps,
            .broadcasts = record.broadcasts,
            .elementwise = record.run != nullptr,
            .differentiable = record.gradient != nullptr,
            .linear = record.linear,
            .tangent = record.tangent != nullptr,
            .aliases = record.alias != nullptr,
            .in_place = record.in_place,
            .gathers = record.gathers,
            .foreign = foreign && record.forward}),
        record_(std::move(record)) {
    for (auto& each : record_.samples) samples_.push_back({boxed(each.args), each.inputs});
    for (auto& each : record_.examples) examples_.push_back({boxed(each.args), each.inputs, each.output});
    for (auto& each : record_.refuses) refusals_.push_back({boxed(each.args), each.inputs, each.message});
  }
  Spec shape(const Arguments* arguments, const Specs& in) const override {
    return record_.shape(unboxed<Args>(arguments), in);
  }
  void forward(const Arguments* arguments, Inputs in, const Output& out) const override {
    const Args& args = unboxed<Args>(arguments);
    if (record_.forward) return record_.forward(args, in, out);
    const std::pair<const OpRecord<Args>*, const Args*> context{&record_, &args};
    run_elementwise(
        [](const void* both, std::span<const Operand> operands, std::byte* to, std::int64_t n, DType dtype) {
          const auto& [record, with] = *static_cast<const std::pair<const OpRecord<Args>*, const Args*>*>(both);
          record->run(*with, operands, to, n, dtype);
        },
        &context, in, out);
  }
  void run(const Arguments* arguments, std::span<const Operand> in, std::byte* out, std::int64_t n,
           DType dtype) const override {
    record_.run(unboxed<Args>(arguments), in, out, n, dtype);
  }
  Lane lanes(const Arguments* arguments, const Specs& in, Lanes& lanes, std::span<const Lane> x) const override {
    return record_.lanes ? record_.lanes(unboxed<Args>(arguments), in, lanes, x) : Lane();
  }
  unsigned rows(const Arguments* arguments, const Specs& in) const override {
    return record_.rows ? record_.rows(unboxed<Args>(arguments), in) : 0;
  }
  double work(const Arguments* arguments, const Specs& in) const override {
    if (record_.work) return record_.work(unboxed<Args>(arguments), in);
    return static_cast<double>(record_.shape(unboxed<Args>(arguments), in).shape.elements());
  }
  std::optional<Absorbed> absorb(const Arguments* arguments, const Consumer& consumer) const override {
    return record_.absorb ? record_.absorb(unboxed<Args>(arguments), consumer) : std::nullopt;
  }
  std::string note(const Arguments* arguments, const Specs& in) const override {
    return record_.note ? record_.note(unboxed<Args>(arguments), in) : std::string();
  }
  const Op* begins(const Arguments* arguments, const Specs& in) const override {
    return record_.begins ? record_.begins(unboxed<Args>(arguments), in) : nullptr;
  }
  std::optional<std::int64_t> alias(const Arguments* arguments, const Shape& input) const override {
    if (!record_.alias) return std::nullopt;
    return record_.alias(unboxed<Args>(arguments), input);
  }
  std::optional<Branches> branches(const Arguments* arguments, const Tensors& inputs,
                                   const Tensor& output) const override {
    if (!record_.branches) return std::nullopt;
    return record_.branches(unboxed<Args>(arguments), inputs, output);
  }
  Tensors gradient(const Arguments* arguments, const Call& call, const Tensor& g) const override {
    return record_.gradient(unboxed<Args>(arguments), call, g);
  }
  Tensor tangent(const Arguments* arguments, const Call& call, const Tensors& tangents) const override {
    return record_.tangent(unboxed<Args>(arguments), call, tangents);
  }
  Tensor stacked(const Arguments* arguments, const Tensors& in, const std::vector<bool>& which) const override {
    return record_.stacked ? record_.stacked(unboxed<Args>(arguments), in, which) : Tensor();
  }
  Attributes attributes(const Arguments* arguments) const override { return attributes_of(unboxed<Args>(arguments)); }
  Attributes defaults() const override { return attributes_of(Args{}); }
  ArgumentsPointer arguments(const Attributes& attributes) const override { return boxed(args_from<Args>(attributes)); }

 private:
  OpRecord<Args> record_;
};

/// "axis=1, keep=true": the arguments that are not the defaults.
std::string arguments_text(const Op& op, const Arguments* arguments);
/// "matmul((2, 3), (4, 5))": the head of an error message.
std::string call_text(const Op& op, const Arguments* arguments, const Specs& inputs);

/// Computes an op on values, or runs its shape rule alone where an input is a symbol, and records the call where an
/// input is recorded. Refuses what the op's rule refuses, with the call and its shapes before the reason.
Tensor apply(const Op& op, ArgumentsPointer arguments, std::span<const Tensor> inputs);
inline Tensor apply(const Op& op, std::initializer_list<Tensor> inputs) {
  return apply(op, {}, std::span<const Tensor>(inputs.begin(), inputs.size()));
}
template <typename Args>
Tensor apply(const TypedOp<Args>& op, Args args, std::initializer_list<Tensor> inputs) {
  return apply(op, boxed(std::move(args)), std::span<const Tensor>(inputs.begin(), inputs.size()));
}
template <typename Args>
Tensor apply(const TypedOp<Args>& op, Args args, const Tensors& inputs) {
  return apply(op, boxed(std::move(args)), std::span<const Tensor>(inputs));
}

/// A symbol of the given spec that remembers a call without running any rule.
Tensor remember(const Op& op, ArgumentsPointer arguments, std::span<const Tensor> inputs, const Spec& spec);

/// Every op of the library and every one that was defined since, in that order.
std::vector<const Op*> all_ops();
/// The op of a name, or none.
const Op* find_op(const std::string& name);
/// Puts a user's op beside the library's. Refuses a name that is taken.
void register_op(const Op& op);

/// What `define` gives: calling it computes the op.
template <typename Args>
class OpHandle {
 public:
  explicit OpHandle(const TypedOp<Args>* op) : op_(op) {}
  Tensor operator()(Args args, std::initializer_list<Tensor> inputs) const {
    return apply(*op_, std::move(args), inputs);
  }
  Tensor operator()(std::initializer_list<Tensor> inputs) const { return apply(*op_, Args{}, inputs); }
  operator const Op&() const { return *op_; }

 private:
  const TypedOp<Args>* op_;
};

/// Registers an op of your own, so that it is checked, saved, loaded and drawn like the library's. Refuses a name that
/// is taken and a record without a name, a sentence, a shape rule or a forward.
template <typename Args = NoArgs>
OpHandle<Args> define(OpRecord<Args> record) {
  if (!record.name || !record.doc || !record.shape || !(record.forward || record.run || record.alias))
    throw Error("an op needs a name, a sentence, a shape rule and a forward");
  auto op = std::make_unique<const TypedOp<Args>>(std::move(record), true);
  register_op(*op);
  return OpHandle<Args>(op.release());  // lives as long as the program: graphs may refer to it
}

/// The shape rule of ops whose output is like their first input.
inline constexpr auto same_shape = [](const auto&, const Specs& in) -> Spec { return in[0]; };
/// As same_shape, for f32 and f64 only.
inline constexpr auto same_floating = [](const auto&, const Specs& in) -> Spec {
  if (!is_floating(in.dtype(0)))
    throw Error(std::string("only f32 and f64 have this, not ") + std::string(name_of(in.dtype(0))));
  return in[0];
};

/// Sets every element of the output to `f(x)`, or `f(a, b)`, of the elements of inputs of the same shape and dtype.
template <typename F>
void each(Inputs in, Output out, F f) {
  const std::int64_t n = out.elements();
  const auto go = [&]<typename T>() {
    T* to = out.data<T>();
    if constexpr (requires(T x) { f(x); }) {
      const T* x = in[0].data<T>();
      for (std::int64_t k = 0; k < n; ++k) to[k] = f(x[k]);
    } else {
      const T *a = in[0].data<T>(), *b = in[1].data<T>();
      for (std::int64_t k = 0; k < n; ++k) to[k] = f(a[k], b[k]);
    }
  };
  if (out.dtype == f32)
    go.template operator()<float>();
  else if (out.dtype == f64)
    go.template operator()<double>();
  else
    throw Error("each() serves f32 and f64 only");
}

}  // namespace twopass
