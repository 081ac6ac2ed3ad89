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

#include <twopass/ops/op.h>

namespace twopass {

/// What OpRecord::rows answers where rows stay apart and no input is cut: a bit beyond those of inputs.
constexpr unsigned kRowsOfWhole = 1U << 31;

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
  /// For plans: whether input k, of the shape that it has here, gives the same bits as repeated along leading axes to
  /// the others' sizes; an only input, along axes of size 1, as the output is then. Elementwise ops leave it out.
  bool (*repeats)(const Args& args, const Specs& in, std::size_t k) = nullptr;
  /// For plans, which run ops on parts of their inputs: bit k is set where row i of the output (along its first axis)
  /// is made of row i of input k; inputs without their bit are read whole. 0 where rows don't stay apart, kRowsOfWhole
  /// where each is made of all of every input. Elementwise ops leave it out.
  unsigned (*rows)(const Args& args, const Specs& in) = nullptr;
  /// The input that forward may overwrite as it goes; elementwise ops leave it out.
  int in_place = -1;
  /// Floating-point operations, where they are not one for each element of the output.
  double (*work)(const Args& args, const Specs& in) = nullptr;
  /// Bytes of memory that forward takes beside its output while it runs, on all threads together, where they are more
  /// than fit a cache: plans add them to the figure of their peak memory.
  std::int64_t (*scratch)(const Args& args, const Specs& in) = nullptr;
  /// For products, convolutions and gradients of pooling: the call that does its one consumer's work too, if there is
  /// one.
  std::optional<Absorbed> (*absorb)(const Args& args, const Consumer& consumer) = nullptr;
  /// For plans, which keep images between convolutions in the order that these like: the call with such of its operands
  /// in blocks of channels as are named, or with fewer, if it can be done so. Where the size is 0 the op chooses it, or
  /// has no wish. What is not in blocks after a call that reduces is reshaped to what it was.
  std::optional<InBlocks> (*in_blocks)(const Args& args, const Specs& in, const ChannelBlocks& blocks) = nullptr;
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
  [[gnu::cold]] explicit TypedOp(OpRecord<Args> record, bool foreign = false)
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
  bool repeats(const Arguments* arguments, const Specs& in, std::size_t k) const override {
    if (record_.run) return record_.broadcasts;
    return record_.repeats && record_.repeats(unboxed<Args>(arguments), in, k);
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
  std::int64_t scratch(const Arguments* arguments, const Specs& in) const override {
    return record_.scratch ? record_.scratch(unboxed<Args>(arguments), in) : 0;
  }
  std::optional<Absorbed> absorb(const Arguments* arguments, const Consumer& consumer) const override {
    return record_.absorb ? record_.absorb(unboxed<Args>(arguments), consumer) : std::nullopt;
  }
  std::optional<InBlocks> in_blocks(const Arguments* arguments, const Specs& in,
                                    const ChannelBlocks& blocks) const override {
    return record_.in_blocks ? record_.in_blocks(unboxed<Args>(arguments), in, blocks) : std::nullopt;
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

template <typename Args>
Tensor apply(const TypedOp<Args>& op, Args args, std::initializer_list<Tensor> inputs) {
  return apply(op, boxed(std::move(args)), std::span<const Tensor>(inputs.begin(), inputs.size()));
}
template <typename Args>
Tensor apply(const TypedOp<Args>& op, Args args, const Tensors& inputs) {
  return apply(op, boxed(std::move(args)), std::span<const Tensor>(inputs));
}

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
