// Layers of images. Channels come first, [n, channels, rows, columns], as in PyTorch; Keras's default is channels last.
#pragma once
#include <cstdint>
#include <string>

#include <twopass/graph/layers/layers.h>
#include <twopass/ops/convolution.h>

namespace twopass {

struct Conv2DOptions {
  Extent strides = 1;
  /// "valid", "same", or a number of rows and columns.
  Padding padding = "valid";
  Extent dilation_rate = 1;
  std::int64_t groups = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [rows, columns, channels / groups, filters].
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  std::string name = {};
};
/// activation(x * kernel + bias): [n, c, h, w] gives [n, filters, …]; kernel [filters, c / groups, rows, columns].
struct Conv2D : LayerHandle {
  Conv2D(std::int64_t filters, Extent kernel_size, const Conv2DOptions& options = {});
};

struct MaxPooling2DOptions {
  /// 0: as the pool.
  Extent strides = 0;
  Padding padding = "valid";
  std::string name = {};
};
/// The largest of each window of rows and columns.
struct MaxPooling2D : LayerHandle {
  explicit MaxPooling2D(Extent pool_size = 2, const MaxPooling2DOptions& options = {});
};

/// One of these layers by class name and attributes, as files hold them.
LayerPointer convolutional_layer_from(const std::string& type, const Attributes& attributes);

}  // namespace twopass
