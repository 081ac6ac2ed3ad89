// Convolutions that are conv2d's, seen otherwise: of sequences and volumes, depthwise and separable.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/named.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

using windows::channels_first;

template <typename Options>
using Convolution = Tensor(const Tensor&, const Tensor&, const Tensor&, const Options&);

template <typename Options>
Tensor depthwise(const char* name, Convolution<Options>* convolve, const Tensor& x, const Tensor& kernel,
                 const Tensor& bias, Options options, int rank) {
  windows::check_ranks(name, x, kernel, rank);
  options.groups = x.shape()[options.channels_last ? rank - 1 : 1];
  if (options.groups == kOpen) throw Error(fmt::format("{}: the number of channels is open: it must be known", name));
  return named(name, {&x, &kernel, &bias}, [&] { return convolve(x, kernel, bias, options); });
}

template <typename Options>
Tensor separable(const char* name, Convolution<Options>* each, Convolution<Options>* across, const Tensor& x,
                 const Tensor& own, const Tensor& pointwise, const Tensor& bias, Options options) {
  for (int axis = 2; axis < pointwise.rank(); ++axis)
    if (pointwise.shape()[axis] != 1)
      throw Error(fmt::format("{}: the pointwise kernel must have one place, not {}", name, pointwise.shape().text()));
  const auto convolved = [&](const Tensor& channels) {
    const FusedActivation activation = std::exchange(options.activation, FusedActivation::linear);
    return across(each(channels, own, {}, options), pointwise, bias, {.activation = activation});
  };
  return named(name, {&x, &own, &pointwise, &bias},
               [&] { return channels_first(x, std::exchange(options.channels_last, false), convolved); });
}

}  // namespace

Tensor depthwise_conv1d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv1dOptions& options) {
  return depthwise("depthwise_conv1d", conv1d, x, kernel, bias, options, 3);
}
Tensor depthwise_conv2d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv2dOptions& options) {
  return depthwise("depthwise_conv2d", conv2d, x, kernel, bias, options, 4);
}
Tensor depthwise_conv3d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv3dOptions& options) {
  return depthwise("depthwise_conv3d", conv3d, x, kernel, bias, options, 5);
}

Tensor separable_conv1d(const Tensor& x, const Tensor& depthwise, const Tensor& pointwise, const Tensor& bias,
                        const Conv1dOptions& options) {
  return separable("separable_conv1d", depthwise_conv1d, conv1d, x, depthwise, pointwise, bias, options);
}
Tensor separable_conv2d(const Tensor& x, const Tensor& depthwise, const Tensor& pointwise, const Tensor& bias,
                        const Conv2dOptions& options) {
  return separable("separable_conv2d", depthwise_conv2d, conv2d, x, depthwise, pointwise, bias, options);
}

Tensor conv1d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv1dOptions& options) {
  windows::check_ranks("conv1d", x, kernel, 3);
  const auto convolved = [&](const Tensor& sequences) {
    const Tensor y = conv2d(expand_dims(sequences, 2), expand_dims(kernel, 2), bias,
                            {.strides = {1, options.strides},
                             .padding = options.padding.of_row((kernel.shape()[2] - 1) * options.dilation + 1),
                             .dilation = {1, options.dilation},
                             .groups = options.groups,
                             .activation = options.activation});
    return squeeze(y, 2);
  };
  return named("conv1d", {&x, &kernel, &bias}, [&] { return channels_first(x, options.channels_last, convolved); });
}

Tensor conv3d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv3dOptions& options) {
  windows::check_ranks("conv3d", x, kernel, 5);
  const auto convolved = [&](const Tensor& given) {
    const Shape& sizes = given.shape();
    if (sizes[2] == kOpen) throw Error("conv3d: the depth is open: it must be known");
    const std::int64_t window = kernel.shape()[2], step = options.strides.depth, spacing = options.dilation.depth;
    const windows::Axis depth =
        windows::depth_axis(options.strides, options.padding, options.dilation, sizes[2], window);
    const std::int64_t before = depth.before, after = std::max<std::int64_t>(0, depth.after());
    const Tensor volumes = before + after == 0 ? given : pad(given, {{0, 0}, {0, 0}, {before, after}, {0, 0}, {0, 0}});
    // Channel by channel the planes of a window, as in the kernel: groups stay apart.
    const Shape& k = kernel.shape();
    const Tensor flat = reshape(kernel, {k[0], k[1] * window, k[3], k[4]});
    Tensors planes;
    for (std::int64_t o = 0; o < depth.output; ++o) {
      const Tensor seen = slice(volumes, 2, o * step, o * step + (window - 1) * spacing + 1, spacing);
      planes.push_back(conv2d(reshape(seen, {sizes[0], sizes[1] * window, sizes[3], sizes[4]}), flat, bias,
                              {.strides = options.strides.plane,
                               .padding = options.padding.plane(),
                               .dilation = options.dilation.plane,
                               .groups = options.groups,
                               .activation = options.activation}));
    }
    return stack(planes, 2);
  };
  return named("conv3d", {&x, &kernel, &bias}, [&] { return channels_first(x, options.channels_last, convolved); });
}

}  // namespace twopass
