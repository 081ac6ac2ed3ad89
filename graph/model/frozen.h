// Which layers and parameters are frozen, in model files. For the files of this folder.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <twopass/graph/layers/layer.h>

namespace twopass {

/// The paths of the layers and of the parameters in `layer` that are frozen; its own path is empty.
nlohmann::json frozen_in(const Layer& layer);

/// Freezes in `layer` what `frozen_in` gave, and thaws all else. Refuses paths that it has not.
void freeze(Layer& layer, const nlohmann::json& frozen);

}  // namespace twopass
