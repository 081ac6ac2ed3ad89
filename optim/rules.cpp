#include <fmt/format.h>

#include <cctype>
#include <cmath>
#include <map>
#include <string>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/optim/optimizer_maker.h>

namespace twopass {
namespace {

template <typename Options>
UpdateOptions common(const Options& options) {
  return {options.weight_decay, options.clipnorm, options.clipvalue, options.global_clipnorm};
}

// A factor of a running mean: below 1, or nothing new would ever come in.
void check_factor(const char* rule, const char* what, double value) {
  if (!(value >= 0 && value < 1)) throw Error(fmt::format("{}: {} is {}, not in [0, 1)", rule, what, value));
}

void check_epsilon(const char* rule, double epsilon) {
  if (!(epsilon > 0) || std::isinf(epsilon))
    throw Error(fmt::format("{}: epsilon is {}, not positive and finite", rule, epsilon));
}

Tensor scalar_for(const Tensor& scalar, const Tensor& like) {
  return scalar.dtype() == like.dtype() ? scalar : cast(scalar, like.dtype());
}

Optimizer adam_named(const char* name, const AdamOptions& options) {
  check_factor(name, "beta_1", options.beta_1);
  check_factor(name, "beta_2", options.beta_2);
  check_epsilon(name, options.epsilon);
  UpdateRule rule;
  rule.name = name;
  rule.attributes = {{"beta_1", options.beta_1}, {"beta_2", options.beta_2}, {"epsilon", options.epsilon}};
  rule.slots = {{"momentum"}, {"velocity"}};
  rule.update = [b1 = options.beta_1, b2 = options.beta_2,
                 epsilon = options.epsilon](const UpdateRule::Step& s) -> Tensors {
    const Tensor m = s.slots[0] + (s.gradient - s.slots[0]) * (1 - b1);
    const Tensor v = s.slots[1] + (square(s.gradient) - s.slots[1]) * (1 - b2);
    // in double precision, where 1 - b^t loses nothing
    const Tensor one_less_b1 = 1.0 - pow(scalar_like(b1, s.number), s.number);
    const Tensor one_less_b2 = 1.0 - pow(scalar_like(b2, s.number), s.number);
    const Tensor alpha = scalar_for(s.learning_rate * sqrt(one_less_b2) / one_less_b1, s.parameter);
    return {s.parameter - alpha * m / (sqrt(v) + epsilon), m, v};
  };
  return OptimizerMaker::make(std::move(rule), options.learning_rate, common(options));
}

}  // namespace

Optimizer sgd(const SgdOptions& options) {
  check_factor("sgd", "momentum", options.momentum);
  UpdateRule rule;
  rule.name = "sgd";
  rule.attributes = {{"momentum", options.momentum}, {"nesterov", options.nesterov}};
  if (options.momentum == 0) {
    rule.update = [](const UpdateRule::Step& s) -> Tensors {
      return {add_scaled(s.parameter, scalar_for(-s.learning_rate, s.parameter), s.gradient)};
    };
  } else {
    rule.slots = {{"velocity"}};
    rule.update = [momentum = options.momentum, nesterov = options.nesterov](const UpdateRule::Step& s) -> Tensors {
      const Tensor step = scalar_for(s.learning_rate, s.parameter) * s.gradient;
      const Tensor v = s.slots[0] * momentum - step;
      return {nesterov ? s.parameter + (v * momentum - step) : s.parameter + v, v};
    };
  }
  return OptimizerMaker::make(std::move(rule), options.learning_rate, common(options));
}

Optimizer rmsprop(const RmspropOptions& options) {
  check_factor("rmsprop", "rho", options.rho);
  check_factor("rmsprop", "momentum", options.momentum);
  check_epsilon("rmsprop", options.epsilon);
  UpdateRule rule;
  rule.name = "rmsprop";
  rule.attributes = {{"rho", options.rho},
                     {"momentum", options.momentum},
                     {"epsilon", options.epsilon},
                     {"centered", options.centered}};
  rule.slots = {{"velocity"}};
  if (options.momentum > 0) rule.slots.push_back({"momentum"});
  if (options.centered) rule.slots.push_back({"average_gradient"});
  rule.update = [rho = options.rho, momentum = options.momentum, epsilon = options.epsilon,
                 centered = options.centered](const UpdateRule::Step& s) -> Tensors {
    const Tensor v = s.slots[0] * rho + square(s.gradient) * (1 - rho);
    Tensors made{Tensor(), v};
    Tensor variance = v;
    Tensor average;
    if (centered) {
      average = s.slots.back() * rho + s.gradient * (1 - rho);
      variance = relu(v - square(average));  // rounding may make it negative where the gradient stays the same
    }
    Tensor step = scalar_for(s.learning_rate, s.parameter) * s.gradient / sqrt(variance + epsilon);
    if (momentum > 0) {
      step = s.slots[1] * momentum + step;
      made.push_back(step);
    }
    if (centered) made.push_back(average);
    made[0] = s.parameter - step;
    return made;
  };
  return OptimizerMaker::make(std::move(rule), options.learning_rate, common(options));
}

Optimizer adam(const AdamOptions& options) { return adam_named("adam", options); }

Optimizer adamw(const AdamwOptions& options) {
  return adam_named("adamw", {.learning_rate = options.learning_rate,
                              .beta_1 = options.beta_1,
                              .beta_2 = options.beta_2,
                              .epsilon = options.epsilon,
                              .weight_decay = options.weight_decay,
                              .clipnorm = options.clipnorm,
                              .clipvalue = options.clipvalue,
                              .global_clipnorm = options.global_clipnorm});
}

namespace {

Optimizer optimizer_of(const std::string& name, const Attributes& attributes) {
  const auto number = [&](const char* key) { return attribute::as_double(attribute::named(attributes, key), key); };
  const auto truth = [&](const char* key) { return attribute::as_bool(attribute::named(attributes, key), key); };
  Attributes of_schedule;
  const std::string prefix = "schedule.";
  for (const auto& [key, value] : attributes)
    if (key.starts_with(prefix)) of_schedule.emplace_back(key.substr(prefix.size()), value);
  const LearningRate rate =
      schedule_from(attribute::as_string(attribute::named(attributes, "schedule"), "schedule"), of_schedule);
  const double decay = number("weight_decay"), norm = number("clipnorm"), value = number("clipvalue"),
               global = number("global_clipnorm");
  if (name == "sgd") return sgd({rate, number("momentum"), truth("nesterov"), decay, norm, value, global});
  if (name == "rmsprop")
    return rmsprop(
        {rate, number("rho"), number("momentum"), number("epsilon"), truth("centered"), decay, norm, value, global});
  return adam_named(name.c_str(),
                    {rate, number("beta_1"), number("beta_2"), number("epsilon"), decay, norm, value, global});
}

}  // namespace

Optimizer optimizer_from(const std::string& name, const Attributes& attributes) {
  const std::map<std::string, Optimizer (*)()> makers{{"sgd", [] { return sgd(); }},
                                                      {"rmsprop", [] { return rmsprop(); }},
                                                      {"adam", [] { return adam(); }},
                                                      {"adamw", [] { return adamw(); }}};
  std::string plain = name;
  for (char& c : plain) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto found = makers.find(plain);
  if (found == makers.end())
    throw Error(fmt::format("there is no optimizer \"{}\": there are sgd, rmsprop, adam and adamw", name));
  if (attributes.empty()) return found->second();
  try {
    return optimizer_of(plain, attributes);
  } catch (const Error& reason) {
    throw Error(fmt::format("optimizer \"{}\": {}", name, reason.what()));
  }
}

Optimizer::Optimizer(const char* name) : Optimizer(std::string(name ? name : "")) {}
Optimizer::Optimizer(const std::string& name) : Optimizer(optimizer_from(name)) {}

}  // namespace twopass
