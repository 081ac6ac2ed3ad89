#include <twopass/graph/layers/convolutional.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>
#include <twopass/graph/layers/filter_layer.h>

namespace twopass {
namespace {

using Numbers = std::vector<std::int64_t>;

// Of sequences, images or volumes, as every kind: Size is their extent. `own`: the attributes that others do not have.
template <typename Size, typename With>
LayerPointer filter_layer(FilterKind kind, const Size& kernel_size, const With& with, const Attributes& own) {
  kind.window = list_of(kernel_size);
  kind.attributes = attributes_of(with.padding);
  kind.attributes.insert(kind.attributes.end(), {{"kernel_size", attribute_of(kernel_size)},
                                                 {"strides", attribute_of(with.strides)},
                                                 {"dilation_rate", attribute_of(with.dilation_rate)}});
  kind.attributes.insert(kind.attributes.end(), own.begin(), own.end());
  return named<FilterLayer>(with.name, std::move(kind), with);
}
Shape kernel_shape(std::int64_t first, std::int64_t second, const Numbers& window) {
  Numbers sizes{first, second};
  sizes.insert(sizes.end(), window.begin(), window.end());
  return sizes;
}

// relu is computed in the sweep of a convolution, other activations after it.
FusedActivation fused(const ActivationFunction& activation) {
  return activation.name() == "relu" ? FusedActivation::relu : FusedActivation::linear;
}
Tensor activated(const ActivationFunction& activation, const Tensor& y) {
  return fused(activation) == FusedActivation::linear ? activation(y) : y;
}
template <template <typename, typename> typename Options, typename Size, typename Around>
ConvolutionOptions<Size, Around> options_of(const Options<Size, Around>& with, std::int64_t groups = 1) {
  return {with.strides, with.padding, with.dilation_rate, groups, fused(with.activation), with.channels_last};
}
template <typename Options>
using Convolve = Tensor(const Tensor&, const Tensor&, const Tensor&, const Options&);

template <typename Size, typename Around>
LayerPointer convolution(const char* type, Convolve<ConvolutionOptions<Size, Around>>* convolve, std::int64_t filters,
                         const Size& kernel_size, const ConvolutionLayerOptions<Size, Around>& with) {
  const Numbers window = list_of(kernel_size);
  const auto weights = [=, groups = with.groups, draw = with.kernel_initializer](std::int64_t channels) -> Weights {
    if (groups < 1 || channels % groups != 0)
      throw Error(fmt::format("{}: {} groups do not divide {} channels", type, groups, channels));
    return {{{"kernel", kernel_shape(filters, channels / groups, window), turned(draw)}}, filters};
  };
  const auto apply = [convolve, options = options_of(with, with.groups), activation = with.activation](
                         const Tensor& x, const Tensors& kernels, const Tensor& bias) {
    return activated(activation, convolve(x, kernels[0], bias, options));
  };
  return filter_layer({.type = type, .filters = filters, .weights = weights, .apply = apply}, kernel_size, with,
                      {{"filters", filters}, {"groups", with.groups}});
}

// Keras's output padding where none was given: what makes strides of every place.
template <typename Size, typename Around>
Size output_padding(const Numbers& window, const TransposedLayerOptions<Size, Around>& with) {
  Numbers all = list_of(with.output_padding);
  const Numbers strides = list_of(with.strides), spacing = list_of(with.dilation_rate);
  for (std::size_t k = 0; k < all.size(); ++k)
    if (all[k] == -1)
      all[k] = with.padding.same() ? 0 : std::max<std::int64_t>(0, strides[k] - ((window[k] - 1) * spacing[k] + 1));
  return size_of<Size>(all);
}

template <typename Size, typename Around>
LayerPointer transposed(const char* type, Convolve<TransposedConvolutionOptions<Size, Around>>* convolve,
                        std::int64_t filters, const Size& kernel_size,
                        const TransposedLayerOptions<Size, Around>& with) {
  if constexpr (requires { with.padding.causal(); })
    if (with.padding.causal()) throw Error(fmt::format("{}: transposed convolutions have no causal padding", type));
  const Numbers window = list_of(kernel_size);
  const auto weights = [=, draw = with.kernel_initializer](std::int64_t channels) -> Weights {
    return {{{"kernel", kernel_shape(channels, filters, window), turned(draw)}}, filters};
  };
  const TransposedConvolutionOptions<Size, Around> options{
      with.strides, with.padding, with.dilation_rate, 1, output_padding(window, with), with.channels_last};
  const auto apply = [convolve, options, activation = with.activation](const Tensor& x, const Tensors& kernels,
                                                                       const Tensor& bias) {
    return activation(convolve(x, kernels[0], bias, options));
  };
  return filter_layer({.type = type, .filters = filters, .weights = weights, .apply = apply}, kernel_size, with,
                      {{"filters", filters}, {"output_padding", attribute_of(with.output_padding)}});
}

template <typename Size, typename Around>
LayerPointer depthwise(const char* type, Convolve<ConvolutionOptions<Size, Around>>* convolve, const Size& kernel_size,
                       const DepthwiseLayerOptions<Size, Around>& with) {
  const Numbers window = list_of(kernel_size);
  const std::int64_t each = with.depth_multiplier;
  const auto weights = [=, draw = with.depthwise_initializer](std::int64_t channels) -> Weights {
    const std::int64_t filters = checked_product(channels, each);
    return {{{"kernel", kernel_shape(filters, 1, window), turned_depthwise(draw, each)}}, filters};
  };
  const auto apply = [convolve, options = options_of(with), activation = with.activation](
                         const Tensor& x, const Tensors& kernels, const Tensor& bias) {
    return activated(activation, convolve(x, kernels[0], bias, options));
  };
  return filter_layer({.type = type, .filters = each, .weights = weights, .apply = apply}, kernel_size, with,
                      {{"depth_multiplier", each}});
}

template <typename Size, typename Around>
LayerPointer separable(const char* type,
                       Tensor (*convolve)(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                          const ConvolutionOptions<Size, Around>&),
                       std::int64_t filters, const Size& kernel_size, const SeparableLayerOptions<Size, Around>& with) {
  const Numbers window = list_of(kernel_size);
  const std::int64_t each = with.depth_multiplier;
  if (each < 1) throw Error(fmt::format("{}: the depth multiplier must be 1 or more, not {}", type, each));
  const auto weights = [=, depthwise = with.depthwise_initializer,
                        pointwise = with.pointwise_initializer](std::int64_t channels) -> Weights {
    const std::int64_t between = checked_product(channels, each);
    const Numbers place(window.size(), 1);
    return {{{"depthwise_kernel", kernel_shape(between, 1, window), turned_depthwise(depthwise, each)},
             {"pointwise_kernel", kernel_shape(filters, between, place), turned(pointwise)}},
            filters};
  };
  const auto apply = [convolve, options = options_of(with), activation = with.activation](
                         const Tensor& x, const Tensors& kernels, const Tensor& bias) {
    return activated(activation, convolve(x, kernels[0], kernels[1], bias, options));
  };
  return filter_layer({.type = type, .filters = filters, .weights = weights, .apply = apply}, kernel_size, with,
                      {{"filters", filters}, {"depth_multiplier", each}});
}

using namespace reading;

template <typename L, typename Size, typename Around>
LayerPointer convolution_from(const Attributes& with) {
  return L(integer(with, "filters"), size<Size>(with, "kernel_size"),
           {.strides = size<Size>(with, "strides"),
            .padding = around<Around>(with),
            .dilation_rate = size<Size>(with, "dilation_rate"),
            .groups = integer(with, "groups"),
            .activation = text(with, "activation"),
            .use_bias = truth(with, "use_bias"),
            .channels_last = truth_or_false(with, "channels_last")})
      .pointer();
}

template <typename L, typename Size, typename Around>
LayerPointer transposed_from(const Attributes& with) {
  return L(integer(with, "filters"), size<Size>(with, "kernel_size"),
           {.strides = size<Size>(with, "strides"),
            .padding = around<Around>(with),
            .output_padding = size<Size>(with, "output_padding"),
            .dilation_rate = size<Size>(with, "dilation_rate"),
            .activation = text(with, "activation"),
            .use_bias = truth(with, "use_bias"),
            .channels_last = truth(with, "channels_last")})
      .pointer();
}

template <typename L, typename Size, typename Around>
LayerPointer depthwise_from(const Attributes& with) {
  return L(size<Size>(with, "kernel_size"), {.strides = size<Size>(with, "strides"),
                                             .padding = around<Around>(with),
                                             .depth_multiplier = integer(with, "depth_multiplier"),
                                             .dilation_rate = size<Size>(with, "dilation_rate"),
                                             .activation = text(with, "activation"),
                                             .use_bias = truth(with, "use_bias"),
                                             .channels_last = truth(with, "channels_last")})
      .pointer();
}

template <typename L, typename Size, typename Around>
LayerPointer separable_from(const Attributes& with) {
  return L(integer(with, "filters"), size<Size>(with, "kernel_size"),
           {.strides = size<Size>(with, "strides"),
            .padding = around<Around>(with),
            .dilation_rate = size<Size>(with, "dilation_rate"),
            .depth_multiplier = integer(with, "depth_multiplier"),
            .activation = text(with, "activation"),
            .use_bias = truth(with, "use_bias"),
            .channels_last = truth(with, "channels_last")})
      .pointer();
}

}  // namespace

Conv1D::Conv1D(std::int64_t filters, std::int64_t kernel_size, const Conv1DOptions& options)
    : LayerHandle(convolution("Conv1D", conv1d, filters, kernel_size, options)) {}
Conv2D::Conv2D(std::int64_t filters, Extent kernel_size, const Conv2DOptions& options)
    : LayerHandle(convolution("Conv2D", conv2d, filters, kernel_size, options)) {}
Conv3D::Conv3D(std::int64_t filters, Extent3d kernel_size, const Conv3DOptions& options)
    : LayerHandle(convolution("Conv3D", conv3d, filters, kernel_size, options)) {}
Conv1DTranspose::Conv1DTranspose(std::int64_t filters, std::int64_t kernel_size, const Conv1DTransposeOptions& options)
    : LayerHandle(transposed("Conv1DTranspose", conv1d_transpose, filters, kernel_size, options)) {}
Conv2DTranspose::Conv2DTranspose(std::int64_t filters, Extent kernel_size, const Conv2DTransposeOptions& options)
    : LayerHandle(transposed("Conv2DTranspose", conv2d_transpose, filters, kernel_size, options)) {}
Conv3DTranspose::Conv3DTranspose(std::int64_t filters, Extent3d kernel_size, const Conv3DTransposeOptions& options)
    : LayerHandle(transposed("Conv3DTranspose", conv3d_transpose, filters, kernel_size, options)) {}
DepthwiseConv1D::DepthwiseConv1D(std::int64_t kernel_size, const DepthwiseConv1DOptions& options)
    : LayerHandle(depthwise("DepthwiseConv1D", depthwise_conv1d, kernel_size, options)) {}
DepthwiseConv2D::DepthwiseConv2D(Extent kernel_size, const DepthwiseConv2DOptions& options)
    : LayerHandle(depthwise("DepthwiseConv2D", depthwise_conv2d, kernel_size, options)) {}
SeparableConv1D::SeparableConv1D(std::int64_t filters, std::int64_t kernel_size, const SeparableConv1DOptions& options)
    : LayerHandle(separable("SeparableConv1D", separable_conv1d, filters, kernel_size, options)) {}
SeparableConv2D::SeparableConv2D(std::int64_t filters, Extent kernel_size, const SeparableConv2DOptions& options)
    : LayerHandle(separable("SeparableConv2D", separable_conv2d, filters, kernel_size, options)) {}

LayerMakers convolutional_layers() {
  return {{"Conv1D", convolution_from<Conv1D, std::int64_t, Padding1d>},
          {"Conv2D", convolution_from<Conv2D, Extent, Padding>},
          {"Conv3D", convolution_from<Conv3D, Extent3d, Padding3d>},
          {"Conv1DTranspose", transposed_from<Conv1DTranspose, std::int64_t, Padding1d>},
          {"Conv2DTranspose", transposed_from<Conv2DTranspose, Extent, Padding>},
          {"Conv3DTranspose", transposed_from<Conv3DTranspose, Extent3d, Padding3d>},
          {"DepthwiseConv1D", depthwise_from<DepthwiseConv1D, std::int64_t, Padding1d>},
          {"DepthwiseConv2D", depthwise_from<DepthwiseConv2D, Extent, Padding>},
          {"SeparableConv1D", separable_from<SeparableConv1D, std::int64_t, Padding1d>},
          {"SeparableConv2D", separable_from<SeparableConv2D, Extent, Padding>}};
}

}  // namespace twopass
