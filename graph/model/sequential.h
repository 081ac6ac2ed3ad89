// A chain of layers.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <twopass/graph/model/model.h>

namespace twopass {

struct SequentialOptions {
  /// Without the batch axis.
  Shape input_shape = {};
  std::optional<std::uint64_t> seed = {};
  std::string name = {};
};
/// The model that calls the layers one after another. Refuses an empty list, and an empty input shape.
struct Sequential : Model {
  Sequential(const std::vector<LayerHandle>& layers, const SequentialOptions& options);
};

}  // namespace twopass
