#include <twopass/ops/normalization.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/named.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

Tensor scaled(const Tensor& x, const Tensor& scale, const Tensor& offset) {
  const Tensor y = scale.defined() ? x * scale : x;
  return offset.defined() ? y + offset : y;
}

// One element a channel, in a shape that broadcasts along the axes after it.
Tensor along_axis(const char* name, const Tensor& each, const Shape& shape, int axis) {
  if (!each.defined()) return each;
  if (each.rank() != 1 || each.shape()[0] != shape[axis])
    throw Error(fmt::format("{}{}: {} channels do not go with a scale, an offset or a moment of shape {}", name,
                            shape.text(), shape[axis], each.shape().text()));
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(shape.rank() - axis), 1);
  sizes[0] = shape[axis];
  return reshape(each, sizes);
}

Tensor scaled_channels(const char* name, const Tensor& y, const Tensor& scale, const Tensor& offset, int axis) {
  return scaled(y, along_axis(name, scale, y.shape(), axis), along_axis(name, offset, y.shape(), axis));
}

// All axes but those two.
std::vector<std::int64_t> axes_but(int rank, int one, int other) {
  std::vector<std::int64_t> axes;
  for (int axis = 0; axis < rank; ++axis)
    if (axis != one && axis != other) axes.push_back(axis);
  return axes;
}

// The axis of channels behind the batch.
int channels(const char* name, const Tensor& x, int axis) {
  if (x.rank() < 2)
    throw Error(fmt::format("{}{}: a batch axis and one of channels are wanted", name, x.shape().text()));
  const int counted = x.shape().axis(axis);
  if (counted == 0) throw Error(fmt::format("{}{}: axis 0 is the batch, not the channels", name, x.shape().text()));
  return counted;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& scale, const Tensor& offset, double epsilon) {
  return named("layer_norm", {&x, &scale, &offset}, [&] {
    const int count = scale.defined() ? scale.rank() : offset.defined() ? offset.rank() : 1;
    if (count < 1 || count > x.rank())
      throw Error(fmt::format("layer_norm{}: a scale or an offset with {} axes does not fit", x.shape().text(), count));
    std::vector<std::int64_t> axes;
    for (int axis = -count; axis < 0; ++axis) {
      axes.push_back(axis);
      for (const Tensor* each : {&scale, &offset})
        if (each->defined() && (each->rank() != count || each->shape()[axis] != x.shape()[axis]))
          throw Error(fmt::format("layer_norm{}: a scale or an offset of shape {} is not that of its last axes",
                                  x.shape().text(), each->shape().text()));
    }
    return scaled(standardize(x, axes, epsilon), scale, offset);
  });
}

Tensor rms_norm(const Tensor& x, const Tensor& scale, double epsilon) {
  return named("rms_norm", {&x, &scale},
               [&] { return scaled(x * rsqrt(mean(square(x), -1, keep_axis) + epsilon), scale, {}); });
}

Tensor group_norm(const Tensor& x, std::int64_t groups, const Tensor& scale, const Tensor& offset,
                  const ChannelNormOptions& options) {
  return named("group_norm", {&x, &scale, &offset}, [&] {
    const int axis = channels("group_norm", x, options.axis);
    const std::int64_t count = x.shape()[axis];
    if (groups < 1 || count % groups != 0)
      throw Error(fmt::format("group_norm{}: {} channels do not fall into {} groups", x.shape().text(), count, groups));
    const Tensor apart = reshape(x, x.shape().with(axis, groups).inserted(axis + 1, count / groups));
    const Tensor y = reshape(standardize(apart, axes_but(apart.rank(), 0, axis), options.epsilon), x.shape());
    return scaled_channels("group_norm", y, scale, offset, axis);
  });
}

Tensor instance_norm(const Tensor& x, const Tensor& scale, const Tensor& offset, const ChannelNormOptions& options) {
  return named("instance_norm", {&x, &scale, &offset}, [&] {
    const int axis = channels("instance_norm", x, options.axis);
    if (x.rank() < 3)
      throw Error(fmt::format("instance_norm{}: there are no axes beside batch and channels", x.shape().text()));
    const Tensor y = standardize(x, axes_but(x.rank(), 0, axis), options.epsilon);
    return scaled_channels("instance_norm", y, scale, offset, axis);
  });
}

Tensor local_response_norm(const Tensor& x, std::int64_t size, const ResponseNormOptions& options) {
  return named("local_response_norm", {&x}, [&] {
    if (x.rank() < 3)
      throw Error(fmt::format("local_response_norm{}: nothing lies beside the channels", x.shape().text()));
    if (size < 1) throw Error(fmt::format("local_response_norm{}: {} channels have no mean", x.shape().text(), size));
    const Tensor columns = expand_dims(flatten(square(x), 2), 1);
    const Tensor means = average_pool2d(
        columns,
        {.window = {size, 1}, .strides = 1, .padding = {size / 2, (size - 1) / 2, 0, 0}, .count_padding = true});
    return x * pow(options.k + options.alpha * reshape(means, x.shape()), -options.beta);
  });
}

BatchNorm batch_norm(const Tensor& x, const Tensor& scale, const Tensor& offset, const ChannelNormOptions& options) {
  return named("batch_norm", {&x, &scale, &offset}, [&]() -> BatchNorm {
    const int axis = channels("batch_norm", x, options.axis);
    const std::vector<std::int64_t> axes = axes_but(x.rank(), axis, axis);
    std::int64_t each = 1;
    for (const std::int64_t reduced : axes)
      each = x.shape().open() ? kOpen : each * x.shape()[static_cast<int>(reduced)];
    if (each == 1)
      throw Error(fmt::format("batch_norm{}: one element a channel has no variance to learn from", x.shape().text()));
    const Tensor y = scaled_channels("batch_norm", standardize(x, axes, options.epsilon), scale, offset, axis);
    const Tensor held = stop_gradient(x);
    return {y, mean(held, axes), var(held, axes)};
  });
}

Tensor batch_norm_with(const Tensor& x, const Tensor& mean, const Tensor& variance, const Tensor& scale,
                       const Tensor& offset, const ChannelNormOptions& options) {
  return named("batch_norm_with", {&x, &mean, &variance, &scale, &offset}, [&] {
    const int axis = channels("batch_norm_with", x, options.axis);
    const Tensor center = along_axis("batch_norm_with", mean, x.shape(), axis);
    const Tensor spread = along_axis("batch_norm_with", variance, x.shape(), axis);
    return scaled_channels("batch_norm_with", (x - center) * rsqrt(spread + options.epsilon), scale, offset, axis);
  });
}

}  // namespace twopass
