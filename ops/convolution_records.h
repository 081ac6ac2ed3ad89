// What the records of convolution share. For the .cpp files of this folder.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include <twopass/ops/convolution_kernels.h>
#include <twopass/ops/record.h>

namespace twopass::convolution {

using Numbers = std::vector<std::int64_t>;

struct ConvolutionArgs {
  Numbers strides = {1, 1};
  Numbers padding = {0, 0, 0, 0};
  bool same = false;
  Numbers dilation = {1, 1};
  std::int64_t groups = 1;
  static constexpr auto fields =
      std::tuple{field("strides", &ConvolutionArgs::strides), field("padding", &ConvolutionArgs::padding),
                 field("same", &ConvolutionArgs::same), field("dilation", &ConvolutionArgs::dilation),
                 field("groups", &ConvolutionArgs::groups)};
  windows::Wish wish() const { return {strides, padding, same, dilation}; }
};

/// The sizes of a convolution of images by kernels of these shapes; refuses what does not fit.
Sizes sizes_of(const ConvolutionArgs& args, const Shape& x, const Shape& kernel);
/// Refuses open sizes.
void check_known(const Shape& kernel);
Spec convolution_rule(const ConvolutionArgs& args, const Specs& in);

/// Floating-point operations of each of the three products.
double work_of(const Sizes& sizes);
/// Bytes that the convolution takes while it runs.
std::int64_t scratch_of(const ConvolutionArgs& args, const Shape& x, const Spec& kernel);

/// conv2d, or conv2d_relu.
const Op& convolution_record(bool relu);
/// How conv2d takes over its consumer's work.
std::optional<Absorbed> convolution_absorb(const ConvolutionArgs& args, const Consumer& consumer);
std::vector<const Op*> convolution_add_ops();

/// The three products as calls on images in blocks, where their kernels like them and the plan wants them.
std::optional<InBlocks> forward_in_blocks(const ConvolutionArgs& args, const Specs& in, const ChannelBlocks& wanted,
                                          bool added, bool relu);
std::optional<InBlocks> input_gradient_in_blocks(const ConvolutionArgs& args, const Sizes& sizes, DType dtype,
                                                 const ChannelBlocks& wanted);
std::optional<InBlocks> kernel_gradient_in_blocks(const ConvolutionArgs& args, const Sizes& sizes, DType dtype,
                                                  const ChannelBlocks& wanted);
std::vector<const Op*> blocked_convolution_ops();

/// Images of calls side by side, [calls, images, c, h, w], as those of one call, [images, calls c, h, w], in which each
/// has a group; and back.
Tensor as_channels(const Tensor& images);
Tensor from_channels(const Tensor& images, std::int64_t calls);
/// Kernels or biases of calls side by side, [calls, filters, ...], as [calls filters, ...]; and back.
Tensor as_filters(const Tensor& kernels);
Tensor from_filters(const Tensor& kernels, std::int64_t calls);

}  // namespace twopass::convolution
