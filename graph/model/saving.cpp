// Model files: safetensors whose metadata hold the architecture as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/safetensors.h>
#include <twopass/core/users_code.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/frozen.h>
#include <twopass/graph/model/json_parts.h>
#include <twopass/graph/model/made_again.h>
#include <twopass/graph/model/resuming.h>

namespace twopass {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;
constexpr int kDeepest = 64;  // models inside models

// ---- writing ----

// Layers that stand in several places, in nested models too, are written once and referred to by number.
struct Writer {
  std::map<const Layer*, std::size_t> numbers;
  json layers = json::array();
  std::vector<std::pair<std::string, Tensor>> constants;

  std::size_t layer(const LayerPointer& layer, const std::string& name, const std::vector<Spec>& inputs) {
    if (const auto known = numbers.find(layer.get()); known != numbers.end()) return known->second;
    json written = {{"type", layer->type()}, {"name", layer->name()}, {"trainable", layer->trainable()}};
    if (const auto* nested = dynamic_cast<const ModelBody*>(layer.get())) {
      written["model"] = model(*nested);
    } else {
      if (!layer->savable())
        throw Error(
            fmt::format("layer \"{}\" ({}) can't be saved: no file can hold its code; save_weights() saves its weights",
                        name, layer->type()));
      check_made_again(layer, name, inputs);
      written["attributes"] = json_of(layer->attributes());
    }
    numbers[layer.get()] = layers.size();
    layers.push_back(std::move(written));
    return layers.size() - 1;
  }

  json step(const ModelGraph& graph, const ModelStep& step) {
    json inputs = json::array();
    std::vector<Spec> specs;
    for (const auto& source : step.inputs) {
      inputs.push_back({source.step, source.output});
      specs.push_back(graph.steps[source.step].outputs[source.output]);
    }
    switch (step.kind) {
      case ModelStep::Kind::input:
        return {
            {"input", step.name}, {"shape", step.outputs[0].shape.sizes()}, {"dtype", name_of(step.outputs[0].dtype)}};
      case ModelStep::Kind::layer:
        return {{"layer", layer(step.layer, step.name, specs)}, {"name", step.name}, {"inputs", inputs}};
      case ModelStep::Kind::op:
        if (find_op(step.op->name()) != step.op)
          throw Error(fmt::format("op \"{}\" can't be saved: it was not made by define()", step.op->name()));
        return {{"op", step.op->name()},
                {"attributes", json_of(step.op->attributes(step.arguments.get()))},
                {"inputs", inputs}};
      case ModelStep::Kind::constant:
        constants.emplace_back(fmt::format("constant {}", constants.size()), step.constant);
        return {{"constant", constants.back().first}};
      case ModelStep::Kind::parameter:
        constants.emplace_back(fmt::format("parameter {}", constants.size()), step.parameter.value());
        return {{"parameter", constants.back().first}, {"name", step.parameter.name()}};
    }
    throw Error("a step of no kind can't be saved");
  }

  json model(const ModelBody& body) {
    json steps = json::array(), outputs = json::array();
    for (const ModelStep& each : body.graph.steps) steps.push_back(step(body.graph, each));
    for (const auto& source : body.graph.outputs) outputs.push_back({source.step, source.output});
    json written = {{"name", body.name()},
                    {"steps", steps},
                    {"inputs", body.graph.inputs},
                    {"outputs", outputs},
                    {"output_names", body.graph.output_names}};
    if (body.seed_given) written["seed"] = body.seed;
    return written;
  }
};

// ---- reading ----

struct Reader {
  const Safetensors& file;
  std::vector<LayerPointer> layers{};
  Parameters caught{};  // holds the cells of caught parameters until a model does

  Tensor tensor_named(const std::string& name) const {
    for (const auto& [key, tensor] : file.tensors)
      if (key == name) return tensor;
    throw Error(fmt::format("tensor \"{}\" is missing", name));
  }

  LayerPointer layer(const json& written, int depth) {
    const std::string name = text_member(written, "name");
    const LayerPointer made =
        written.contains("model") ? model(written["model"], depth + 1).pointer() : known_layer(written, name);
    made->set_name(name);
    return made;
  }

  LayerPointer known_layer(const json& written, const std::string& name) const {
    const std::string type = text_member(written, "type");
    const Attributes attributes = attributes_from(member(written, "attributes"));
    try {
      return users_code([&] { return layer_from(type, attributes); });
    } catch (const Error& error) {
      throw error.within("in " +
                         (name.empty() ? with_article(type) + " layer" : fmt::format("layer \"{}\" ({})", name, type)));
    }
  }

  Tensors step(const json& written, const std::vector<Tensors>& values) {
    if (!written.is_object()) throw Error("is no object");
    if (written.contains("input")) {
      const json& sizes = list_member(written, "shape");
      for (const json& size : sizes)
        if (!size.is_number_integer()) throw Error("\"shape\" is no list of sizes");
      return {symbol(Shape(sizes.get<std::vector<std::int64_t>>()),
                     attribute::dtype_named(text_member(written, "dtype")), text_member(written, "input"))};
    }
    if (written.contains("constant")) return {tensor_named(text_member(written, "constant"))};
    if (written.contains("parameter")) {
      caught.emplace_back(tensor_named(text_member(written, "parameter")), text_member(written, "name"));
      return {caught.back().tensor()};
    }
    Tensors inputs;
    for (const json& source : list_member(written, "inputs")) {
      if (!source.is_array() || source.size() != 2) throw Error("an input is no pair of numbers");
      const Tensors& given = values[number_below(source[0], values.size(), "step")];
      inputs.push_back(given[number_below(source[1], given.size(), "output")]);
    }
    if (written.contains("layer"))
      return LayerHandle(layers[number_below(written["layer"], layers.size(), "layer")]).call(inputs);
    const std::string name = text_member(written, "op");
    const Op* op = find_op(name);
    if (!op) throw Error(fmt::format("op \"{}\" is not known here: define() it before load()", name));
    return {apply(*op, op->arguments(attributes_from(member(written, "attributes"))), inputs)};
  }

  Model model(const json& written, int depth) {
    if (depth > kDeepest) throw Error(fmt::format("models are nested more than {} deep", kDeepest));
    std::vector<Tensors> values;
    const json& steps = list_member(written, "steps");
    for (std::size_t k = 0; k < steps.size(); ++k) {
      try {
        values.push_back(step(steps[k], values));
      } catch (const Error& error) {
        throw Error(fmt::format("step {}: {}", k, error.what()), error.cause());
      }
    }
    Tensors inputs, outputs;
    for (const json& each : list_member(written, "inputs"))
      inputs.push_back(values[number_below(each, values.size(), "step")].at(0));
    for (const json& source : list_member(written, "outputs")) {
      if (!source.is_array() || source.size() != 2) throw Error("an output is no pair of numbers");
      const Tensors& given = values[number_below(source[0], values.size(), "step")];
      outputs.push_back(given[number_below(source[1], given.size(), "output")]);
    }
    ModelOptions options{.name = text_member(written, "name")};
    if (written.contains("seed") && written["seed"].is_number_unsigned())
      options.seed = written["seed"].get<std::uint64_t>();
    const Model made(inputs, outputs, options);
    if (written.contains("output_names")) made.body().graph.output_names = output_names(written, outputs.size());
    return made;
  }

  // Those that the user gave are not in the steps.
  static std::vector<std::string> output_names(const json& written, std::size_t count) {
    std::vector<std::string> names;
    for (const json& name : list_member(written, "output_names")) {
      if (!name.is_string() || std::find(names.begin(), names.end(), name.get<std::string>()) != names.end())
        throw Error(fmt::format("output name {} is no name, or there twice", short_text(name)));
      names.push_back(name.get<std::string>());
    }
    if (names.size() != count) throw Error(fmt::format("there are {} names for {} outputs", names.size(), count));
    return names;
  }
};

std::vector<std::pair<std::string, Tensor>> weights_of(const Model& model) {
  std::vector<std::pair<std::string, Tensor>> weights;
  for (const auto& [path, parameter] : model.named_parameters())
    weights.emplace_back("weights/" + path, parameter.value());
  return weights;
}

// Everything that does not fit is told in one message, before anything is set.
void set_weights(const Model& model, const Safetensors& file, std::string_view path) {
  std::map<std::string, Tensor> given;
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with("weights/")) given.emplace(name.substr(8), tensor);
  std::string problems;
  const auto parameters = model.named_parameters();
  for (const auto& [name, parameter] : parameters) {
    const auto found = given.find(name);
    if (found == given.end())
      problems += fmt::format("\n  \"{}\" is missing", name);
    else if (found->second.shape() != parameter.shape() || found->second.dtype() != parameter.dtype())
      problems += fmt::format("\n  \"{}\" is {} {} where the model has {} {}", name, name_of(found->second.dtype()),
                              found->second.shape().text(), name_of(parameter.dtype()), parameter.shape().text());
  }
  for (const auto& of_file : given)
    if (std::none_of(parameters.begin(), parameters.end(),
                     [&](const auto& each) { return each.first == of_file.first; }))
      problems += fmt::format("\n  \"{}\" is unknown to the model", of_file.first);
  if (!problems.empty())
    throw Error(fmt::format("{}: the weights do not fit model \"{}\":{}", path, model.name(), problems));
  for (const auto& [name, parameter] : parameters) parameter.set(given.at(name));
}

}  // namespace

void Model::save(std::string_view path) const {
  Writer writer;
  const json architecture = writer.model(body());
  Safetensors file{weights_of(*this), {}};
  const json training = training_of(*this, file.tensors);
  const json whole = {{"format", kFormat},
                      {"layers", writer.layers},
                      {"model", architecture},
                      {"frozen", frozen_in(body())},
                      {"training", training}};
  file.metadata = {{"twopass", whole.dump()}};
  file.tensors.insert(file.tensors.end(), writer.constants.begin(), writer.constants.end());
  write_safetensors(path, file);
}

void Model::save_weights(std::string_view path) const { write_safetensors(path, {weights_of(*this), {}}); }

void Model::load_weights(std::string_view path) { set_weights(*this, read_safetensors(path), path); }

Model load(std::string_view path) {
  const Safetensors file = read_safetensors(path);
  const auto found = std::find_if(file.metadata.begin(), file.metadata.end(),
                                  [](const auto& each) { return each.first == "twopass"; });
  if (found == file.metadata.end())
    throw Error(fmt::format("{}: holds weights but no model: build the model and load_weights()", path));
  try {
    const json whole = json::parse(found->second);
    if (!member(whole, "format").is_number_integer() || whole["format"].get<std::int64_t>() != kFormat)
      throw Error(fmt::format("has format {}: this program reads format {}", short_text(whole["format"]), kFormat));
    Reader reader{file};
    const json& layers = list_member(whole, "layers");
    for (std::size_t k = 0; k < layers.size(); ++k) {
      try {
        reader.layers.push_back(reader.layer(layers[k], 0));
      } catch (const Error& error) {
        throw Error(fmt::format("layer {}: {}", k, error.what()), error.cause());
      }
    }
    Model model = reader.model(member(whole, "model"), 0);
    set_weights(model, file, path);
    // Of files that don't say it path by path.
    for (std::size_t k = 0; k < layers.size(); ++k)
      if (layers[k].contains("trainable") && layers[k]["trainable"] == false) reader.layers[k]->set_trainable(false);
    if (whole.contains("frozen")) freeze(model.body(), whole["frozen"]);
    if (whole.contains("training")) take_training(model, whole["training"], file);
    return model;
  } catch (const json::exception& error) {
    throw Error(fmt::format("{}: the architecture is no JSON: {}", path, error.what()));
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path, error.what()), error.cause());
  }
}

}  // namespace twopass
