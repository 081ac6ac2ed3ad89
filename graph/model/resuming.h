// What training goes on from, in model files. For the files of this folder.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/safetensors.h>
#include <twopass/graph/model/model.h>

namespace twopass {

/// The steps and epochs done, and of a compiled model what compile was given, as far as a file can hold it: of an
/// optimizer or a schedule of the user's the state alone, and neither losses nor metrics where one is the user's. The
/// optimizer's state is added to `tensors`, as "optimizer/…".
nlohmann::json training_of(const Model& model, std::vector<std::pair<std::string, Tensor>>& tensors);

/// Takes up what `training_of` gave. Refuses what makes no sense.
void take_training(Model& model, const nlohmann::json& written, const Safetensors& file);

/// Where the file held the state alone of an optimizer, one of its name and slots that has done no update goes on from
/// it, with the rate that it has itself.
void go_on(const Model& model, const Optimizer& optimizer);

}  // namespace twopass
