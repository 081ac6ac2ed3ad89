// Model files whose architecture somebody has changed.
#pragma once
#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include <twopass/core/error.h>
#include <twopass/core/safetensors.h>
#include <twopass/graph/model/model.h>

#include "temporary_folder.h"

namespace twopass {

/// Saves the model, lets `change` have the JSON of the file, and says what load finds wrong with it: nothing is "".
inline std::string refusal_of_changed(const Model& model, const std::function<void(nlohmann::json&)>& change) {
  const TemporaryFolder folder;
  const std::string path = folder.at("model.twopass");
  model.save(path);
  Safetensors contents = read_safetensors(path);
  nlohmann::json whole = nlohmann::json::parse(contents.metadata.at(0).second);
  change(whole);
  contents.metadata[0].second = whole.dump();
  write_safetensors(path, contents);
  try {
    load(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace twopass
