#include <twopass/graph/model/made_again.h>

#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <typeinfo>

#include <twopass/core/error.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/core/random.h>
#include <twopass/core/users_code.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/frozen.h>
#include <twopass/graph/model/json_parts.h>
#include <twopass/ops/creation.h>

namespace twopass {
namespace {

// What fits the inputs: two rows where the batch is open.
Tensors stand_ins(const std::vector<Spec>& inputs) {
  Random random(1);
  Tensors values;
  for (const Spec& spec : inputs) {
    Shape shape = spec.shape;
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (shape[axis] == kOpen) shape = shape.with(axis, axis == 0 ? 2 : 3);
    values.push_back(is_floating(spec.dtype) ? random.uniform(shape, spec.dtype, -1, 1) : zeros(shape, spec.dtype));
  }
  return values;
}

Tensors tried(Layer& layer, const Tensors& inputs, bool training) {
  const RecordingScope off(false);
  const ParameterSandbox trial;
  return layer.run(inputs, {.training = training, .seed = 1, .step = tensor(std::int64_t{0})});
}

bool same_bits(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t k = 0; k < a.size(); ++k)
    if (a[k].shape() != b[k].shape() || a[k].dtype() != b[k].dtype() ||
        std::memcmp(a[k].node().data, b[k].node().data, a[k].node().bytes()) != 0)
      return false;
  return true;
}

// None where it refuses the inputs, or gives something else each time: then nothing can be found out.
std::optional<Tensors> settled(Layer& layer, const Tensors& inputs, bool training) {
  try {
    const Tensors found = tried(layer, inputs, training);
    if (same_bits(found, tried(layer, inputs, training))) return found;
  } catch (const Error&) {
  }
  return std::nullopt;
}

// What `again` does otherwise than `layer`, with the name, weights and frozen parts that load() gives it; empty where
// nothing is seen.
std::string difference(Layer& layer, Layer& again, const Tensors& inputs) {
  if (!settled(layer, inputs, false)) return "";
  again.set_name(layer.name());
  tried(again, inputs, false);  // which builds it
  const auto weights = layer.named_parameters(), others = again.named_parameters();
  bool same = weights.size() == others.size();
  for (std::size_t k = 0; same && k < weights.size(); ++k)
    same = weights[k].first == others[k].first && weights[k].second.shape() == others[k].second.shape();
  if (!same) return "has other weights";
  for (std::size_t k = 0; k < weights.size(); ++k) others[k].second.set(weights[k].second.value());
  freeze(again, frozen_in(layer));
  for (const bool training : {false, true})
    if (const auto found = settled(layer, inputs, training);
        found && !same_bits(*found, tried(again, inputs, training)))
      return "gives something else for the same inputs";
  return "";
}

// Empty where it can be.
std::string why_not_again(const LayerPointer& layer, const std::vector<Spec>& inputs) try {
  const std::string type = layer->type();
  const LayerPointer again =
      users_code([&] { return layer_from(type, attributes_from(json_of(layer->attributes()))); });
  const Layer &made = *again, &given = *layer;
  if (typeid(made) != typeid(given))
    return fmt::format("\"{}\" is another class of layers there; its type() must be a name of its own", type);
  const std::string what = is_registered(type) ? difference(*layer, *again, stand_ins(inputs)) : "";
  if (what.empty()) return "";
  return fmt::format(
      "what is registered for \"{}\" makes one that {}: attributes() must tell what the constructor was given, and the "
      "function of register_layer() read it",
      type, what);
} catch (const Error& error) {
  return error.what();
}

}  // namespace

void check_made_again(const LayerPointer& layer, const std::string& name, const std::vector<Spec>& inputs) {
  const std::string why = why_not_again(layer, inputs);
  if (!why.empty())
    throw Error(
        fmt::format("layer \"{}\" ({}) can't be saved, as load() could not make it again: {}; save_weights() saves its "
                    "weights",
                    name, layer->type(), why));
}

}  // namespace twopass
