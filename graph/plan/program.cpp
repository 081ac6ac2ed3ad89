#include <twopass/graph/plan/program.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/counted.h>

namespace twopass::planning {
namespace {

// Where a value that no call makes comes from.
std::string source_text(const Value& value) {
  switch (value.kind) {
    case Value::Kind::input:
      return one_line(value.name);
    case Value::Kind::parameter:
      return fmt::format("parameter \"{}\"", one_line(value.name));
    case Value::Kind::view:
      return fmt::format("%{} from element {}", value.base, value.offset);
    default:
      return value.spec.shape.elements() == 1 ? value.constant.text() : "constant";
  }
}

}  // namespace

std::vector<Spec> Program::specs(const PlannedCall& call) const {
  std::vector<Spec> specs;
  specs.reserve(call.inputs.size());
  for (const ValueId input : call.inputs) specs.push_back(spec(input));
  return specs;
}

std::vector<std::uint32_t> Program::uses() const {
  std::vector<std::uint32_t> uses(values.size(), 0);
  for (const PlannedCall& call : calls)
    for (const ValueId input : call.inputs) ++uses[input];
  for (const ValueId output : outputs) ++uses[output];
  for (const Update& update : updates) ++uses[update.value];
  return uses;
}

std::vector<std::size_t> Program::makers() const {
  std::vector<std::size_t> makers(values.size(), calls.size());
  for (std::size_t k = 0; k < calls.size(); ++k) makers[calls[k].output] = k;
  return makers;
}

bool Program::foreign(const Step& step) const {
  const auto first = calls.begin() + static_cast<std::ptrdiff_t>(step.first);
  return std::any_of(first, first + static_cast<std::ptrdiff_t>(step.count),
                     [](const PlannedCall& call) { return call.op->foreign(); });
}

bool Program::whole(ValueId value) const { return spec(value).shape.elements() == spec(root(value)).shape.elements(); }

void Program::replace(const std::vector<ValueId>& by) {
  for (PlannedCall& call : calls)
    for (ValueId& input : call.inputs) input = by[input];
  for (ValueId& output : outputs) output = by[output];
  for (Update& update : updates) update.value = by[update.value];
}

std::string Program::text(const PlannedCall& call) const {
  std::string text = fmt::format("%{} {} {} = {}(", call.output, name_of(spec(call.output).dtype),
                                 spec(call.output).shape.text(), call.op->name());
  for (std::size_t k = 0; k < call.inputs.size(); ++k) text += fmt::format("{}%{}", k ? ", " : "", call.inputs[k]);
  const std::string with = one_line(arguments_text(*call.op, call.arguments.get()));
  return text + (with.empty() || call.inputs.empty() ? "" : ", ") + with + ")";
}

std::vector<std::string> Program::strand_texts() const {
  std::vector<std::string> texts;
  for (const Moment& moment : moments)
    for (std::size_t k = 0; k < moment.strands.size(); ++k)
      texts.insert(
          texts.end(), moment.strands[k].count,
          moment.strands.size() == 1 ? "" : fmt::format(", strand {} of {} at once", k, moment.strands.size()));
  return texts;
}

std::string Program::sources_text(const char* before) const {
  auto used = uses();
  for (std::size_t k = 0; k < values.size(); ++k)
    if (values[k].kind == Value::Kind::view) used[values[k].base] += used[k];
  std::string text;
  for (std::size_t k = 0; k < values.size(); ++k)
    if (values[k].kind != Value::Kind::computed && used[k] > 0)
      text += fmt::format("{}%{} {} {} = {}\n", before, k, name_of(values[k].spec.dtype), values[k].spec.shape.text(),
                          source_text(values[k]));
  return text;
}

std::string Program::results_text(const char* before) const {
  std::string text;
  for (std::size_t k = 0; k < outputs.size(); ++k)
    text += fmt::format("{}gives %{} as {}\n", before, outputs[k], one_line(output_names[k]));
  for (const Update& update : updates)
    text += fmt::format("{}sets \"{}\" to %{}\n", before, one_line(update.name), update.value);
  return text;
}

std::string Program::text() const {
  std::string text = sources_text();
  const auto strand_of = strand_texts();
  std::size_t step = 0;
  for (std::size_t k = 0; k < calls.size(); ++k) {
    while (step < steps.size() && k >= steps[step].first + steps[step].count) ++step;
    if (step < steps.size() && steps[step].first == k && steps[step].count > 1)
      text += fmt::format("{} calls in {} rows:\n", steps[step].count, steps[step].rows);
    text += this->text(calls[k]) + (step < strand_of.size() ? strand_of[step] : "") + "\n";
  }
  return text + results_text();
}

}  // namespace twopass::planning
