#include <twopass/graph/plan/plan.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/finite.h>
#include <twopass/graph/plan/body.h>
#include <twopass/graph/plan/passes.h>
#include <twopass/graph/plan/trace.h>
#include <twopass/ops/anomaly.h>
#include <twopass/ops/gemm.h>

namespace twopass {

using namespace planning;

namespace {

// Whether memory can be given for a value to be made in: a call makes it, and nothing else has been given for it.
bool made_outside(const Machine& machine, ValueId value) {
  return machine.program().values[value].kind == Value::Kind::computed &&
         machine.layout().places[value].kind == Place::Kind::outside;
}

void check_names(const std::vector<std::string>& names, std::size_t count, const std::string& what) {
  if (!names.empty() && names.size() != count)
    throw Error(fmt::format("plan: {} for {}", counted(names.size(), what + " name"), counted(count, what)));
}

// What passes that are left out would have done.
void complete(Program& program) {
  if (program.steps.empty())
    for (std::size_t k = 0; k < program.calls.size(); ++k) program.steps.push_back({k, 1});
  if (program.moments.empty())
    for (std::size_t k = 0; k < program.steps.size(); ++k) program.moments.push_back({{{k, 1}}});
}

[[noreturn]] void refuse_update(const Program::Update& update) {
  throw Error(fmt::format("the new value of parameter \"{}\" is not finite; nothing was changed", update.name));
}

}  // namespace

Plan plan(const PlanFunction& f, const Tensors& inputs, const PlanOptions& options) {
  if (!f) throw Error("plan: the function is empty");
  check_plan_passes(options.without, "plan");
  check_names(options.input_names, inputs.size(), "input");
  std::vector<Spec> specs;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!inputs[k].defined()) throw Error(fmt::format("plan: input {} is an undefined tensor", k));
    if (inputs[k].shape().open())
      throw Error(
          fmt::format("plan: input {} has an open axis, {}, but a plan is for sizes that are known: give it a "
                      "tensor of the shape that it will run with, such as zeros",
                      k, inputs[k].shape().text()));
    specs.push_back({inputs[k].shape(), inputs[k].dtype()});
  }
  auto traced = trace(f, specs, options);
  Program& program = traced.first;
  std::vector<Plan::Stage> stages;
  const auto without = [&](const char* name) {
    return std::find(options.without.begin(), options.without.end(), name) != options.without.end();
  };
  const auto keep_stage = [&](const char* name) {
    if (options.keep_stages) stages.push_back({name, program.text()});
  };
  check_names(options.output_names, program.outputs.size(), "output");
  keep_stage("trace");
  for (const Pass& pass : all_passes()) {
    if (without(pass.name)) continue;
    pass.run(program);
    keep_stage(pass.name);
  }
  complete(program);
  const Processor code = without("code")     ? Processor::none
                         : without("avx512") ? std::min(processor(), Processor::avx2)
                                             : processor();
  const bool share = !without("layout");
  std::unique_ptr<const Machine> narrower;  // the stage before the last, where that is for AVX-512
  if (options.keep_stages && code == Processor::avx512)
    narrower = std::make_unique<Machine>(program, Processor::avx2, share);
  const auto body = std::make_shared<Plan::Body>(std::move(program), code, share);
  body->turns = !without("turn");
  if (options.keep_stages) {
    if (share) stages.push_back({"layout", body->text(false, nullptr)});
    if (body->turns) stages.push_back({"turn", body->text(true, nullptr)});
    if (narrower) stages.push_back({"code", body->text(true, narrower.get())});
    if (code != Processor::none) stages.push_back({narrower ? "avx512" : "code", body->text(true, &body->machine)});
  }
  body->stages = std::move(stages);
  body->traced = std::move(traced.second);
  return Plan(body);
}

Plan::Body::Body(Program program, Processor processor, bool share) : machine(std::move(program), processor, share) {
  for (ValueId id = 0; id < machine.program().values.size(); ++id)
    if (machine.program().values[id].kind == Value::Kind::parameter) parameters.push_back(id);
  for (const Program::Update& update : machine.program().updates) changed.push_back(update.parameter);
  std::vector<std::pair<const Op*, const Arguments*>> calls;
  for (const PlannedCall& call : machine.program().calls) calls.emplace_back(call.op, call.arguments.get());
  eager_stages = ready_stages(calls);
}

void Plan::Body::check_inputs(const Tensors& inputs) const {
  const bool symbols = LiftScope::active();
  const Program& program = machine.program();
  if (inputs.size() != program.inputs.size())
    throw Error(fmt::format("a plan of {} was given {}", counted(program.inputs.size(), "input"), inputs.size()));
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const Spec& wanted = program.spec(program.inputs[k]);
    if (!inputs[k].defined()) throw Error(fmt::format("input {} of a plan is an undefined tensor", k));
    if ((inputs[k].symbolic() && !symbols) || !(inputs[k].shape() == wanted.shape) || inputs[k].dtype() != wanted.dtype)
      throw Error(fmt::format("input {} of a plan is {}{} {} where it was planned for {} {}", k,
                              inputs[k].symbolic() ? "a symbol of " : "", name_of(inputs[k].dtype()),
                              inputs[k].shape().text(), name_of(wanted.dtype), wanted.shape.text()));
    if (inputs[k].recorded() && recording() && !symbols)
      throw Error(
          fmt::format("input {} of a plan is recorded, but no derivative passes through a plan's run: take it "
                      "in the plan's function, or give the plan detach(x)",
                      k));
  }
}

void Plan::Body::bind_inputs(const Tensors& inputs) {
  check_inputs(inputs);
  const Program& program = machine.program();
  for (std::size_t k = 0; k < inputs.size(); ++k) machine.bind(program.inputs[k], inputs[k].node().data);
}

void Plan::Body::bind_parameters() {
  held.clear();
  for (const ValueId id : parameters) {
    const Value& value = machine.program().values[id];
    held.push_back(value.parameter.tensor());
    const Tensor& now = held.back();
    if (recording() && now.recorded() && !now.node().is(Node::kLeaf))
      throw Error(
          fmt::format("parameter \"{}\" of a plan is recorded as something else's result, but no derivative passes "
                      "through a plan's run: take it in the plan's function",
                      value.name));
    if (now.symbolic() || now.dtype() != value.spec.dtype)
      throw Error(fmt::format("parameter \"{}\" of a plan is {}{} where it was planned for {}", value.name,
                              now.symbolic() ? "a symbol of " : "", name_of(now.dtype()), name_of(value.spec.dtype)));
    machine.bind(id, now.node().data);
  }
}

void Plan::Body::bind_results() {
  const Program& program = machine.program();
  outputs.resize(program.outputs.size());
  updates.resize(program.updates.size());
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ValueId root = program.root(program.updates[k].value);
    if (!updates[k]) updates[k] = Buffer(static_cast<std::size_t>(program.values[program.updates[k].value].bytes()));
    if (made_outside(machine, root) && program.whole(program.updates[k].value)) machine.bind(root, updates[k].data());
  }
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Spec& spec = program.spec(program.outputs[k]);
    Tensor& output = outputs[k];
    const bool free =
        output.defined() && output.node().only_handle() && (!output.node().buffer || output.node().buffer.unique());
    if (!free) output = uninitialised(spec.shape, spec.dtype);
    // An update's memory goes to its parameter: what is an output too is copied from there.
    const ValueId root = program.root(program.outputs[k]);
    const bool updated = std::any_of(program.updates.begin(), program.updates.end(),
                                     [&](const Program::Update& update) { return program.root(update.value) == root; });
    if (made_outside(machine, root) && program.whole(program.outputs[k]) && !updated)
      machine.bind(root, output.node().data);
  }
}

void Plan::Body::copy_results() {
  const Program& program = machine.program();
  for (std::size_t k = 0; k < outputs.size(); ++k)
    if (std::byte* const from = machine.pointer(program.outputs[k]); from != outputs[k].node().data)
      std::memcpy(outputs[k].node().data, from, outputs[k].node().bytes());
  for (std::size_t k = 0; k < updates.size(); ++k)
    if (std::byte* const from = machine.pointer(program.updates[k].value); from != updates[k].data())
      std::memcpy(updates[k].data(), from, static_cast<std::size_t>(program.values[program.updates[k].value].bytes()));
}

void Plan::Body::let_go() {
  held.clear();
  for (const EagerStagePointer& stage : eager_stages) release(*stage);
}

void Plan::Body::commit() {
  let_go();  // so that a parameter is its value's one holder
  Parameter::exchange_all(changed, updates);
}

Tensors Plan::Body::inlined(const Tensors& inputs) const {
  check_inputs(inputs);
  if (precision != products_precision())
    throw Error("a plan is called while another is traced, whose products have another precision");
  return traced->inlined(inputs);
}

Tensors Plan::Body::op_by_op(const Tensors& inputs, const std::function<void(const Tensors&)>& check) {
  check_inputs(inputs);
  bind_parameters();
  const PrecisionScope scope(precision);
  const auto [results, values] = traced->op_by_op(inputs);
  if (check) check(results);
  for (std::size_t k = 0; k < values.size(); ++k)
    if (!all_finite(values[k].node().data, values[k].elements(), values[k].dtype()))
      refuse_update(machine.program().updates[k]);
  Parameter::set_all(changed, values);
  return results;
}

Plan::Body::Running::Running(Body& body) : body_(body), lock_(body.mutex, std::defer_lock) {
  if (body.runner == std::this_thread::get_id())
    throw Error("a plan is run while it runs: in its own check, or in a function that it calls");
  lock_.lock();
  body.runner = std::this_thread::get_id();
}
Plan::Body::Running::~Running() {
  body_.let_go();
  body_.runner = std::thread::id();
}

Plan::Body& Plan::checked_body() const {
  if (!body_) throw Error("a plan was used that was never given a value, or moved from");
  return *body_;
}

Tensors Plan::run(const Tensors& inputs, const std::function<void(const Tensors&)>& check) const {
  Tensors outputs;
  run_into(outputs, inputs, check);
  return outputs;
}

void Plan::run_into(Tensors& outputs, const Tensors& inputs, const std::function<void(const Tensors&)>& check) const {
  Body& own = checked_body();
  if (&outputs == &inputs) return run_into(outputs, Tensors(inputs), check);
  outputs.clear();
  if (LiftScope::active()) {
    outputs = own.inlined(inputs);
    return;
  }
  const Body::Running running(own);
  if (AnomalyScope::current()) {
    outputs = own.op_by_op(inputs, check);
    return;
  }
  outputs.reserve(own.outputs.size());  // before anything changes: it may fail
  own.bind_inputs(inputs);
  own.bind_parameters();
  own.bind_results();
  const PrecisionScope precision(own.precision);
  const TurnScope turns(own.turns);
  const std::size_t not_finite = own.machine.run();
  own.copy_results();
  if (check) check(own.outputs);
  const auto& updates = own.machine.program().updates;
  if (not_finite < updates.size()) refuse_update(updates[not_finite]);
  own.commit();
  outputs.assign(own.outputs.begin(), own.outputs.end());
}

std::vector<Plan::Stage> Plan::stages() const {
  if (checked_body().stages.empty()) throw Error("a plan has stages only where it was made with .keep_stages = true");
  return checked_body().stages;
}
std::int64_t Plan::arena_bytes() const { return checked_body().machine.layout().arena_bytes; }
std::int64_t Plan::least_arena_bytes() const { return checked_body().machine.layout().lower_bound; }
std::size_t Plan::steps() const { return checked_body().machine.program().steps.size(); }

std::int64_t Plan::peak_bytes() const { return checked_body().peak_bytes(); }

std::int64_t Plan::Body::peak_bytes() const {
  const Program& program = machine.program();
  const PrecisionScope scope(precision);
  const TurnScope turning(turns);
  std::int64_t bytes = machine.layout().arena_bytes + machine.scratch_bytes();
  for (const ValueId output : program.outputs) bytes += program.values[output].bytes();
  for (const Program::Update& update : program.updates) bytes += program.values[update.value].bytes();
  return bytes;
}

const char* planning::text_of(Processor processor) {
  switch (processor) {
    case Processor::avx512:
      return "machine code for AVX-512";
    case Processor::avx2:
      return "machine code for AVX2";
    case Processor::none:
      return "kernels only";
  }
  return "";
}

std::string plan_code() { return text_of(processor()); }

}  // namespace twopass
