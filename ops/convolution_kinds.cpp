// Convolutions that are conv2d's, seen otherwise: of sequences and volumes, depthwise and transposed.
#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

using windows::channels_first;

void check_ranks(const char* name, const Tensor& x, const Tensor& kernel, int rank) {
  if (x.rank() != rank || kernel.rank() != rank)
    throw Error(fmt::format("{}({}, {}): x and the kernel must have {} axes", name, x.shape().text(),
                            kernel.shape().text(), rank));
}

// Rows or columns of a transposed convolution's output.
std::int64_t transposed_size(const Conv2dTransposeOptions& options, int which, std::int64_t input,
                             std::int64_t window) {
  const bool rows = which == 0;
  const std::int64_t stride = options.strides.list()[static_cast<std::size_t>(which)];
  if (input == kOpen)
    throw Error(fmt::format("conv2d_transpose: the number of {} is open: it must be known", rows ? "rows" : "columns"));
  const std::int64_t more = options.output_padding.list()[static_cast<std::size_t>(which)];
  if (more < 0 || more >= std::max<std::int64_t>(1, stride) || (options.padding.same() && more > 0))
    throw Error(fmt::format(
        "conv2d_transpose: the output padding must be from 0 to the stride of {} less one, and 0 beside padding "
        "\"same\", not {}",
        stride, more));
  if (options.padding.same()) return input * stride;
  const auto& widths = options.padding.widths();
  const std::int64_t reach = (window - 1) * options.dilation.list()[static_cast<std::size_t>(which)] + 1;
  const auto at = static_cast<std::size_t>(2 * which);
  const std::int64_t size = (input - 1) * stride + reach - widths[at] - widths[at + 1] + more;
  if (size < 1)
    throw Error(fmt::format("conv2d_transpose: padding of {} and {} leaves no {}", widths[at], widths[at + 1],
                            rows ? "rows" : "columns"));
  return size;
}

}  // namespace

Tensor depthwise_conv2d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv2dOptions& options) {
  check_ranks("depthwise_conv2d", x, kernel, 4);
  Conv2dOptions own = options;
  own.groups = x.shape()[options.channels_last ? 3 : 1];
  if (own.groups == kOpen) throw Error("depthwise_conv2d: the number of channels is open: it must be known");
  return conv2d(x, kernel, bias, own);
}

Tensor conv2d_transpose(const Tensor& x, const Tensor& kernel, const Tensor& bias,
                        const Conv2dTransposeOptions& options) {
  check_ranks("conv2d_transpose", x, kernel, 4);
  return channels_first(x, options.channels_last, [&](const Tensor& images) {
    const auto size = [&](int which) {
      return transposed_size(options, which, images.shape()[2 + which], kernel.shape()[2 + which]);
    };
    const Tensor y = conv2d_input_gradient(images, kernel, {size(0), size(1)},
                                           {.strides = options.strides,
                                            .padding = options.padding,
                                            .dilation = options.dilation,
                                            .groups = options.groups});
    if (!bias.defined()) return y;
    if (bias.shape() != Shape{y.shape()[1]})
      throw Error(fmt::format("conv2d_transpose: the bias must be ({},), one for each filter, not {}", y.shape()[1],
                              bias.shape().text()));
    return y + reshape(bias, {y.shape()[1], 1, 1});
  });
}

Padding1d::Padding1d(const std::string& name) : causal_(name == "causal") {
  if (!causal_) same_ = Padding(name).same();
}

Padding Padding1d::of_row(std::int64_t reach) const {
  if (same_) return "same";
  return {0, 0, causal_ ? std::max<std::int64_t>(0, reach - 1) : before_, after_};
}

std::vector<std::int64_t> Padding3d::widths() const {
  std::vector<std::int64_t> all{front_, back_};
  all.insert(all.end(), plane_.widths().begin(), plane_.widths().end());
  return all;
}

Tensor conv1d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv1dOptions& options) {
  check_ranks("conv1d", x, kernel, 3);
  return channels_first(x, options.channels_last, [&](const Tensor& sequences) {
    const Tensor y = conv2d(expand_dims(sequences, 2), expand_dims(kernel, 2), bias,
                            {.strides = {1, options.stride},
                             .padding = options.padding.of_row((kernel.shape()[2] - 1) * options.dilation + 1),
                             .dilation = {1, options.dilation},
                             .groups = options.groups,
                             .activation = options.activation});
    return squeeze(y, 2);
  });
}

Tensor conv3d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv3dOptions& options) {
  check_ranks("conv3d", x, kernel, 5);
  return channels_first(x, options.channels_last, [&](const Tensor& given) {
    const Shape& sizes = given.shape();
    if (sizes[2] == kOpen) throw Error("conv3d: the depth is open: it must be known");
    const std::int64_t window = kernel.shape()[2], step = options.strides.depth, spacing = options.dilation.depth;
    // Depth is the rows of an axis of its own.
    const bool same = options.padding.same();
    const std::vector<std::int64_t> strides{step, 1}, dilation{spacing, 1};
    const std::vector<std::int64_t> around{options.padding.front(), options.padding.back(), 0, 0};
    const windows::Wish wish{strides, around, same, dilation};
    windows::check(wish);
    const windows::Axis depth = windows::axis(wish, 0, sizes[2], window);
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
  });
}

}  // namespace twopass
