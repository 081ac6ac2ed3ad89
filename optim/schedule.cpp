#include <twopass/optim/schedule.h>

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include <twopass/core/error.h>

namespace twopass {

struct ScheduleMaker {
  static Schedule make(std::string name, Attributes attributes, Schedule::Function function) {
    Schedule made(std::move(name), std::move(attributes), std::move(function));
    made.saveable_ = true;
    return made;
  }
};

namespace {

void check_rate(const char* what, double rate) {
  if (!(rate >= 0) || std::isinf(rate))
    throw Error(fmt::format("{} is {}: it must be finite and not negative", what, rate));
}

}  // namespace

Schedule::Schedule(std::string name, Attributes attributes, Function function)
    : name_(std::move(name)), attributes_(std::move(attributes)), function_(std::move(function)) {
  if (name_.empty() || !function_) throw Error("a schedule needs a name and a function");
}

double Schedule::operator()(std::int64_t step) const {
  const double rate = function_(step);
  if (!(rate >= 0) || std::isinf(rate))
    throw Error(fmt::format("schedule {} gives learning rate {} at step {}", name_, rate, step));
  return rate;
}

Schedule constant(double rate) {
  check_rate("the learning rate", rate);
  return ScheduleMaker::make("constant", {{"rate", rate}}, [rate](std::int64_t) { return rate; });
}

Schedule exponential_decay(const ExponentialDecayOptions& options) {
  check_rate("exponential_decay: initial", options.initial);
  check_rate("exponential_decay: decay_rate", options.decay_rate);
  if (options.decay_steps < 1)
    throw Error(fmt::format("exponential_decay: decay_steps is {}, below 1", options.decay_steps));
  return ScheduleMaker::make(
      "exponential_decay",
      {{"initial", options.initial},
       {"decay_steps", options.decay_steps},
       {"decay_rate", options.decay_rate},
       {"staircase", options.staircase}},
      [options](std::int64_t step) {
        const double power = static_cast<double>(step) / static_cast<double>(options.decay_steps);
        return options.initial * std::pow(options.decay_rate, options.staircase ? std::floor(power) : power);
      });
}

Schedule schedule_from(const std::string& name, const Attributes& attributes) {
  const auto number = [&](const char* key) { return attribute::as_double(attribute::named(attributes, key), key); };
  if (name == "constant") return constant(number("rate"));
  if (name == "exponential_decay")
    return exponential_decay(
        {.initial = number("initial"),
         .decay_steps = attribute::as_integer(attribute::named(attributes, "decay_steps"), "decay_steps"),
         .decay_rate = number("decay_rate"),
         .staircase = attribute::as_bool(attribute::named(attributes, "staircase"), "staircase")});
  throw Error(fmt::format("there is no schedule \"{}\": there are constant and exponential_decay", name));
}

}  // namespace twopass
