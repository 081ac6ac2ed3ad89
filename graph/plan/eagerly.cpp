#include <twopass/graph/plan/eagerly.h>

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <memory>
#include <tuple>
#include <utility>

#include <twopass/core/parameter_reads.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/precision.h>
#include <twopass/ops/record.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

using Function = std::function<Tensor(const Tensors&)>;

// What a run leaves for the gradient: plans run one call at a time.
struct Recorded {
  int wanted = 0;  // gradient calls in the plan, fixed when it is traced
  int open = 0;    // those of this run that are still to come
  Tensors given;
  Tensor y;
};

// A call's inputs are f's, `inputs` of them, and then the parameters.
struct Eager {
  Function f;
  std::string why;
  std::size_t inputs = 0;
  Parameters parameters;
  std::vector<bool> wanted;   // through which of all these derivatives pass
  std::vector<bool> reached;  // which of these f's output depends on
  Spec output{{}, f32};
  Precision precision = Precision::single;
  std::shared_ptr<Recorded> recorded;
  static constexpr std::tuple<> fields{};
};

// Not to be run beside another: f may share with others what is made for one thread.
constexpr auto kAlone = [](const auto&, const Specs&) { return std::numeric_limits<double>::infinity(); };

// Which of `given` y depends on. Refuses recorded tensors from before `start` that are none of them; what f makes
// itself nobody else can ask for.
std::vector<bool> reached_from(const Tensor& y, const Tensors& given, std::uint64_t start) {
  std::vector<bool> reached(given.size(), false);
  if (!y.recorded()) return reached;
  for (const Node* node : nodes_behind({y}, start)) {
    const auto own = std::find_if(given.begin(), given.end(), [&](const Tensor& each) { return &each.node() == node; });
    if (own != given.end() && node->is(Node::kRecorded))
      reached[static_cast<std::size_t>(own - given.begin())] = true;
    else if (node->is(Node::kRecorded) && node->number <= start)
      throw Error("what runs eagerly within a plan depends on a recorded tensor that is none of its inputs");
  }
  return reached;
}

// f on values; `given` are its inputs and the parameters.
Tensor run(const Eager& eager, const Tensors& given) {
  const auto parameters = given.begin() + static_cast<std::ptrdiff_t>(eager.inputs);
  const PrecisionScope precision(eager.precision);
  const TensorReadsScope alone;
  const Substitution values(eager.parameters, {parameters, given.end()});
  const ParameterReads reads;
  const Tensor y = eager.f({given.begin(), parameters});
  for (const Parameter& each : reads.parameters())
    if (std::find(eager.parameters.begin(), eager.parameters.end(), each) == eager.parameters.end())
      throw Error(fmt::format("parameter \"{}\" is read, which was not when the plan was made", each.name()));
  if (!y.defined() || y.symbolic()) throw Error("what runs eagerly within a plan gives no values");
  if (!(y.shape() == eager.output.shape) || y.dtype() != eager.output.dtype)
    throw Error(fmt::format("it gives {} {} where the plan was made for {} {}", name_of(y.dtype()), y.shape().text(),
                            name_of(eager.output.dtype), eager.output.shape.text()));
  return y;
}

Tensor copied(const View& view) {
  const Tensor copy = uninitialised(view.shape(), view.dtype);
  std::copy_n(view.bytes, copy.node().bytes(), copy.node().data);
  return copy;
}

void forward(const Eager& eager, Inputs in, Output out) {
  Recorded& recorded = *eager.recorded;
  const bool records = recorded.wanted > 0;
  Tensors given;
  for (std::size_t k = 0; k < in.size(); ++k) {
    Tensor x;
    if (k >= eager.inputs) x = eager.parameters[k - eager.inputs].value();
    if (!x.defined() || x.node().data != in[k].bytes) x = copied(in[k]);
    given.push_back(records && eager.wanted[k] ? variable(x) : x);
  }
  const std::uint64_t start = Node::next_number(0);
  const RecordingScope on(true);  // f may differentiate something itself
  const Tensor y = run(eager, given);
  std::copy_n(y.node().data, y.node().bytes(), out.bytes);
  if (!records) return;
  if (reached_from(y, given, start) != eager.reached)
    throw Error("its output depends on other inputs or parameters than when the plan was made");
  recorded.open = recorded.wanted;
  recorded.given = std::move(given);
  recorded.y = y;
}

// The gradients of some of the inputs behind one another.
struct EagerGradient {
  std::shared_ptr<Recorded> recorded;
  std::vector<std::size_t> of;
  Spec output{{}, f32};
  static constexpr std::tuple<> fields{};
};

void gradient_forward(const EagerGradient& gradient, Inputs in, Output out) {
  Recorded& recorded = *gradient.recorded;
  if (!recorded.y.defined()) throw Error("its function has not run in this run of the plan");
  const BackwardOptions options{.seed = copied(in[1])};
  const Gradients found =
      --recorded.open > 0 ? backward(recorded.y, options) : backward(std::move(recorded.y), options);
  std::byte* to = out.bytes;
  for (const std::size_t k : gradient.of) {
    const Tensor each = found[recorded.given[k]];
    to = std::copy_n(each.node().data, each.node().bytes(), to);
  }
  if (recorded.open == 0) recorded.given.clear();
}

const TypedOp<EagerGradient>& gradient_op() {
  static const TypedOp<EagerGradient> op(
      {.name = "eagerly_gradient",
       .doc = "The gradients of a function that a plan runs op by op.",
       .shape = [](const EagerGradient& gradient, const Specs&) -> Spec { return gradient.output; },
       .forward = gradient_forward,
       .work = kAlone});
  return op;
}

// The first input is there so that the function has run.
Tensors gradient_rule(const Eager& eager, const Call& call, const Tensor& g) {
  EagerGradient gradient{.recorded = eager.recorded, .of = {}, .output = {{}, g.dtype()}};
  std::int64_t elements = 0;
  for (std::size_t k = 0; k < call.size(); ++k) {
    if (!eager.reached[k] || !call.wants(k)) continue;
    if (call.dtype(k) != g.dtype())
      throw Error(fmt::format("what runs eagerly within a plan has gradients of {} and {}: they must be of one dtype",
                              name_of(g.dtype()), name_of(call.dtype(k))));
    gradient.of.push_back(k);
    elements += call.shape(k).elements();
  }
  Tensors all(call.size());
  if (gradient.of.empty()) return all;
  gradient.output.shape = Shape{elements};
  ++eager.recorded->wanted;
  const std::vector<std::size_t> of = gradient.of;
  const Tensor together = apply(gradient_op(), std::move(gradient), {call.output(), g});
  std::int64_t first = 0;
  for (const std::size_t k : of) {
    const std::int64_t last = first + call.shape(k).elements();
    all[k] = reshape(slice(together, 0, first, last), call.shape(k));
    first = last;
  }
  return all;
}

const TypedOp<Eager>& eager_op() {
  static const TypedOp<Eager> op({.name = "eagerly",
                                  .doc = "A function that a plan runs op by op.",
                                  .shape = [](const Eager& eager, const Specs&) -> Spec { return eager.output; },
                                  .forward = forward,
                                  .work = kAlone,
                                  .keeps = Keep::output,
                                  .gradient = gradient_rule});
  return op;
}

// Runs f once: what it gives and what it reads. Its inputs are recorded where those of the call are.
void learn(Eager& eager, Tensors& inputs) {
  Tensors given;
  for (const Tensor& x : inputs) {
    const Tensor stand_in = full(x.shape(), is_floating(x.dtype()) ? 1 : 0, x.dtype());
    given.push_back(x.recorded() ? variable(stand_in) : stand_in);
  }
  const std::uint64_t start = Node::next_number(0);
  const RecordingScope on(true);
  const TensorReadsScope alone;
  const ParameterReads reads;
  const Tensor y = eager.f(given);
  if (!y.defined() || y.symbolic()) throw Error("what runs eagerly within a plan gives no values");
  eager.output = {y.shape(), y.dtype()};
  eager.parameters = reads.parameters();
  given.insert(given.end(), reads.tensors().begin(), reads.tensors().end());
  for (const Tensor& x : given) eager.wanted.push_back(x.recorded());
  eager.reached = reached_from(y, given, start);
}

Tensor planned_eagerly(const Function& f, const Tensors& inputs, const std::string& why) {
  if (!LiftScope::active()) return f(inputs);
  Eager eager{.f = f,
              .why = why,
              .inputs = inputs.size(),
              .parameters = {},
              .wanted = {},
              .reached = {},
              .precision = products_precision(),
              .recorded = std::make_shared<Recorded>()};
  Tensors given = inputs;
  learn(eager, given);
  for (const Parameter& each : eager.parameters) given.push_back(each.tensor());
  if (std::none_of(given.begin(), given.end(), [](const Tensor& x) { return x.symbolic(); })) return f(inputs);
  return apply(eager_op(), std::move(eager), given);
}

}  // namespace

Tensor eagerly(const Function& f, const Tensors& inputs) { return planned_eagerly(f, inputs, "it is asked to"); }

Tensors planning::traced_or_eagerly(const std::function<Tensors()>& trace, const Function& f, const Tensors& inputs) {
  const std::uint64_t sets = lifted_sets();
  try {
    return trace();
  } catch (const Error& error) {
    if (!LiftScope::active() || lifted_sets() != sets) throw;  // what is half done cannot be done again
    try {
      const std::string why = error.what();
      return {planned_eagerly(f, inputs, why.substr(0, why.find('\n')))};
    } catch (const std::exception&) {
      // The first error tells more.
    }
    throw;
  }
}

const std::string* planning::why_eagerly(const Op& op, const Arguments* arguments) {
  return &op == &eager_op() ? &unboxed<Eager>(arguments).why : nullptr;
}

}  // namespace twopass
