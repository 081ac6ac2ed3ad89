#include "plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "usage.h"

using namespace twopass;

namespace {

// A word that is no pass is the command line's fault.
void check_passes(const std::vector<std::string>& without) {
  std::vector<std::string> names;
  for (const PlanPass& pass : plan_passes()) names.push_back(pass.name);
  for (const std::string& name : without)
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw UsageError(fmt::format("--without: there is no pass \"{}\"{}: it must be one of {}", name,
                                   suggestion(name, names), listed(names)));
}

void print_stages(const Plan& plan) {
  const auto passes = plan_passes();
  for (const Plan::Stage& stage : plan.stages()) {
    const auto pass =
        std::find_if(passes.begin(), passes.end(), [&](const auto& each) { return each.name == stage.pass; });
    fmt::print("== {}: {}\n{}\n", stage.pass, pass == passes.end() ? "the step as it was written" : pass->doc,
               stage.text);
  }
}

Subject compiled_subject(const SubjectChoice& of, const PlanChoice& choice) {
  check_passes(choice.without);
  Subject subject = subject_of(of, choice.batch_size);
  subject.options.precision = choice.bf16 ? Precision::bf16 : Precision::single;
  subject.options.without = choice.without;
  subject.model.compile(subject.options);
  return subject;
}

Plan plan_of(Subject& subject, const PlanChoice& choice) {
  return subject.model.step_plan(subject.rows.inputs, subject.rows.targets, {.keep_stages = choice.stages});
}

std::string losses_of(const CompileOptions& options) {
  if (options.loss.single()) return options.loss.single()->name();
  std::string text;
  for (const auto& [output, loss] : options.loss.named())
    text += fmt::format("{}{} of {}", text.empty() ? "" : ", ", loss.name(), output);
  return text;
}

}  // namespace

Plan step_plan_of(const SubjectChoice& of, const PlanChoice& choice) {
  Subject subject = compiled_subject(of, choice);
  return plan_of(subject, choice);
}

std::string passes_text() {
  std::string text;
  for (const PlanPass& pass : plan_passes()) text += fmt::format("\n  {:<11} {}", pass.name, pass.doc);
  return text;
}

void print_plan(const SubjectChoice& of, const PlanChoice& choice) {
  Subject subject = compiled_subject(of, choice);
  const Plan plan = plan_of(subject, choice);
  fmt::print("a training step of {} rows; loss {}; optimizer {}\n", subject.rows.inputs[0].shape()[0],
             losses_of(subject.options), subject.options.optimizer.name());
  if (choice.stages) return print_stages(plan);
  if (!choice.profile) {
    fmt::print("{}", plan.text());
    return;
  }
  double total = 0;
  fmt::print("{:>10} {:>9} {:>8}  {}\n", "µs", "GFLOP/s", "GB/s", "step; layers");
  for (const Plan::StepTime& step : plan.profile()) {
    fmt::print("{:10.2f} {:9.2f} {:8.2f}  {}{}{}\n", step.milliseconds * 1e3, step.work / step.milliseconds * 1e-6,
               static_cast<double>(step.bytes) / step.milliseconds * 1e-6, step.calls, step.places.empty() ? "" : "; ",
               step.places);
    total += step.milliseconds;
  }
  fmt::print("{:10.2f} µs for all {} steps; arena {} bytes\n", total * 1e3, plan.steps(), plan.arena_bytes());
}
