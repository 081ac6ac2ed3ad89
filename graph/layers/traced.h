// Layers in plans. For the files of graph.
#pragma once
#include <twopass/graph/layers/layer.h>

namespace twopass {

/// What `layer->run` gives. While a plan is traced, a layer that cannot be, as it reads elements, becomes one call that
/// runs it eagerly and sets its states.
Tensors run_layer(const LayerPointer& layer, const Tensors& inputs, const CallContext& context);

}  // namespace twopass
