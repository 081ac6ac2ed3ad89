// Plans as pictures: steps that run block by block as frames.
#include <fmt/format.h>

#include <unordered_map>

#include <twopass/graph/dot/dot.h>
#include <twopass/graph/dot/record.h>
#include <twopass/graph/dot/writer.h>
#include <twopass/graph/plan/body.h>

namespace twopass {
namespace {

using namespace planning;

class PlanDrawing {
 public:
  explicit PlanDrawing(const Plan& plan)
      : machine_(plan.body().machine), program_(machine_.program()), writer_("plan") {}

  std::string draw() {
    for (std::size_t index = 0; index < program_.steps.size(); ++index) draw_step(index);
    for (std::size_t k = 0; k < program_.outputs.size(); ++k) lead(program_.outputs[k], program_.output_names[k]);
    for (const Program::Update& update : program_.updates) lead(update.value, fmt::format("new \"{}\"", update.name));
    return writer_.text();
  }

 private:
  // "%0 image" as texts number values.
  static std::string label_of(ValueId id, const Value& value) { return fmt::format("%{} {}", id, source_of(value)); }
  static std::string source_of(const Value& value) {
    const std::string spec = spec_text(value.spec.shape, value.spec.dtype);
    switch (value.kind) {
      case Value::Kind::input:
        return value.name + "\n" + spec;
      case Value::Kind::parameter:
        return (value.name.empty() ? "parameter" : value.name) + "\n" + spec;
      default:
        return value.constant.elements() == 1 ? value.constant.text() : "constant\n" + spec;
    }
  }

  // The node of what a value's memory comes from, made when it is first read.
  std::size_t node_of(ValueId id) {
    const ValueId root = program_.root(id);
    if (const auto known = nodes_.find(root); known != nodes_.end()) return known->second;
    const Value& value = program_.values[root];
    const DotStyle style = value.kind == Value::Kind::input       ? DotStyle::input
                           : value.kind == Value::Kind::parameter ? DotStyle::parameter
                                                                  : DotStyle::constant;
    return nodes_[root] = writer_.node(label_of(root, value), style);
  }

  void draw_step(std::size_t index) {
    const Step& step = program_.steps[index];
    const auto calls = [&](const auto& f) {
      for (std::size_t k = step.first; k < step.first + step.count; ++k) f(program_.calls[k]);
    };
    calls([&](const PlannedCall& call) {
      for (const ValueId input : call.inputs)
        if (program_.values[program_.root(input)].kind != Value::Kind::computed) node_of(input);
    });
    if (step.rows)
      writer_.open(fmt::format("step {}: {} rows in blocks of {}", index, step.rows, machine_.block_rows(index)),
                   DotStyle::layer);
    calls([&](const PlannedCall& call) {
      const Place& place = machine_.layout().places[call.output];
      const std::string where = place.kind == Place::Kind::arena ? fmt::format("\narena + {}", place.offset) : "";
      const Spec& spec = program_.spec(call.output);
      nodes_[call.output] = writer_.node(call_label(fmt::format("%{} {}", call.output, call.op->name()), *call.op,
                                                    call.arguments.get(), spec_text(spec.shape, spec.dtype) + where),
                                         DotStyle::op);
    });
    if (step.rows) writer_.close();
    calls([&](const PlannedCall& call) {
      for (const ValueId input : call.inputs) writer_.edge(node_of(input), nodes_.at(call.output));
    });
  }

  void lead(ValueId value, const std::string& to) {
    const std::size_t from = node_of(value);
    writer_.edge(from, writer_.node(to, DotStyle::output));
  }

  const Machine& machine_;
  const Program& program_;
  DotWriter writer_;
  std::unordered_map<ValueId, std::size_t> nodes_;
};

}  // namespace

std::string to_dot(const Plan& plan) { return PlanDrawing(plan).draw(); }

}  // namespace twopass
