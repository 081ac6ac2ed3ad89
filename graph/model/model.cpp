#include <twopass/graph/model/model.h>

#include <fmt/format.h>

#include <unordered_set>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/sequential.h>

namespace twopass {

ModelBody::ModelBody(const TensorList& given, const TensorList& wanted, const ModelOptions& options)
    : graph(trace_model(given, wanted)),
      inputs(given.tensors()),
      outputs(wanted.tensors()),
      seed(options.seed.value_or(0)),
      seed_given(options.seed.has_value()) {
  set_name(options.name);
  seed_parts(seed, "", seed_given);
}

Tensors ModelBody::call(const Tensors& given, const CallContext& context) {
  try {
    return graph.run(given, context);
  } catch (const Error& error) {
    refuse(error);
  }
}

Rows ModelBody::input_rows(const TensorList& given) const {
  std::vector<DType> wanted;
  for (const Tensor& x : inputs) wanted.push_back(x.dtype());
  try {
    Rows rows(given.ordered(graph.input_names, "input"), graph.input_names, "inputs", wanted);
    graph.check_inputs(rows.tensors());
    return rows;
  } catch (const Error& error) {
    refuse(error);
  }
}

// Only the innermost model is told.
void ModelBody::refuse(const Error& error) const {
  if (name().empty() || std::string_view(error.what()).find("of model \"") != std::string_view::npos) throw;
  throw error.within(fmt::format("of model \"{}\"", name()));
}

std::vector<std::pair<std::string, LayerPointer>> ModelBody::parts() const {
  std::vector<std::pair<std::string, LayerPointer>> parts;
  std::unordered_set<const Layer*> seen;
  for (const ModelStep& step : graph.steps)
    if (step.kind == ModelStep::Kind::layer && seen.insert(step.layer.get()).second)
      parts.emplace_back(step.name, step.layer);
  return parts;
}

std::vector<std::pair<std::string, Parameter>> ModelBody::own_parameters() const {
  std::vector<std::pair<std::string, Parameter>> caught;
  for (const ModelStep& step : graph.steps)
    if (step.kind == ModelStep::Kind::parameter) caught.emplace_back(step.name, step.parameter);
  return caught;
}

void ModelBody::seed_parts(std::uint64_t from, const std::string& path, bool fixed) {
  for (const auto& [name, layer] : parts()) {
    const std::string inner = path.empty() ? name : path + "/" + name;
    if (auto* nested = dynamic_cast<ModelBody*>(layer.get())) {
      // A model that was given a seed of its own keeps it.
      if (!nested->seed_given) nested->seed_parts(from, inner, fixed);
      continue;
    }
    for (const auto& [weight, parameter] : layer->named_parameters())
      parameter.seed(seed_of(from, inner + "/" + weight), fixed);
  }
}

Model::Model(const TensorList& inputs, const TensorList& outputs, const ModelOptions& options)
    : LayerHandle(std::make_shared<ModelBody>(inputs, outputs, options)) {}
Model::Model(std::shared_ptr<ModelBody> body) : LayerHandle(std::move(body)) {}

ModelBody& Model::body() const { return static_cast<ModelBody&>(**this); }
const ModelGraph& Model::graph() const { return body().graph; }
const Tensors& Model::inputs() const { return body().inputs; }
const Tensors& Model::outputs() const { return body().outputs; }
std::uint64_t Model::seed() const { return body().seed; }

const std::string& ModelBody::title() const {
  static const std::string unnamed = "model";
  return name().empty() ? unnamed : name();
}

const std::string& Model::name() const { return body().title(); }

std::vector<std::pair<std::string, Parameter>> Model::named_parameters() const { return body().named_parameters(); }

std::int64_t Model::count_parameters() const {
  std::int64_t count = 0;
  for (const Parameter& each : parameters()) count += each.shape().elements();
  return count;
}

std::vector<std::pair<std::string, LayerHandle>> Model::layers() const {
  std::vector<std::pair<std::string, LayerHandle>> layers;
  for (const auto& [name, layer] : body().parts()) layers.emplace_back(name, LayerHandle(layer));
  return layers;
}

LayerInModel Model::layer(const std::string& name) const {
  std::string list;
  for (const ModelStep& step : graph().steps) {
    if (step.kind != ModelStep::Kind::layer) continue;
    if (step.name == name) {
      Tensors inputs;
      for (const auto& source : step.inputs) inputs.push_back(graph().steps[source.step].symbols[source.output]);
      return LayerInModel(step.layer, inputs, step.symbols);
    }
    list += (list.empty() ? "" : ", ") + step.name;
  }
  throw Error(fmt::format("model \"{}\" has no layer \"{}\": it has {}", this->name(), name, list));
}

const Tensor& LayerInModel::input() const {
  if (inputs_.size() != 1) throw Error(fmt::format("the layer has {} inputs, not one", inputs_.size()));
  return inputs_[0];
}

const Tensor& LayerInModel::output() const {
  if (outputs_.size() != 1) throw Error(fmt::format("the layer has {} outputs, not one", outputs_.size()));
  return outputs_[0];
}

namespace {

Model chain(const std::vector<LayerHandle>& layers, const SequentialOptions& options) {
  if (layers.empty()) throw Error("Sequential needs a layer at least");
  if (options.input_shape.empty()) throw Error("Sequential needs its input_shape, without the batch axis");
  const Tensor x = input(options.input_shape);
  Tensor y = x;
  for (const LayerHandle& layer : layers) y = layer(y);
  return Model(x, y, {.seed = options.seed, .name = options.name});
}

}  // namespace

Sequential::Sequential(const std::vector<LayerHandle>& layers, const SequentialOptions& options)
    : Model(chain(layers, options)) {}

}  // namespace twopass
