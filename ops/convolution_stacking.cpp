#include <twopass/ops/convolution_records.h>
#include <twopass/ops/shaping.h>

namespace twopass::convolution {

Tensor as_channels(const Tensor& images) {
  const Shape& shape = images.shape();
  return reshape(transpose(images, {1, 0, 2, 3, 4}), {shape[1], shape[0] * shape[2], shape[3], shape[4]});
}

Tensor from_channels(const Tensor& images, std::int64_t calls) {
  const Shape& shape = images.shape();
  return transpose(reshape(images, {shape[0], calls, shape[1] / calls, shape[2], shape[3]}), {1, 0, 2, 3, 4});
}

Tensor as_filters(const Tensor& kernels) {
  const Shape& shape = kernels.shape();
  return reshape(kernels, shape.without(0).with(0, shape[0] * shape[1]));
}

Tensor from_filters(const Tensor& kernels, std::int64_t calls) {
  const Shape& shape = kernels.shape();
  return reshape(kernels, shape.with(0, shape[0] / calls).inserted(0, calls));
}

}  // namespace twopass::convolution
