// Layers that normalise, with Keras's defaults.
#pragma once
#include <string>

#include <twopass/graph/layers/layers.h>

namespace twopass {

struct LayerNormalizationOptions {
  int axis = -1;
  double epsilon = 1e-3;
  /// Whether there is an offset (beta) and a scale (gamma) for each element of the axis.
  bool center = true, scale = true;
  Initializer beta_initializer = zeros_initializer();
  Initializer gamma_initializer = ones_initializer();
  std::string name = {};
};
/// gamma (x - mean) / sqrt(variance + epsilon) + beta over one axis of each sample.
struct LayerNormalization : LayerHandle {
  explicit LayerNormalization(const LayerNormalizationOptions& options = {});
};

struct BatchNormalizationOptions {
  /// That of the channels: 1 after convolutions, unless they have channels last.
  int axis = -1;
  double momentum = 0.99;
  double epsilon = 1e-3;
  bool center = true, scale = true;
  Initializer beta_initializer = zeros_initializer();
  Initializer gamma_initializer = ones_initializer();
  std::string name = {};
};
/// The same over all axes but the channels', in training with the moments of the batch, which move the layer's own:
/// moving = momentum moving + (1 - momentum) batch, of biased variances. Else, and where it is frozen, with the moving
/// ones. In training one element a channel is refused. (PyTorch's momentum is 1 - Keras's, its running variance
/// unbiased.)
struct BatchNormalization : LayerHandle {
  explicit BatchNormalization(const BatchNormalizationOptions& options = {});
};

}  // namespace twopass
