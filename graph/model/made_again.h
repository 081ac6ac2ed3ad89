// Whether load() could make a layer again. For the files of this folder.
#pragma once
#include <string>
#include <vector>

#include <twopass/graph/layers/layer.h>

namespace twopass {

/// Refuses a layer that its class name and attributes make no layer of its class of, or, of a class of the user's, one
/// that gives something else for inputs like these with the same weights. `name` is that in the model.
void check_made_again(const LayerPointer& layer, const std::string& name, const std::vector<Spec>& inputs);

}  // namespace twopass
