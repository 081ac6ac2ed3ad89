// Normalisations: batch, layer, group, instance and RMS. Scales and offsets may be undefined: none. Epsilons are
// Keras's.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>
#include <twopass/ops/reduction.h>

namespace twopass {

/// (x - mean) / sqrt(variance + epsilon), mean and biased variance over axes (all where none is named). A constant
/// gives 0. Refuses an epsilon that is not positive.
Tensor standardize(const Tensor& x, const Axes& axes = {}, double epsilon = 1e-3);

/// scale standardize(x) + offset over the last axes, as many as scale (or offset) has; one if both are undefined (Ba et
/// al., 2016).
Tensor layer_norm(const Tensor& x, const Tensor& scale = {}, const Tensor& offset = {}, double epsilon = 1e-3);
/// scale x / sqrt(mean(x²) + epsilon) over the last axis (Zhang and Sennrich, 2019).
Tensor rms_norm(const Tensor& x, const Tensor& scale = {}, double epsilon = 1e-6);

struct ChannelNormOptions {
  /// The axis of channels; scale and offset have one element for each.
  int axis = -1;
  double epsilon = 1e-3;
};
/// x [batch, ...] standardised for each sample and group of neighbouring channels (Wu and He, 2018). Refuses a number
/// of groups that does not divide the channels.
Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& scale = {}, const Tensor& offset = {},
                  const ChannelNormOptions& options = {});
/// x [batch, ..., channels] standardised for each sample and channel (Ulyanov et al., 2016).
Tensor instance_norm(const Tensor& x, const Tensor& scale = {}, const Tensor& offset = {},
                     const ChannelNormOptions& options = {});

struct ResponseNormOptions {
  double alpha = 1e-4;
  double beta = 0.75;
  double k = 1;
};
/// x / (k + alpha m)^beta with m the mean of x² over `size` neighbouring channels of x [batch, channels, ...], zeros
/// beyond the first and last (Krizhevsky et al., 2012; alpha as in PyTorch, that is the paper's times `size`).
Tensor local_response_norm(const Tensor& x, std::int64_t size, const ResponseNormOptions& options = {});

struct BatchNorm {
  /// scale standardize(x) + offset, over all axes but the channels'.
  Tensor output;
  /// The mean and the biased variance of each channel, for running averages: no derivative passes through them.
  Tensor mean, variance;
};
/// As in training (Ioffe and Szegedy, 2015). Refuses one element a channel, whose variance says nothing.
BatchNorm batch_norm(const Tensor& x, const Tensor& scale = {}, const Tensor& offset = {},
                     const ChannelNormOptions& options = {});
/// As in inference, with the mean and the variance of each channel given.
Tensor batch_norm_with(const Tensor& x, const Tensor& mean, const Tensor& variance, const Tensor& scale = {},
                       const Tensor& offset = {}, const ChannelNormOptions& options = {});

}  // namespace twopass
