#include <twopass/graph/plan/eagerly.h>

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <tuple>
#include <utility>

#include <twopass/core/parameter_reads.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/graph/plan/eager_stage.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/precision.h>
#include <twopass/ops/record.h>

namespace twopass {
namespace {

using namespace planning;

// What f is called with and gives. A call's inputs, its leaves, are f's, `inputs` of them, and then the parameters;
// its results are f's outputs, as far as they are defined, and then what the states hold behind it.
struct Eager {
  EagerFunction f;
  std::string why;
  std::size_t inputs = 0;
  Parameters parameters;
  std::vector<bool> recorded;  // which of the inputs derivatives pass through
  std::vector<bool> defined;   // which of f's outputs
  Parameters states;           // parameters that f sets, or may set
  Precision precision = Precision::single;
  EagerStagePointer stage;
  static constexpr std::tuple<> fields{};
};

void check_values(const Tensors& outputs) {
  for (const Tensor& y : outputs)
    if (y.defined() && y.symbolic()) throw Error("what runs eagerly within a plan gives no values");
}

// Behind f's inputs, the parameters; behind its outputs, what it leaves in the states.
void add_parameters(EagerStage& stage, const Parameters& states, const ParameterSandbox& sandbox) {
  for (const ParameterSandbox::Held& each : sandbox.held()) stage.leaves.push_back(each.leaf);
  for (const Parameter& state : states)
    for (const ParameterSandbox::Held& each : sandbox.held())
      if (each.parameter == state) stage.results.push_back(detach(each.now));
}

// Refuses outputs of other kinds than the plan was made for.
void check_outputs(const Eager& eager, const Tensors& outputs) {
  if (outputs.size() != eager.defined.size())
    throw Error(
        fmt::format("it gives {} outputs where the plan was made for {}", outputs.size(), eager.defined.size()));
  std::size_t result = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    if (outputs[k].defined() != eager.defined[k])
      throw Error(fmt::format("output {} is {}defined, which was not so when the plan was made", k,
                              outputs[k].defined() ? "" : "un"));
    if (!outputs[k].defined()) continue;
    const Spec& spec = eager.stage->specs[result++];
    if (!(outputs[k].shape() == spec.shape) || outputs[k].dtype() != spec.dtype)
      throw Error(fmt::format("it gives {} {} where the plan was made for {} {}", name_of(outputs[k].dtype()),
                              outputs[k].shape().text(), name_of(spec.dtype), spec.shape.text()));
  }
}

void check_sets(const Eager& eager, const ParameterSandbox& sandbox) {
  if (!sandbox.refused().empty()) throw Error(sandbox.refused());
  for (const ParameterSandbox::Held& each : sandbox.held())
    if (each.set && std::find(eager.states.begin(), eager.states.end(), each.parameter) == eager.states.end())
      throw Error(fmt::format("parameter \"{}\" is set, which was not when the plan was made", each.parameter.name()));
}

// f on values; `values` are its inputs and those of the parameters.
void forward(const Eager& eager, Inputs in, Output out) {
  EagerStage& stage = *eager.stage;
  Tensors inputs, values;
  for (std::size_t k = 0; k < in.size(); ++k) {
    if (k < eager.inputs) {
      const Tensor x = copied(in[k]);
      inputs.push_back(stage.asked && eager.recorded[k] ? variable(x) : x);
      continue;
    }
    const Tensor now = eager.parameters[k - eager.inputs].value();
    values.push_back(now.node().data == in[k].bytes ? now : copied(in[k]));
  }
  const RecordingScope on(true);  // f may differentiate something itself
  const PrecisionScope precision(eager.precision);
  stage.leaves = inputs;
  const ParameterSandbox sandbox(eager.parameters, values);
  stage.start = Node::next_number(0);
  const Tensors outputs = eager.f(inputs);
  check_sets(eager, sandbox);
  check_values(outputs);
  check_outputs(eager, outputs);
  stage.results.clear();
  for (const Tensor& y : outputs)
    if (y.defined()) stage.results.push_back(y);
  add_parameters(stage, eager.states, sandbox);
  finish_stage(stage, out);
}

const TypedOp<Eager>& eager_op() {
  static const TypedOp<Eager> op({.name = "eagerly",
                                  .doc = "A function that a plan runs op by op.",
                                  .shape = [](const Eager& eager, const Specs&) -> Spec {
                                    const std::vector<Spec>& specs = eager.stage->specs;
                                    return specs.size() == 1 ? specs[0] : Spec{Shape{}, f32};
                                  },
                                  .forward = forward,
                                  .work = kAlone,
                                  .gradient = [](const Eager& eager, const Call& call,
                                                 const Tensor& g) { return stage_gradients(eager.stage, call, g); }});
  return op;
}

// Runs f once on ones and zeros, to see what it gives, and what it does to parameters; these keep what they hold.
Tensors tried(const EagerFunction& f, const std::vector<Spec>& inputs, const std::vector<bool>& recorded,
              EagerStage& stage) {
  Tensors given;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const Tensor x = full(inputs[k].shape, is_floating(inputs[k].dtype) ? 1 : 0, inputs[k].dtype);
    given.push_back(recorded[k] ? variable(x) : x);
  }
  stage.leaves = given;
  stage.start = Node::next_number(0);
  const Tensors outputs = f(given);
  check_values(outputs);
  stage.results.clear();
  for (const Tensor& y : outputs)
    if (y.defined()) stage.results.push_back(y);
  return outputs;
}

void learn(Eager& eager, const Tensors& inputs, const Parameters& may_set) {
  EagerStage& stage = *eager.stage;
  const RecordingScope on(true);
  ParameterSandbox sandbox;
  std::vector<Spec> specs;
  for (const Tensor& x : inputs) {
    specs.push_back({x.shape(), x.dtype()});
    eager.recorded.push_back(x.recorded());
  }
  for (const Tensor& y : tried(eager.f, specs, eager.recorded, stage)) eager.defined.push_back(y.defined());
  for (const Parameter& state : may_set) sandbox.take(state);
  for (const ParameterSandbox::Held& each : sandbox.held()) {
    eager.parameters.push_back(each.parameter);
    if (each.set || std::find(may_set.begin(), may_set.end(), each.parameter) != may_set.end())
      eager.states.push_back(each.parameter);
  }
  add_parameters(stage, eager.states, sandbox);
  for (const Tensor& y : stage.results) stage.specs.push_back({y.shape(), y.dtype()});
  stage.reached = reached_in(stage);
  stage.attempt = [f = eager.f, specs, recorded = eager.recorded, parameters = eager.parameters,
                   states = eager.states](EagerStage& own) {
    const RecordingScope again(true);
    ParameterSandbox fresh;
    for (const Parameter& each : parameters) fresh.take(each);
    tried(f, specs, recorded, own);
    add_parameters(own, states, fresh);
  };
}

Tensors planned_eagerly(const EagerFunction& f, const Tensors& inputs, const std::string& why,
                        const Parameters& may_set) {
  if (!LiftScope::active()) return f(inputs);
  Eager eager{.f = f,
              .why = why,
              .inputs = inputs.size(),
              .parameters = {},
              .recorded = {},
              .defined = {},
              .states = {},
              .precision = products_precision(),
              .stage = std::make_shared<EagerStage>()};
  learn(eager, inputs, may_set);
  Tensors given = inputs;
  for (const Parameter& each : eager.parameters) given.push_back(each.tensor());
  if (std::none_of(given.begin(), given.end(), [](const Tensor& x) { return x.symbolic(); })) return f(inputs);
  const std::vector<bool> defined = eager.defined;
  const Parameters states = eager.states;
  const EagerStagePointer stage = eager.stage;
  Tensors results, outputs;
  if (!stage->specs.empty()) results = apply_stage(eager_op(), boxed(std::move(eager)), given, stage);
  auto next = results.begin();
  for (const bool there : defined) outputs.push_back(there ? *next++ : Tensor());
  for (const Parameter& state : states) state.set(*next++);
  return outputs;
}

}  // namespace

Tensor eagerly(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs) {
  return planned_eagerly([f](const Tensors& given) { return Tensors{f(given)}; }, inputs, "it is asked to", {})[0];
}

Tensors eagerly(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs) {
  return planned_eagerly(f, inputs, "it is asked to", {});
}

Tensors planning::traced_or_eagerly(const std::function<Tensors()>& trace, const EagerFunction& f,
                                    const Tensors& inputs, const Parameters& states) {
  const LiftedSets before;
  try {
    return trace();
  } catch (const Error& error) {
    if (!LiftScope::active()) throw;
    before.undo();
    try {
      const std::string why = error.what();
      return planned_eagerly(f, inputs, why.substr(0, why.find('\n')), states);
    } catch (const std::exception&) {
      before.undo();  // The first error tells more.
    }
    throw;
  }
}

const std::string* planning::why_eagerly(const Op& op, const Arguments* arguments) {
  return &op == &eager_op() ? &unboxed<Eager>(arguments).why : nullptr;
}

ArgumentsPointer planning::function_with_own_stage(const Op& op, const ArgumentsPointer& arguments, EagerStages& own) {
  if (&op != &eager_op()) return {};
  Eager eager = unboxed<Eager>(arguments.get());
  eager.stage = own_stage(eager.stage, own);
  return boxed(std::move(eager));
}

EagerStagePointer planning::stage_of_function(const Op& op, const Arguments* arguments) {
  return &op == &eager_op() ? unboxed<Eager>(arguments).stage : nullptr;
}

}  // namespace twopass
