#include <twopass/graph/plan/eager_stage.h>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>

namespace twopass::planning {
namespace {

// Result number `result` of a stage, or where that is differentiated the gradient of it.
struct Part {
  EagerStagePointer stage;
  std::size_t result = 0;
  static constexpr std::tuple<> fields{};
};

// The call that differentiates the results `seeded` of a stage for some of its leaves. Its inputs are that stage's
// call, that stage's leaves, which its kernel does not read, the gradients of the results, and the parameters that
// gradient rules read.
struct EagerGradient {
  EagerStagePointer of, stage;
  std::vector<std::size_t> seeded, wanted;
  Parameters parameters;
  std::size_t seeds_from = 0;  // among the inputs
  static constexpr std::tuple<> fields{};
};

// In place of the gradient of one of several results, so that their call sees which have one and each of them apart.
const TypedOp<Part>& seed_op() {
  static const TypedOp<Part> op(
      {.name = "eagerly_seed",
       .doc = "The gradient of a result of a function that a plan runs op by op, for that function's call.",
       .shape = [](const Part&, const Specs&) -> Spec {
         return {Shape{}, f32};
       },
       .forward = [](const Part&, Inputs, Output out) { *out.data<float>() = 0; },
       .work = kAlone});
  return op;
}

void part_forward(const Part& part, Inputs, Output out) {
  if (part.stage->values.empty()) throw Error("its function has not run in this run of the plan");
  const Tensor x = std::exchange(part.stage->values[part.result], Tensor());
  std::copy_n(x.node().data, x.node().bytes(), out.bytes);
}

const TypedOp<Part>& part_op() {
  static const TypedOp<Part> op(
      {.name = "eagerly_result",
       .doc = "One of several results of a function that a plan runs op by op.",
       .shape = [](const Part& part, const Specs&) -> Spec { return part.stage->specs[part.result]; },
       .forward = part_forward,
       .work = kAlone,
       .gradient = [](const Part& part, const Call&, const Tensor& g) -> Tensors {
         return {remember(seed_op(), boxed(part), std::span(&g, 1), {Shape{}, f32})};
       }});
  return op;
}

using Seeds = std::map<std::size_t, Tensor>;  // by the number of the result

// g is a sum of what stands for gradients of results.
Seeds seeds_in(const Tensor& g, const EagerStagePointer& stage) {
  if (stage->specs.size() == 1) return {{0, g}};
  static const Op* const add = find_op("add");
  Seeds seeds;
  Tensors open{g};
  while (!open.empty()) {
    Node& node = open.back().node();
    const Tensor kept = std::exchange(open.back(), Tensor());
    open.pop_back();
    if (node.op == &seed_op() && unboxed<Part>(node.arguments.get()).stage == stage) {
      seeds.emplace(unboxed<Part>(node.arguments.get()).result, Tensor(node.edges()[0].node()));
    } else if (node.op == add) {
      for (const Node::Edge& edge : node.edges()) open.emplace_back(edge.node());
    } else {
      throw Error(
          "a function of several results that runs eagerly within a plan has derivatives in reverse mode alone");
    }
  }
  return seeds;
}

// The gradients of the stage's results for its leaves.
Gradients differentiated(EagerStage& of, const std::vector<std::size_t>& seeded, const Tensors& seeds, bool record,
                         bool last) {
  Tensors roots, gradients;
  for (std::size_t k = 0; k < seeded.size(); ++k) {
    const Tensor& y = of.results[seeded[k]];
    if (!y.recorded()) continue;
    roots.push_back(y);
    gradients.push_back(seeds[k]);
  }
  if (last) of.results.clear();
  return backward(std::move(roots), std::move(gradients), record);
}

// That of a parameter is the sum over all values that it had.
Tensor gradient_of(const Gradients& found, const Tensor& leaf) {
  const Parameter parameter = Parameter::of(leaf);
  return parameter.defined() ? found[parameter] : found[leaf];
}

// A rule may catch the error.
void check_rules(const ParameterSandbox& sandbox) {
  if (!sandbox.refused().empty()) throw Error("what differentiates it: " + sandbox.refused());
  for (const ParameterSandbox::Held& each : sandbox.held())
    if (each.set)
      throw Error(
          fmt::format("parameter \"{}\" is set by what differentiates a function that runs eagerly within a plan",
                      each.parameter.name()));
}

void fill(EagerStage& stage, EagerStage& of, const Tensors& seeds, const std::vector<std::size_t>& wanted,
          const Gradients& found, const ParameterSandbox& sandbox) {
  check_rules(sandbox);
  stage.start = of.start;
  stage.leaves = of.leaves;
  stage.leaves.insert(stage.leaves.end(), seeds.begin(), seeds.end());
  for (const ParameterSandbox::Held& each : sandbox.held()) stage.leaves.push_back(each.leaf);
  stage.results.clear();
  for (const std::size_t k : wanted) stage.results.push_back(gradient_of(found, of.leaves[k]));
}

void gradient_forward(const EagerGradient& gradient, Inputs in, Output out) {
  EagerStage &of = *gradient.of, &stage = *gradient.stage;
  if (of.results.empty()) throw Error("its function has not run in this run of the plan");
  Tensors seeds, values;
  std::size_t next = 1;
  for (; next <= gradient.seeded.size(); ++next)
    seeds.push_back(stage.asked ? variable(copied(in[next])) : copied(in[next]));
  for (; next < in.size(); ++next) values.push_back(copied(in[next]));
  const bool last = --of.open == 0;
  const ParameterSandbox sandbox(gradient.parameters, values);
  const Gradients found = differentiated(of, gradient.seeded, seeds, stage.asked, last);
  fill(stage, of, seeds, gradient.wanted, found, sandbox);
  if (last) of.leaves.clear();
  finish_stage(stage, out);
}

const TypedOp<EagerGradient>& gradient_op() {
  static const TypedOp<EagerGradient> op(
      {.name = "eagerly_gradient",
       .doc = "The gradients of a function that a plan runs op by op.",
       .shape = [](const EagerGradient& gradient, const Specs&) -> Spec {
         return gradient.stage->specs.size() == 1 ? gradient.stage->specs[0] : Spec{Shape{}, f32};
       },
       .forward = gradient_forward,
       .work = kAlone,
       .gradient = [](const EagerGradient& gradient, const Call& call,
                      const Tensor& g) { return stage_gradients(gradient.stage, call, g); }});
  return op;
}

void try_out(EagerStage& stage) {
  if (stage.results.empty()) stage.attempt(stage);
  if (stage.reached.empty()) stage.reached = reached_in(stage);
}

Tensors ones_for(const EagerStage& of, const std::vector<std::size_t>& seeded) {
  Tensors ones;
  for (const std::size_t k : seeded) ones.push_back(variable(full(of.specs[k].shape, 1, of.specs[k].dtype)));
  return ones;
}

// What they hold outside of the plan.
Tensors values_outside(const Parameters& parameters) {
  const ParameterSandbox none_set;
  Tensors values;
  for (const Parameter& each : parameters) values.push_back(each.value());
  return values;
}

std::function<void(EagerStage&)> attempt_of(const EagerGradient& gradient) {
  return [of = gradient.of, seeded = gradient.seeded, wanted = gradient.wanted,
          parameters = gradient.parameters](EagerStage& own) {
    try_out(*of);
    const Tensors ones = ones_for(*of, seeded);
    const ParameterSandbox sandbox(parameters, values_outside(parameters));
    const Gradients found = differentiated(*of, seeded, ones, true, false);
    fill(own, *of, ones, wanted, found, sandbox);
  };
}

// The parameters that gradient rules read when the stage is differentiated, which was tried; these have the values
// that they have then, not those from before the run.
Parameters read_by_rules(EagerStage& of, const std::vector<std::size_t>& seeded) {
  const ParameterSandbox sandbox;
  differentiated(of, seeded, ones_for(of, seeded), false, false);
  check_rules(sandbox);
  Parameters parameters;
  for (const ParameterSandbox::Held& each : sandbox.held()) parameters.push_back(each.parameter);
  return parameters;
}

bool of_one_parameter(const Node& a, const Node& b) {
  const LeafArguments *const one = a.leaf(), *const other = b.leaf();
  return one && other && one->parameter != 0 && one->parameter == other->parameter;
}

// The number of the leaf whose gradient that of leaf k is part of: a parameter may be read by the function, and again
// by its gradient rule.
std::size_t first_of(const EagerStage& stage, const Call& call, std::size_t k) {
  const Tensors& leaves = stage.leaves;
  for (std::size_t j = 0; j < k; ++j) {
    if (!of_one_parameter(leaves[j].node(), leaves[k].node())) continue;
    if (&call.input(stage.first + j).node() == &call.input(stage.first + k).node()) return j;
    throw Error(
        fmt::format("the gradient rule of a function that runs eagerly within a plan has a derivative for "
                    "parameter \"{}\", which was set since the function ran",
                    leaves[k].node().leaf()->name));
  }
  return k;
}

}  // namespace

Tensor copied(const View& view) {
  const Tensor copy = uninitialised(view.shape(), view.dtype);
  std::copy_n(view.bytes, copy.node().bytes(), copy.node().data);
  return copy;
}

std::vector<std::vector<bool>> reached_in(const EagerStage& stage) {
  std::vector<std::vector<bool>> all;
  for (const Tensor& y : stage.results) {
    std::vector<bool>& reached = all.emplace_back(stage.leaves.size(), false);
    if (!y.recorded()) continue;
    for (const Node* node : nodes_behind({y}, stage.start)) {
      if (!node->is(Node::kRecorded)) continue;
      auto own = std::find_if(stage.leaves.begin(), stage.leaves.end(),
                              [&](const Tensor& each) { return &each.node() == node; });
      if (own == stage.leaves.end())
        own = std::find_if(stage.leaves.begin(), stage.leaves.end(),
                           [&](const Tensor& each) { return of_one_parameter(each.node(), *node); });
      if (own != stage.leaves.end())
        reached[static_cast<std::size_t>(own - stage.leaves.begin())] = true;
      else if (node->number <= stage.start)
        throw Error("what runs eagerly within a plan depends on a recorded tensor that is none of its inputs");
    }
  }
  return all;
}

Tensors apply_stage(const Op& op, ArgumentsPointer arguments, const Tensors& inputs, const EagerStagePointer& stage) {
  const Tensor y = apply(op, std::move(arguments), std::span<const Tensor>(inputs));
  if (stage->specs.size() == 1) return {y};
  Tensors results;
  for (std::size_t k = 0; k < stage->specs.size(); ++k) results.push_back(apply(part_op(), Part{stage, k}, {y}));
  return results;
}

void finish_stage(EagerStage& stage, const Output& out) {
  if (stage.asked && reached_in(stage) != stage.reached)
    throw Error("its output depends on other inputs or parameters than when the plan was made");
  if (stage.results.size() == 1) {
    const Node& y = stage.results[0].node();
    std::copy_n(y.data, y.bytes(), out.bytes);
  } else {
    *reinterpret_cast<float*>(out.bytes) = 0;
    stage.values.clear();
    for (const Tensor& y : stage.results) stage.values.push_back(detach(y));
  }
  stage.open = stage.readers;
  if (stage.readers > 0) return;
  stage.leaves.clear();
  stage.results.clear();
}

Tensors stage_gradients(const EagerStagePointer& stage, const Call& call, const Tensor& g) {
  try_out(*stage);
  stage->asked = true;
  const Seeds seeds = seeds_in(g, stage);
  Tensors all(call.size()), inputs{call.output()};
  EagerGradient gradient{
      .of = stage, .stage = std::make_shared<EagerStage>(), .seeded = {}, .wanted = {}, .parameters = {}};
  std::vector<bool> reached(stage->leaves.size(), false);
  for (const auto& [result, seed] : seeds) {
    gradient.seeded.push_back(result);
    for (std::size_t k = 0; k < reached.size(); ++k)
      if (stage->reached[result][k]) reached[first_of(*stage, call, k)] = true;
  }
  for (std::size_t k = 0; k < stage->leaves.size(); ++k) {
    inputs.push_back(call.input(stage->first + k));
    if (!reached[k] || !call.wants(stage->first + k)) continue;
    gradient.wanted.push_back(k);
    gradient.stage->specs.push_back({call.shape(stage->first + k), call.dtype(stage->first + k)});
  }
  if (gradient.wanted.empty()) return all;
  gradient.seeds_from = inputs.size();
  for (const auto& [result, seed] : seeds) inputs.push_back(seed);
  gradient.parameters = read_by_rules(*stage, gradient.seeded);
  for (const Parameter& each : gradient.parameters) inputs.push_back(each.tensor());
  gradient.stage->first = 1;
  gradient.stage->attempt = attempt_of(gradient);
  const std::vector<std::size_t> wanted = gradient.wanted;
  const EagerStagePointer made = gradient.stage;
  const Tensors found = apply_stage(gradient_op(), boxed(std::move(gradient)), inputs, made);
  for (std::size_t k = 0; k < wanted.size(); ++k) all[stage->first + wanted[k]] = found[k];
  return all;
}

bool reads_input(const Op& op, const Arguments* arguments, std::size_t k) {
  return &op != &gradient_op() || k == 0 || k >= unboxed<EagerGradient>(arguments).seeds_from;
}

EagerStagePointer differentiated_stage(const Op& op, const Arguments* arguments) {
  return &op == &gradient_op() ? unboxed<EagerGradient>(arguments).of : nullptr;
}

EagerStagePointer eager_stage(const Op& op, const Arguments* arguments) {
  if (&op == &gradient_op()) return unboxed<EagerGradient>(arguments).stage;
  if (&op == &part_op()) return unboxed<Part>(arguments).stage;
  return stage_of_function(op, arguments);
}

EagerStagePointer own_stage(const EagerStagePointer& stage, EagerStages& own) {
  EagerStagePointer& made = own[stage.get()];
  if (made) return made;
  made = std::make_shared<EagerStage>();
  made->specs = stage->specs;
  made->first = stage->first;
  made->reached = stage->reached;
  made->attempt = stage->attempt;
  made->asked = stage->asked;
  return made;
}

ArgumentsPointer with_own_stages(const Op& op, const ArgumentsPointer& arguments, EagerStages& own) {
  if (&op == &part_op()) {
    const Part& part = unboxed<Part>(arguments.get());
    return boxed(Part{own_stage(part.stage, own), part.result});
  }
  if (&op != &gradient_op()) return function_with_own_stage(op, arguments, own);
  EagerGradient gradient = unboxed<EagerGradient>(arguments.get());
  gradient.of = own_stage(gradient.of, own);
  gradient.stage = own_stage(gradient.stage, own);
  gradient.stage->attempt = attempt_of(gradient);
  return boxed(std::move(gradient));
}

void release(EagerStage& stage) {
  stage.leaves.clear();
  stage.results.clear();
  stage.values.clear();
}

std::vector<EagerStagePointer> ready_stages(const std::vector<std::pair<const Op*, const Arguments*>>& calls) {
  std::vector<EagerStagePointer> stages;
  std::map<EagerStage*, int> readers;
  for (const auto& [op, arguments] : calls) {
    if (const EagerStagePointer stage = eager_stage(*op, arguments)) stages.push_back(stage);
    ++readers[differentiated_stage(*op, arguments).get()];
  }
  for (const EagerStagePointer& stage : stages) {
    release(*stage);
    stage->readers = readers[stage.get()];
  }
  return stages;
}

}  // namespace twopass::planning
