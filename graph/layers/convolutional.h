// Layers of convolution, of sequences, images and volumes. Channels come first, [n, channels, …], as in PyTorch;
// `channels_last` makes it [n, …, channels], Keras's default, at the cost of a transpose of each input and output.
#pragma once
#include <cstdint>
#include <string>

#include <twopass/graph/layers/layers.h>
#include <twopass/ops/convolution.h>

namespace twopass {

template <typename Size, typename Around>
struct ConvolutionLayerOptions {
  Size strides = 1;
  /// "valid", "same", or a number of places on every side; of sequences also "causal".
  Around padding = "valid";
  Size dilation_rate = 1;
  std::int64_t groups = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [window…, channels / groups, filters].
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  bool channels_last = false;
  std::string name = {};
};
using Conv1DOptions = ConvolutionLayerOptions<std::int64_t, Padding1d>;
using Conv2DOptions = ConvolutionLayerOptions<Extent, Padding>;
using Conv3DOptions = ConvolutionLayerOptions<Extent3d, Padding3d>;

/// activation(x * kernel + bias): [n, c, t] gives [n, filters, …]; kernel [filters, c / groups, steps].
struct Conv1D : LayerHandle {
  Conv1D(std::int64_t filters, std::int64_t kernel_size, const Conv1DOptions& options = {});
};
/// The same of images [n, c, h, w]; kernel [filters, c / groups, rows, columns].
struct Conv2D : LayerHandle {
  Conv2D(std::int64_t filters, Extent kernel_size, const Conv2DOptions& options = {});
};
/// The same of volumes [n, c, d, h, w]; kernel [filters, c / groups, depth, rows, columns].
struct Conv3D : LayerHandle {
  Conv3D(std::int64_t filters, Extent3d kernel_size, const Conv3DOptions& options = {});
};

template <typename Size, typename Around>
struct TransposedLayerOptions {
  Size strides = 1;
  /// "valid", "same", or a number of places on every side.
  Around padding = "valid";
  /// Places more after the last. -1: Keras's, so many that there are strides for each place at least.
  Size output_padding = -1;
  Size dilation_rate = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [window…, filters, channels].
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  bool channels_last = false;
  std::string name = {};
};
using Conv1DTransposeOptions = TransposedLayerOptions<std::int64_t, Padding1d>;
using Conv2DTransposeOptions = TransposedLayerOptions<Extent, Padding>;
using Conv3DTransposeOptions = TransposedLayerOptions<Extent3d, Padding3d>;

/// The transpose of a convolution, for upsampling: [n, c, …] gives [n, filters, …], with padding "same" of strides for
/// each place; kernel [c, filters, …].
struct Conv1DTranspose : LayerHandle {
  Conv1DTranspose(std::int64_t filters, std::int64_t kernel_size, const Conv1DTransposeOptions& options = {});
};
struct Conv2DTranspose : LayerHandle {
  Conv2DTranspose(std::int64_t filters, Extent kernel_size, const Conv2DTransposeOptions& options = {});
};
struct Conv3DTranspose : LayerHandle {
  Conv3DTranspose(std::int64_t filters, Extent3d kernel_size, const Conv3DTransposeOptions& options = {});
};

template <typename Size, typename Around>
struct DepthwiseLayerOptions {
  Size strides = 1;
  Around padding = "valid";
  /// Filters for each channel.
  std::int64_t depth_multiplier = 1;
  Size dilation_rate = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [window…, channels, depth_multiplier].
  Initializer depthwise_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  bool channels_last = false;
  std::string name = {};
};
using DepthwiseConv1DOptions = DepthwiseLayerOptions<std::int64_t, Padding1d>;
using DepthwiseConv2DOptions = DepthwiseLayerOptions<Extent, Padding>;

/// A convolution of each channel by itself: [n, c, …] gives [n, c depth_multiplier, …]; kernel [c depth_multiplier, 1,
/// …].
struct DepthwiseConv1D : LayerHandle {
  explicit DepthwiseConv1D(std::int64_t kernel_size, const DepthwiseConv1DOptions& options = {});
};
struct DepthwiseConv2D : LayerHandle {
  explicit DepthwiseConv2D(Extent kernel_size, const DepthwiseConv2DOptions& options = {});
};

template <typename Size, typename Around>
struct SeparableLayerOptions {
  Size strides = 1;
  Around padding = "valid";
  Size dilation_rate = 1;
  /// Filters for each channel of the depthwise part.
  std::int64_t depth_multiplier = 1;
  ActivationFunction activation = {};
  bool use_bias = true;
  /// Draws for Keras's shape [window…, channels, depth_multiplier].
  Initializer depthwise_initializer = glorot_uniform();
  /// Draws for Keras's shape [1…, channels depth_multiplier, filters].
  Initializer pointwise_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  bool channels_last = false;
  std::string name = {};
};
using SeparableConv1DOptions = SeparableLayerOptions<std::int64_t, Padding1d>;
using SeparableConv2DOptions = SeparableLayerOptions<Extent, Padding>;

/// A depthwise convolution without bias, then one of one place: [n, c, …] gives [n, filters, …]; depthwise_kernel
/// [c depth_multiplier, 1, …], pointwise_kernel [filters, c depth_multiplier, 1…].
struct SeparableConv1D : LayerHandle {
  SeparableConv1D(std::int64_t filters, std::int64_t kernel_size, const SeparableConv1DOptions& options = {});
};
struct SeparableConv2D : LayerHandle {
  SeparableConv2D(std::int64_t filters, Extent kernel_size, const SeparableConv2DOptions& options = {});
};

}  // namespace twopass
