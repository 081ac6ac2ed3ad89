// Layers of convolution. Channels come first, [n, channels, …], as in PyTorch; `channels_last` makes it [n, …,
// channels], Keras's default, at the cost of a transpose of each input and output.
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
  bool channels_last = false;
  std::string name = {};
};
/// activation(x * kernel + bias): [n, c, h, w] gives [n, filters, …]; kernel [filters, c / groups, rows, columns].
struct Conv2D : LayerHandle {
  Conv2D(std::int64_t filters, Extent kernel_size, const Conv2DOptions& options = {});
};

struct Conv1DOptions {
  std::int64_t strides = 1;
  /// "valid", "same", "causal", or a number of steps.
  Padding1d padding = "valid";
  std::int64_t dilation_rate = 1;
  std::int64_t groups = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [steps, channels / groups, filters].
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  bool channels_last = false;
  std::string name = {};
};
/// The same of sequences: [n, c, t] gives [n, filters, …]; kernel [filters, c / groups, steps].
struct Conv1D : LayerHandle {
  Conv1D(std::int64_t filters, std::int64_t kernel_size, const Conv1DOptions& options = {});
};

struct Conv3DOptions {
  Extent3d strides = 1;
  /// "valid", "same", or a number of planes, rows and columns.
  Padding3d padding = "valid";
  Extent3d dilation_rate = 1;
  std::int64_t groups = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [depth, rows, columns, channels / groups, filters].
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  bool channels_last = false;
  std::string name = {};
};
/// The same of volumes: [n, c, d, h, w] gives [n, filters, …]; kernel [filters, c / groups, depth, rows, columns].
struct Conv3D : LayerHandle {
  Conv3D(std::int64_t filters, Extent3d kernel_size, const Conv3DOptions& options = {});
};

struct DepthwiseConv2DOptions {
  Extent strides = 1;
  Padding padding = "valid";
  /// Filters for each channel.
  std::int64_t depth_multiplier = 1;
  Extent dilation_rate = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [rows, columns, channels, depth_multiplier].
  Initializer depthwise_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  bool channels_last = false;
  std::string name = {};
};
/// A convolution of each channel by itself: [n, c, h, w] gives [n, c depth_multiplier, …]; kernel
/// [c depth_multiplier, 1, rows, columns].
struct DepthwiseConv2D : LayerHandle {
  explicit DepthwiseConv2D(Extent kernel_size, const DepthwiseConv2DOptions& options = {});
};

struct Conv2DTransposeOptions {
  Extent strides = 1;
  Padding padding = "valid";
  /// Rows and columns more after the last. -1: Keras's, so many that there are h stride at least.
  Extent output_padding = -1;
  Extent dilation_rate = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [rows, columns, filters, channels].
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  bool channels_last = false;
  std::string name = {};
};
/// The transpose of a Conv2D, for upsampling: [n, c, h, w] gives [n, filters, …], with padding "same" of h strides
/// rows; kernel [c, filters, rows, columns].
struct Conv2DTranspose : LayerHandle {
  Conv2DTranspose(std::int64_t filters, Extent kernel_size, const Conv2DTransposeOptions& options = {});
};

}  // namespace twopass
