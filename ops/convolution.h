// Convolution and pooling: of images [batch, channels, rows, columns], of sequences [batch, channels, steps] and of
// volumes [batch, channels, depth, rows, columns].
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>
#include <twopass/ops/extents.h>
#include <twopass/ops/products.h>

namespace twopass {

template <typename Size, typename Around>
struct ConvolutionOptions {
  Size strides = 1;
  Around padding = {};
  Size dilation = 1;
  /// Channels and filters in so many parts that do not see each other.
  std::int64_t groups = 1;
  /// linear or relu.
  FusedActivation activation = FusedActivation::linear;
  /// Whether x and y are [n, …, c]; costs a transpose of each, as kernels work on channels first.
  bool channels_last = false;
};
using Conv1dOptions = ConvolutionOptions<std::int64_t, Padding1d>;
using Conv2dOptions = ConvolutionOptions<Extent, Padding>;
using Conv3dOptions = ConvolutionOptions<Extent3d, Padding3d>;

/// activation(x * kernel + bias), the cross-correlation that networks call convolution: x [n, c, h, w], kernel
/// [filters, c / groups, rows, columns], bias [filters] or undefined.
Tensor conv2d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {}, const Conv2dOptions& options = {});
/// conv2d of one row: x [n, c, t], kernel [filters, c / groups, steps].
Tensor conv1d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {}, const Conv1dOptions& options = {});
/// x [n, c, d, h, w], kernel [filters, c / groups, depth, rows, columns]: a conv2d for each plane of the output, which
/// takes the planes that it sees as channels. Refuses an open depth.
Tensor conv3d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {}, const Conv3dOptions& options = {});
/// What conv2d with this kernel passes back to images of `size` from g, the gradient of its output; options' activation
/// is not read.
Tensor conv2d_input_gradient(const Tensor& g, const Tensor& kernel, Extent size, const Conv2dOptions& options = {});

/// Convolutions with each channel a group of its own: kernel [c multiplier, 1, …]; options' groups are not read.
Tensor depthwise_conv1d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {},
                        const Conv1dOptions& options = {});
Tensor depthwise_conv2d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {},
                        const Conv2dOptions& options = {});
Tensor depthwise_conv3d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {},
                        const Conv3dOptions& options = {});
/// A depthwise convolution with the options' strides, padding and dilation, then one with kernels of one place,
/// [filters, c multiplier, 1, …], which adds the bias.
Tensor separable_conv1d(const Tensor& x, const Tensor& depthwise, const Tensor& pointwise, const Tensor& bias = {},
                        const Conv1dOptions& options = {});
Tensor separable_conv2d(const Tensor& x, const Tensor& depthwise, const Tensor& pointwise, const Tensor& bias = {},
                        const Conv2dOptions& options = {});

template <typename Size, typename Around>
struct TransposedConvolutionOptions {
  Size strides = 1;
  /// Not "causal".
  Around padding = {};
  Size dilation = 1;
  std::int64_t groups = 1;
  /// So many places more after the last; less than the strides, and none beside padding "same".
  Size output_padding = 0;
  bool channels_last = false;
};
using Conv1dTransposeOptions = TransposedConvolutionOptions<std::int64_t, Padding1d>;
using Conv2dTransposeOptions = TransposedConvolutionOptions<Extent, Padding>;
using Conv3dTransposeOptions = TransposedConvolutionOptions<Extent3d, Padding3d>;

/// The transpose of conv2d, from its outputs to its inputs, plus bias [filters] or none: x [n, c, h, w], kernel
/// [c, filters / groups, rows, columns] as in PyTorch. Rows are (h - 1) stride + (rows - 1) dilation + 1 - top - bottom
/// + output_padding as in PyTorch, with padding "same" h stride as in Keras. Refuses open rows and columns.
Tensor conv2d_transpose(const Tensor& x, const Tensor& kernel, const Tensor& bias = {},
                        const Conv2dTransposeOptions& options = {});
/// That of conv1d: a conv2d_transpose of one row.
Tensor conv1d_transpose(const Tensor& x, const Tensor& kernel, const Tensor& bias = {},
                        const Conv1dTransposeOptions& options = {});
/// That of conv3d: a conv2d_transpose for each plane of the output, which takes the planes that reach it as channels.
Tensor conv3d_transpose(const Tensor& x, const Tensor& kernel, const Tensor& bias = {},
                        const Conv3dTransposeOptions& options = {});

template <typename Size, typename Around>
struct PoolOptions {
  Size window = 2;
  /// 0: as the window.
  Size strides = 0;
  /// Half the window at most, and not "causal".
  Around padding = {};
  /// Whether x and y are [n, …, c]; costs a transpose of each.
  bool channels_last = false;
  /// Whether averages count padding as zeros, as in PyTorch; else it is left out, as in Keras.
  bool count_padding = false;
};
using Pool1dOptions = PoolOptions<std::int64_t, Padding1d>;
using Pool2dOptions = PoolOptions<Extent, Padding>;
using Pool3dOptions = PoolOptions<Extent3d, Padding3d>;

/// The largest of each window; of ties the first takes the gradient, NaN wins.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options = {});
/// The mean of each window.
Tensor average_pool2d(const Tensor& x, const Pool2dOptions& options = {});
/// The same of sequences [n, c, t].
Tensor max_pool1d(const Tensor& x, const Pool1dOptions& options = {});
Tensor average_pool1d(const Tensor& x, const Pool1dOptions& options = {});
/// The same of volumes [n, c, d, h, w]: a pool of each plane, then one along the depth. Only the batch may be open.
Tensor max_pool3d(const Tensor& x, const Pool3dOptions& options = {});
Tensor average_pool3d(const Tensor& x, const Pool3dOptions& options = {});

/// (Σ |x|^p)^(1/p) of each window, without overflow; the gradient is 0 where all are 0. All but the batch must be
/// known; options' count_padding is not read.
Tensor lp_pool2d(const Tensor& x, double p, const Pool2dOptions& options = {});
Tensor lp_pool1d(const Tensor& x, double p, const Pool1dOptions& options = {});

struct AdaptivePoolOptions {
  /// Whether x and y are [n, …, c]; costs a transpose of each.
  bool channels_last = false;
};
/// Pools to `size`: window k of m over n elements is those from ⌊k n / m⌋ to ⌈(k + 1) n / m⌉, as in PyTorch. Where m
/// does not divide n, windows overlap, and ties of the largest share the gradient. Only the batch may be open.
Tensor adaptive_max_pool1d(const Tensor& x, std::int64_t size, const AdaptivePoolOptions& options = {});
Tensor adaptive_max_pool2d(const Tensor& x, Extent size, const AdaptivePoolOptions& options = {});
Tensor adaptive_max_pool3d(const Tensor& x, Extent3d size, const AdaptivePoolOptions& options = {});
Tensor adaptive_average_pool1d(const Tensor& x, std::int64_t size, const AdaptivePoolOptions& options = {});
Tensor adaptive_average_pool2d(const Tensor& x, Extent size, const AdaptivePoolOptions& options = {});
Tensor adaptive_average_pool3d(const Tensor& x, Extent3d size, const AdaptivePoolOptions& options = {});

struct GlobalPoolOptions {
  /// Whether the axes that were pooled stay, with size 1.
  bool keepdims = false;
  /// Whether x is [n, …, c].
  bool channels_last = false;
};
/// The largest and the mean of each channel of x [n, c, …]: [n, c].
Tensor global_max_pool(const Tensor& x, const GlobalPoolOptions& options = {});
Tensor global_average_pool(const Tensor& x, const GlobalPoolOptions& options = {});

}  // namespace twopass
