// Learning rates that change with the number of updates done.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include <twopass/ops/arguments.h>

namespace twopass {

/// A function of the number of updates done so far, with what is needed to save it.
class Schedule {
 public:
  using Function = std::function<double(std::int64_t step)>;
  /// Refuses an empty name and an empty function.
  Schedule(std::string name, Attributes attributes, Function function);

  const std::string& name() const { return name_; }
  const Attributes& attributes() const { return attributes_; }
  /// Whether `schedule_from` can make it again: schedules of the user's own can't be saved.
  bool saveable() const { return saveable_; }
  /// The rate for the update after `step` others; refuses what is negative or not finite.
  double operator()(std::int64_t step) const;

 private:
  friend struct ScheduleMaker;
  std::string name_;
  Attributes attributes_;
  Function function_;
  bool saveable_ = false;
};

struct ExponentialDecayOptions {
  double initial = 0.01;
  std::int64_t decay_steps = 1000;
  double decay_rate = 0.96;
  /// Whether step / decay_steps is rounded down.
  bool staircase = false;
};
/// The same rate for ever. Refuses a negative or not finite one.
Schedule constant(double rate);
/// initial · decay_rate^(step / decay_steps).
Schedule exponential_decay(const ExponentialDecayOptions& options = {});
/// The schedule that has this name and these attributes; refuses others.
Schedule schedule_from(const std::string& name, const Attributes& attributes);

/// A number or a schedule.
class LearningRate {
 public:
  LearningRate(double rate) : schedule_(constant(rate)) {}
  LearningRate(Schedule schedule) : schedule_(std::move(schedule)) {}
  const Schedule& schedule() const { return schedule_; }
  bool is_constant() const { return schedule_.name() == "constant"; }

 private:
  Schedule schedule_;
};

}  // namespace twopass
