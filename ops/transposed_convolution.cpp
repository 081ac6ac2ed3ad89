// Convolutions from their outputs to their inputs.
#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/named.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

using windows::channels_first;
using Numbers = std::vector<std::int64_t>;

struct Asked {
  std::int64_t stride, spacing, before, after, more;
  bool same;
};

// The size of an axis of the output, named for errors.
std::int64_t transposed_size(const char* op, const char* axis, const Asked& asked, std::int64_t input,
                             std::int64_t window) {
  if (input == kOpen) throw Error(fmt::format("{}: the number of {} is open: it must be known", op, axis));
  if (asked.more < 0 || asked.more >= std::max<std::int64_t>(1, asked.stride) || (asked.same && asked.more > 0))
    throw Error(fmt::format(
        "{}: the output padding must be from 0 to the stride of {} less one, and 0 beside padding \"same\", not {}", op,
        asked.stride, asked.more));
  if (asked.same) return input * asked.stride;
  const std::int64_t reach = (window - 1) * asked.spacing + 1;
  const std::int64_t size = (input - 1) * asked.stride + reach - asked.before - asked.after + asked.more;
  if (size < 1) throw Error(fmt::format("{}: padding of {} and {} leaves no {}", op, asked.before, asked.after, axis));
  return size;
}

Tensor with_bias(const char* op, const Tensor& y, const Tensor& bias) {
  if (!bias.defined()) return y;
  const std::int64_t filters = y.shape()[1];
  if (bias.shape() != Shape{filters})
    throw Error(
        fmt::format("{}: the bias must be ({},), one for each filter, not {}", op, filters, bias.shape().text()));
  Numbers sizes(static_cast<std::size_t>(y.rank() - 1), 1);
  sizes[0] = filters;
  return y + reshape(bias, sizes);
}

// The planes of the output, each of all that reaches it: input o through the kernel's plane k reaches plane
// o stride + k spacing - before. Nothing may: then there are no channels, whose sum is 0.
Tensors transposed_planes(const Tensor& volumes, const Tensor& kernel, const windows::Axis& depth,
                          const Conv2dTransposeOptions& within) {
  const Tensor planes_first = moveaxis(kernel, 2, 1);  // [c, depth, filters / groups, rows, columns]
  const Shape &x = volumes.shape(), &k = planes_first.shape();
  Tensors planes;
  for (std::int64_t to = 0; to < depth.input; ++to) {
    Numbers inputs, places;
    for (std::int64_t place = 0; place < depth.window; ++place) {
      const std::int64_t from = to + depth.before - place * depth.spacing;
      if (from < 0 || from % depth.stride != 0 || from / depth.stride >= depth.output) continue;
      inputs.push_back(from / depth.stride);
      places.push_back(place);
    }
    const auto count = static_cast<std::int64_t>(inputs.size());
    const auto chosen = [count](const Tensor& from, const Numbers& which, int axis) {
      return gather(from, from_values(which, {count}), axis);
    };
    const Tensor seen = count == 0 ? slice(squeeze(slice(volumes, 2, 0, 1), 2), 1, 0, 0)
                                   : reshape(chosen(volumes, inputs, 2), {x[0], x[1] * count, x[3], x[4]});
    const Tensor through = reshape(chosen(planes_first, places, 1), {k[0] * count, k[2], k[3], k[4]});
    planes.push_back(conv2d_transpose(seen, through, {}, within));
  }
  return planes;
}

}  // namespace

Tensor conv2d_transpose(const Tensor& x, const Tensor& kernel, const Tensor& bias,
                        const Conv2dTransposeOptions& options) {
  return named("conv2d_transpose", {&x, &kernel, &bias}, [&] {
    windows::check_ranks("conv2d_transpose", x, kernel, 4);
    return channels_first(x, options.channels_last, [&](const Tensor& images) {
      const Padding& padding = options.padding;
      const auto& around = padding.widths();
      const Extent &strides = options.strides, &dilation = options.dilation, &more = options.output_padding;
      const std::int64_t rows = transposed_size(
          "conv2d_transpose", "rows", {strides.rows, dilation.rows, around[0], around[1], more.rows, padding.same()},
          images.shape()[2], kernel.shape()[2]);
      const std::int64_t columns =
          transposed_size("conv2d_transpose", "columns",
                          {strides.columns, dilation.columns, around[2], around[3], more.columns, padding.same()},
                          images.shape()[3], kernel.shape()[3]);
      const Tensor y = conv2d_input_gradient(
          images, kernel, {rows, columns},
          {.strides = strides, .padding = padding, .dilation = dilation, .groups = options.groups});
      return with_bias("conv2d_transpose", y, bias);
    });
  });
}

Tensor conv1d_transpose(const Tensor& x, const Tensor& kernel, const Tensor& bias,
                        const Conv1dTransposeOptions& options) {
  return named("conv1d_transpose", {&x, &kernel, &bias}, [&] {
    windows::check_ranks("conv1d_transpose", x, kernel, 3);
    if (options.padding.causal()) throw Error("conv1d_transpose: transposed convolutions have no causal padding");
    return channels_first(x, options.channels_last, [&](const Tensor& sequences) {
      const Tensor y = conv2d_transpose(expand_dims(sequences, 2), expand_dims(kernel, 2), bias,
                                        {.strides = {1, options.strides},
                                         .padding = options.padding.of_row(1),
                                         .dilation = {1, options.dilation},
                                         .groups = options.groups,
                                         .output_padding = {0, options.output_padding}});
      return squeeze(y, 2);
    });
  });
}

Tensor conv3d_transpose(const Tensor& x, const Tensor& kernel, const Tensor& bias,
                        const Conv3dTransposeOptions& options) {
  return named("conv3d_transpose", {&x, &kernel, &bias}, [&] {
    windows::check_ranks("conv3d_transpose", x, kernel, 5);
    return channels_first(x, options.channels_last, [&](const Tensor& volumes) {
      const Extent3d &strides = options.strides, &dilation = options.dilation, &more = options.output_padding;
      const Padding3d& padding = options.padding;
      const std::int64_t window = kernel.shape()[2];
      const std::int64_t size =
          transposed_size("conv3d_transpose", "planes",
                          {strides.depth, dilation.depth, padding.front(), padding.back(), more.depth, padding.same()},
                          volumes.shape()[2], window);
      // The axis of the convolution whose transpose this is: its input is what is computed here.
      const windows::Axis depth = windows::depth_axis(strides, padding, dilation, size, window);
      const Tensors planes = transposed_planes(volumes, kernel, depth,
                                               {.strides = strides.plane,
                                                .padding = padding.plane(),
                                                .dilation = dilation.plane,
                                                .groups = options.groups,
                                                .output_padding = more.plane});
      return with_bias("conv3d_transpose", stack(planes, 2), bias);
    });
  });
}

}  // namespace twopass
