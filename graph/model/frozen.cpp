#include <twopass/graph/model/frozen.h>

#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include <twopass/core/error.h>
#include <twopass/graph/model/json_parts.h>

namespace twopass {
namespace {

using nlohmann::json;

// A layer before its parts, as it freezes them with itself.
template <typename L>
void each_layer(L& layer, const std::string& path, const std::function<void(L&, const std::string&)>& f) {
  f(layer, path);
  for (const auto& [name, part] : layer.parts()) each_layer<L>(*part, path.empty() ? name : path + "/" + name, f);
}

std::set<std::string> paths_member(const json& frozen, const char* name) {
  std::set<std::string> paths;
  for (const json& path : list_member(frozen, name)) {
    if (!path.is_string()) throw Error(fmt::format("frozen {} are no list of paths", name));
    paths.insert(path.get<std::string>());
  }
  return paths;
}

void check_all_known(const std::set<std::string>& frozen, const std::set<std::string>& known, const char* what) {
  for (const std::string& path : frozen)
    if (!known.contains(path)) throw Error(fmt::format("there is no {} \"{}\" to freeze", what, path));
}

}  // namespace

json frozen_in(const Layer& layer) {
  json layers = json::array(), parameters = json::array();
  each_layer<const Layer>(layer, "", [&](const Layer& each, const std::string& path) {
    if (!each.trainable()) layers.push_back(path);
  });
  for (const auto& [path, parameter] : layer.named_parameters())
    if (!parameter.trainable()) parameters.push_back(path);
  return {{"layers", layers}, {"parameters", parameters}};
}

void freeze(Layer& layer, const json& frozen) {
  const std::set<std::string> layers = paths_member(frozen, "layers"), parameters = paths_member(frozen, "parameters");
  std::set<std::string> known_layers, known_parameters;
  each_layer<const Layer>(layer, "", [&](const Layer&, const std::string& path) { known_layers.insert(path); });
  const auto named = layer.named_parameters();
  for (const auto& each : named) known_parameters.insert(each.first);
  check_all_known(layers, known_layers, "layer");
  check_all_known(parameters, known_parameters, "parameter");
  each_layer<Layer>(layer, "",
                    [&](Layer& each, const std::string& path) { each.set_trainable(!layers.contains(path)); });
  for (const auto& [path, parameter] : named) parameter.set_trainable(!parameters.contains(path));
}

}  // namespace twopass
