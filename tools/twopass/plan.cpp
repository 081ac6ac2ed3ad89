#include "plan.h"

#include <fmt/format.h>

#include <algorithm>

using namespace twopass;

namespace {

struct Prepared {
  Model model;
  Examples batch;
};

Prepared prepare(const Recipe& recipe, std::int64_t batch_size, std::uint64_t seed) {
  const Data data = data_for(recipe, "glyphs", "", seed);
  Prepared made{recipe.build(data.features, seed), first_rows(data.train, batch_size ? batch_size : recipe.batch_size)};
  made.model.compile(recipe.compile());
  return made;
}

}  // namespace

Plan step_plan_of(const Recipe& recipe, std::int64_t batch_size, std::uint64_t seed) {
  Prepared made = prepare(recipe, batch_size, seed);
  return made.model.step_plan(made.batch.inputs, made.batch.targets);
}

void print_plan(const Recipe& recipe, std::int64_t batch_size, std::uint64_t seed, bool profile) {
  Prepared made = prepare(recipe, batch_size, seed);
  const Plan plan = made.model.step_plan(made.batch.inputs, made.batch.targets);
  if (!profile) {
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
