#include <twopass/graph/model/resuming.h>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include <twopass/core/error.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/json_parts.h>

namespace twopass {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "optimizer/";
constexpr std::int64_t kMostSteps = std::numeric_limits<std::int64_t>::max() / 2;

constexpr std::string_view kRate = "learning_rate";

bool has(const Optimizer::NamedTensors& state, std::string_view name) {
  return std::any_of(state.begin(), state.end(), [&](const auto& each) { return each.first == name; });
}

std::vector<std::string> slot_names(const Optimizer& optimizer) {
  std::vector<std::string> names;
  for (const Slot& slot : optimizer.rule().slots) names.push_back(slot.name);
  return names;
}

// A loss, a metric or an optimizer: each has a name and attributes.
template <typename T>
json made_of(const T& each) {
  return {{"name", each.name()}, {"attributes", json_of(each.attributes())}};
}
template <typename T>
T again(const json& written, T (*from)(const std::string&, const Attributes&)) {
  return from(text_member(written, "name"), attributes_from(member(written, "attributes")));
}

// Without attributes optimizer_from gives the defaults: those of a file were lost.
Optimizer optimizer_in_file(const std::string& name, const Attributes& attributes) {
  if (attributes.empty()) throw Error(fmt::format("optimizer \"{}\" has no attributes", name));
  return optimizer_from(name, attributes);
}

json list_of(const std::vector<Metric>& metrics) {
  json list = json::array();
  for (const Metric& each : metrics) list.push_back(made_of(each));
  return list;
}
std::vector<Metric> metrics_from(const json& list) {
  if (!list.is_array()) throw Error("metrics are no list");
  std::vector<Metric> metrics;
  for (const json& each : list) metrics.push_back(again(each, metric_from));
  return metrics;
}

bool saveable(const CompileOptions& options) {
  const auto known = [](const auto& each) { return each.saveable(); };
  const auto all_known = [&](const std::vector<Metric>& metrics) {
    return std::all_of(metrics.begin(), metrics.end(), known);
  };
  const auto& losses = options.loss.named();
  const auto& metrics = options.metrics.named();
  return (!options.loss.single() || known(*options.loss.single())) &&
         std::all_of(losses.begin(), losses.end(), [&](const auto& each) { return known(each.second); }) &&
         all_known(options.metrics.common()) &&
         std::all_of(metrics.begin(), metrics.end(), [&](const auto& each) { return all_known(each.second); });
}

// Which passes plans leave out is for debugging, and not kept.
json json_of(const CompileOptions& options) {
  json written = {{"run_eagerly", options.run_eagerly},
                  {"bf16", options.precision == Precision::bf16},
                  {"metrics", list_of(options.metrics.common())}};
  if (options.loss.single()) written["loss"] = made_of(*options.loss.single());
  for (const auto& [output, loss] : options.loss.named()) written["losses"][output] = made_of(loss);
  for (const auto& [output, weight] : options.loss_weights) written["loss_weights"][output] = weight;
  for (const auto& [output, metrics] : options.metrics.named())
    for (const Metric& each : metrics) written["metrics_of"][output].push_back(made_of(each));
  return written;
}

bool truth_member(const json& object, const char* name) {
  const json& value = member(object, name);
  if (!value.is_boolean()) throw Error(fmt::format("\"{}\" is no truth", name));
  return value.get<bool>();
}

CompileOptions options_from(const json& written, const Optimizer& optimizer) {
  CompileOptions options{.optimizer = optimizer, .run_eagerly = truth_member(written, "run_eagerly")};
  if (truth_member(written, "bf16")) options.precision = Precision::bf16;
  if (written.contains("loss")) {
    options.loss = again(written["loss"], loss_from);
  } else {
    LossMap::Named losses;
    for (const auto& [output, loss] : member(written, "losses").items())
      losses.emplace_back(output, again(loss, loss_from));
    options.loss = losses;
  }
  if (written.contains("loss_weights"))
    for (const auto& [output, weight] : written["loss_weights"].items()) {
      if (!weight.is_number()) throw Error(fmt::format("the loss weight of \"{}\" is no number", output));
      options.loss_weights.emplace_back(output, weight.get<double>());
    }
  options.metrics = metrics_from(member(written, "metrics"));
  if (written.contains("metrics_of")) {
    MetricMap::Named metrics;
    for (const auto& [output, list] : written["metrics_of"].items()) metrics.emplace_back(output, metrics_from(list));
    options.metrics = metrics;
  }
  return options;
}

// What stands for an optimizer whose code is the user's: its state, and refusals where it should compute.
Optimizer stand_in(const std::string& name, std::vector<Slot> slots, bool has_rate) {
  const auto refuse = [name]() -> Error {
    return Error(fmt::format(
        "the file holds the state of optimizer \"{}\", but not its code: compile() with it goes on from there", name));
  };
  const LearningRate rate =
      has_rate ? LearningRate(0) : Schedule("of the file", {}, [refuse](std::int64_t) -> double { throw refuse(); });
  return {{.name = name,
           .slots = std::move(slots),
           .update = [refuse](const UpdateRule::Step&) -> Tensors { throw refuse(); }},
          rate};
}

Optimizer stand_in_from(const json& written, const Optimizer::NamedTensors& state) {
  std::vector<Slot> slots;
  for (const json& slot : list_member(written, "slots")) {
    if (!slot.is_string()) throw Error("\"slots\" is no list of names");
    slots.push_back({slot.get<std::string>()});
  }
  return stand_in(text_member(written, "name"), std::move(slots), has(state, kRate));
}

bool available(Precision precision) {
  try {
    const PrecisionScope scope(precision);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

json training_of(const Model& model, std::vector<std::pair<std::string, Tensor>>& tensors) {
  const ModelBody& body = model.body();
  json written = {{"steps", body.steps_done}, {"epochs", body.epochs_done}};
  if (!body.compiled && !body.loaded_optimizer) return written;
  const Optimizer& optimizer = model.optimizer();
  if (optimizer.saveable())
    written["optimizer"] = made_of(optimizer);
  else
    written["own_optimizer"] = {{"name", optimizer.name()}, {"slots", slot_names(optimizer)}};
  for (const auto& [name, tensor] : optimizer.state(model.named_parameters()))
    tensors.emplace_back(std::string(kPrefix) + name, tensor);
  const std::optional<CompileOptions>& options = body.compiled ? body.compiled : body.loaded_options;
  if (options && optimizer.saveable() && saveable(*options)) written["compile"] = json_of(*options);
  return written;
}

void take_training(Model& model, const json& written, const Safetensors& file) {
  ModelBody& body = model.body();
  body.steps_done = count_member(written, "steps", kMostSteps);
  body.epochs_done = static_cast<int>(count_member(written, "epochs", std::numeric_limits<int>::max() / 2));
  const bool own = written.contains("own_optimizer");
  if (!own && !written.contains("optimizer")) return;
  Optimizer::NamedTensors state;
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with(kPrefix)) state.emplace_back(name.substr(kPrefix.size()), tensor);
  const Optimizer optimizer =
      own ? stand_in_from(written["own_optimizer"], state) : again(written["optimizer"], optimizer_in_file);
  optimizer.set_state(state, model.named_parameters());
  if (optimizer.iterations() > kMostSteps)
    throw Error(fmt::format("\"{}iterations\" is no number from 0 to {}", kPrefix, kMostSteps));
  body.loaded_optimizer = optimizer;
  if (own || !written.contains("compile")) return;
  const CompileOptions options = options_from(written["compile"], optimizer);
  if (available(options.precision))
    model.compile(options);
  else
    body.loaded_options = options;  // predict computes in f32, as it can here
}

void go_on(const Model& model, const Optimizer& optimizer) {
  const std::optional<Optimizer>& loaded = model.body().loaded_optimizer;
  if (!loaded || loaded->saveable() || optimizer.iterations() != 0 || optimizer.name() != loaded->name() ||
      slot_names(optimizer) != slot_names(*loaded))
    return;
  Optimizer::NamedTensors state = loaded->state(model.named_parameters());
  std::erase_if(state, [](const auto& each) { return each.first == kRate; });
  for (const auto& each : optimizer.state({}))
    if (each.first == kRate) state.push_back(each);
  optimizer.set_state(state, model.named_parameters());
}

}  // namespace twopass
