#include <twopass/optim/optimizer.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include <twopass/core/error.h>
#include <twopass/core/finite.h>
#include <twopass/core/place.h>
#include <twopass/core/users_code.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/optim/clipping.h>
#include <twopass/optim/optimizer_maker.h>

namespace twopass {

// What one parameter and its slots become.
struct Optimizer::Change {
  Parameter parameter;
  std::string name;
  Parameters slots;
  Tensors values;  // the parameter's, then the slots'
};

struct Optimizer::Body {
  UpdateRule rule;
  UpdateOptions options;
  LearningRate learning_rate;
  bool own = true;  // its rule is the user's
  std::int64_t iterations = 0;
  std::map<std::uint64_t, Parameters> slots{};  // by the parameter's id
  mutable std::mutex mutex{};

  Body(UpdateRule a_rule, LearningRate rate, const UpdateOptions& with)
      : rule(std::move(a_rule)), options(with), learning_rate(std::move(rate)) {}

  double rate() const { return learning_rate.schedule()(iterations); }
  Tensors clipped(const Tensors& gradients) const {
    if (options.clipnorm > 0) return clip_by_norm(gradients, options.clipnorm);
    if (options.clipvalue > 0) return clip_by_value(gradients, options.clipvalue);
    if (options.global_clipnorm > 0) return clip_by_global_norm(gradients, options.global_clipnorm);
    return gradients;
  }
  void make(const std::vector<Change>& changes) {
    Parameters cells;
    Tensors values;
    for (const Change& change : changes) {
      cells.push_back(change.parameter);
      cells.insert(cells.end(), change.slots.begin(), change.slots.end());
      values.insert(values.end(), change.values.begin(), change.values.end());
    }
    auto all = slots;
    for (const Change& change : changes)
      if (!change.slots.empty()) all[change.parameter.id()] = change.slots;
    Parameter::set_all(cells, values);
    slots = std::move(all);
  }
  Parameters slots_of(const Parameter& parameter) const {
    if (const auto found = slots.find(parameter.id()); found != slots.end()) return found->second;
    Parameters fresh;
    for (const Slot& slot : rule.slots)
      fresh.emplace_back(full(parameter.shape(), slot.initial, parameter.dtype()), slot.name);
    return fresh;
  }
};

namespace {

// A rate that is set and saved as a number; a schedule of the user's may be called as that is.
bool is_number(const LearningRate& rate) { return rate.is_constant() && rate.schedule().saveable(); }

// Where what is traced updates a parameter: "adam/dense/kernel", if it was met in a layer. What several updates share,
// as the rate of the step, is then in "adam".
std::string place_of(const std::string& optimizer, const Parameter& parameter, const Tensor& symbol) {
  const PlaceLog* const log = LiftScope::active() ? PlaceLog::current() : nullptr;
  if (!log) return "";
  const std::string layer = log->of(symbol.node());
  std::string path = optimizer;
  for (const std::string& part : {layer, parameter.name()})
    if (!part.empty()) path += "/" + part;
  return path;
}

void check_option(const std::string& what, double value) {
  if (!(value >= 0) || std::isinf(value))
    throw Error(fmt::format("{} is {}: it must be finite and not negative", what, value));
}

}  // namespace

Optimizer::Optimizer(UpdateRule rule, LearningRate learning_rate, const UpdateOptions& options) {
  if (rule.name.empty() || !rule.update) throw Error("an optimizer needs a name and an update");
  for (std::size_t k = 0; k < rule.slots.size(); ++k)
    for (std::size_t j = 0; j < k; ++j)
      if (rule.slots[j].name == rule.slots[k].name)
        throw Error(fmt::format("optimizer {} has two slots called \"{}\": files know them by name", rule.name,
                                rule.slots[k].name));
  check_option(rule.name + ": weight_decay", options.weight_decay);
  check_option(rule.name + ": clipnorm", options.clipnorm);
  check_option(rule.name + ": clipvalue", options.clipvalue);
  check_option(rule.name + ": global_clipnorm", options.global_clipnorm);
  if ((options.clipnorm > 0) + (options.clipvalue > 0) + (options.global_clipnorm > 0) > 1)
    throw Error(rule.name + ": only one of clipnorm, clipvalue and global_clipnorm can be given");
  body_ = std::make_shared<Body>(std::move(rule), std::move(learning_rate), options);
}

Optimizer::Body& Optimizer::body() const {
  if (!body_) throw Error("an optimizer was used that was never given a value, or moved from");
  return *body_;
}

const std::string& Optimizer::name() const { return body().rule.name; }
Optimizer OptimizerMaker::make(UpdateRule rule, LearningRate rate, const UpdateOptions& options) {
  Optimizer made(std::move(rule), std::move(rate), options);
  made.body().own = false;
  return made;
}

bool Optimizer::saveable() const {
  const std::lock_guard lock(body().mutex);
  return !body().own && body().learning_rate.schedule().saveable();
}

const UpdateRule& Optimizer::rule() const { return body().rule; }
const UpdateOptions& Optimizer::options() const { return body().options; }

std::int64_t Optimizer::iterations() const {
  const std::lock_guard lock(body().mutex);
  return body().iterations;
}

double Optimizer::learning_rate() const {
  const std::lock_guard lock(body().mutex);
  return body().rate();
}

void Optimizer::set_learning_rate(double rate) const {
  const std::lock_guard lock(body().mutex);
  if (!is_number(body().learning_rate))
    throw Error(fmt::format("{}: the learning rate follows {} and cannot be set", name(),
                            body().learning_rate.schedule().name()));
  body().learning_rate = LearningRate(rate);
}

Attributes Optimizer::attributes() const {
  Attributes all = body().rule.attributes;
  const UpdateOptions& options = body().options;
  all.emplace_back("weight_decay", options.weight_decay);
  all.emplace_back("clipnorm", options.clipnorm);
  all.emplace_back("clipvalue", options.clipvalue);
  all.emplace_back("global_clipnorm", options.global_clipnorm);
  const std::lock_guard lock(body().mutex);
  const Schedule& schedule = body().learning_rate.schedule();
  all.emplace_back("schedule", schedule.name());
  for (const auto& [key, value] : schedule.attributes()) all.emplace_back("schedule." + key, value);
  return all;
}

std::vector<Optimizer::Change> Optimizer::changes(const Tensors& gradients, const Parameters& parameters,
                                                  const std::vector<std::string>& names, const Tensor& learning_rate,
                                                  const Tensor& number) const {
  if (gradients.size() != parameters.size())
    throw Error(fmt::format("{}: {} gradients for {} parameters", name(), gradients.size(), parameters.size()));
  if (!names.empty() && names.size() != parameters.size())
    throw Error(fmt::format("{}: {} names for {} parameters", name(), names.size(), parameters.size()));
  Tensors found;
  std::vector<Change> changes;
  std::set<std::uint64_t> seen;
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    const Parameter& parameter = parameters[k];
    const std::string& called = names.empty() ? parameter.name() : names[k];
    if (!gradients[k].defined() || !parameter.trainable() || !seen.insert(parameter.id()).second) continue;
    if (gradients[k].symbolic() && !LiftScope::active())
      throw Error(
          fmt::format("{}: the gradient of parameter \"{}\" is a symbol of shape {}, which has no elements: "
                      "updates of symbols are made within plans, by trace_update",
                      name(), called, gradients[k].shape().text()));
    if (gradients[k].shape() != parameter.shape() || gradients[k].dtype() != parameter.dtype())
      throw Error(fmt::format("{}: the gradient of parameter \"{}\" is {} {} but the parameter {} {}", name(), called,
                              name_of(gradients[k].dtype()), gradients[k].shape().text(), name_of(parameter.dtype()),
                              parameter.shape().text()));
    found.push_back(detach(gradients[k]));
    changes.push_back({parameter, called, body().slots_of(parameter), {}});
  }
  if (changes.empty())
    throw Error(fmt::format("{}: none of {} parameters is trainable and has a gradient", name(), parameters.size()));
  found = body().clipped(found);

  for (std::size_t k = 0; k < changes.size(); ++k) {
    Change& change = changes[k];
    Tensor value = change.parameter.value();
    const PlaceScope place(place_of(name(), change.parameter, value));
    if (body().options.weight_decay > 0)
      value = value - value * cast(learning_rate * body().options.weight_decay, value.dtype());
    Tensors slots;
    for (const Parameter& slot : change.slots) slots.push_back(slot.value());
    try {
      change.values = users_code([&] { return body().rule.update({value, found[k], slots, learning_rate, number}); });
    } catch (const Error& error) {
      throw Error(fmt::format("{}: the rule for parameter \"{}\": {}", name(), change.name, error.what()),
                  error.cause());
    }
    if (change.values.size() != change.slots.size() + 1)
      throw Error(fmt::format("{}: the rule gives {} tensors where 1 parameter and {} slots are updated", name(),
                              change.values.size(), change.slots.size()));
    for (const Tensor& each : change.values) {
      if (!each.defined())
        throw Error(fmt::format("{}: the rule gives an undefined tensor for parameter \"{}\": {}", name(), change.name,
                                kUndefined));
      if (each.shape() != change.parameter.shape() || each.dtype() != change.parameter.dtype())
        throw Error(fmt::format("{}: the rule gives {} {} for parameter \"{}\" of {} {}", name(), name_of(each.dtype()),
                                each.shape().text(), change.name, name_of(change.parameter.dtype()),
                                change.parameter.shape().text()));
    }
  }
  return changes;
}

void Optimizer::apply(const Tensors& gradients, const Parameters& parameters,
                      const std::vector<std::string>& names) const {
  if (LiftScope::active())
    throw Error(
        fmt::format("{}: apply reads elements, which a plan's function has none of: trace_update makes the "
                    "update a part of the plan",
                    name()));
  const RecordingScope off(false);
  const std::lock_guard lock(body().mutex);
  const auto number = static_cast<double>(body().iterations + 1);
  const auto made = changes(gradients, parameters, names, tensor(body().rate(), f64), tensor(number, f64));
  for (const Change& change : made)
    for (const Tensor& each : change.values)
      if (!all_finite(each.node().data, each.elements(), each.dtype()))
        throw Error(fmt::format("{}: update {} of parameter \"{}\" is not finite; nothing was changed", name(), number,
                                change.name));
  body().make(made);
  ++body().iterations;
}

void Optimizer::trace_update(const Tensors& gradients, const Parameters& parameters, const Tensor& learning_rate,
                             const Tensor& number) const {
  const std::lock_guard lock(body().mutex);
  body().make(changes(gradients, parameters, {}, learning_rate, number));
}

void Optimizer::count_update() const {
  const std::lock_guard lock(body().mutex);
  ++body().iterations;
}

Optimizer::NamedTensors Optimizer::state(const NamedParameters& parameters) const {
  const std::lock_guard lock(body().mutex);
  NamedTensors all{{"iterations", tensor(body().iterations)}};
  if (is_number(body().learning_rate))
    all.emplace_back("learning_rate", tensor(body().learning_rate.schedule()(0), f64));
  for (const auto& [path, parameter] : parameters) {
    const auto found = body().slots.find(parameter.id());
    if (found == body().slots.end()) continue;
    for (std::size_t k = 0; k < found->second.size(); ++k)
      all.emplace_back(body().rule.slots[k].name + "/" + path, found->second[k].value());
  }
  return all;
}

Tensors Optimizer::slots() const {
  const std::lock_guard lock(body().mutex);
  Tensors all;
  for (const auto& each : body().slots)
    for (const Parameter& slot : each.second) all.push_back(slot.value());
  return all;
}

void Optimizer::set_state(const NamedTensors& state, const NamedParameters& parameters) const {
  std::map<std::string, Tensor> given(state.begin(), state.end());
  if (given.size() != state.size()) throw Error(fmt::format("{}: a name comes twice in the state", name()));
  const auto take_scalar = [&](const char* key, DType dtype) {
    const auto found = given.find(key);
    if (found == given.end()) throw Error(fmt::format("{}: the state has no \"{}\"", name(), key));
    const Tensor value = found->second;
    if (value.dtype() != dtype || value.rank() != 0)
      throw Error(fmt::format("{}: \"{}\" is {} {} and not a scalar of {}", name(), key, name_of(value.dtype()),
                              value.shape().text(), name_of(dtype)));
    given.erase(found);
    return value;
  };
  const std::lock_guard lock(body().mutex);
  const auto iterations = take_scalar("iterations", i64).item<std::int64_t>();
  if (iterations < 0) throw Error(fmt::format("{}: iterations is {}, below 0", name(), iterations));
  LearningRate rate = body().learning_rate;
  if (is_number(rate)) rate = LearningRate(take_scalar("learning_rate", f64).item<double>());
  std::map<std::uint64_t, Tensors> slots;
  for (const auto& [path, parameter] : parameters) {
    Tensors own;
    for (const Slot& slot : body().rule.slots) {
      const auto found = given.find(slot.name + "/" + path);
      if (found == given.end()) continue;
      if (found->second.shape() != parameter.shape() || found->second.dtype() != parameter.dtype())
        throw Error(fmt::format("{}: \"{}\" is {} {} where the parameter is {} {}", name(), found->first,
                                name_of(found->second.dtype()), found->second.shape().text(),
                                name_of(parameter.dtype()), parameter.shape().text()));
      own.push_back(detach(found->second));
      given.erase(found);
    }
    if (!own.empty() && own.size() != body().rule.slots.size())
      throw Error(fmt::format("{}: the state has {} of {} slots of \"{}\"", name(), own.size(),
                              body().rule.slots.size(), path));
    if (!own.empty()) slots[parameter.id()] = std::move(own);
  }
  if (!given.empty())
    throw Error(fmt::format("{}: the state has \"{}\", which nothing takes", name(), given.begin()->first));
  body().iterations = iterations;
  body().learning_rate = std::move(rate);
  // Cells stay the ones that they are, as plans may hold them; what the state has nothing for begins anew.
  for (const auto& [path, parameter] : parameters) {
    Parameters cells = body().slots_of(parameter);
    const auto given_slots = slots.find(parameter.id());
    if (given_slots == slots.end() && !body().slots.contains(parameter.id())) continue;
    for (std::size_t k = 0; k < cells.size(); ++k)
      cells[k].set(given_slots != slots.end()
                       ? given_slots->second[k]
                       : full(parameter.shape(), body().rule.slots[k].initial, parameter.dtype()));
    body().slots[parameter.id()] = std::move(cells);
  }
}

}  // namespace twopass
