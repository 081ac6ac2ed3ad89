#include <twopass/graph/layers/convolutional.h>

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

// Keras's shape [window..., in, out] is drawn, so that its fans hold, and turned to [out, in, window...].
Initializer turned(Initializer draw) {
  return [draw = std::move(draw)](const Shape& shape, DType dtype, Random& random) {
    std::vector<std::int64_t> sizes(shape.begin() + 2, shape.end()), order{shape.rank() - 1, shape.rank() - 2};
    sizes.insert(sizes.end(), {shape[1], shape[0]});
    for (std::int64_t axis = 0; axis + 2 < shape.rank(); ++axis) order.push_back(axis);
    return transpose(draw(sizes, dtype, random), order);
  };
}

// The same of [rows, columns, channels, multiplier], which become [channels multiplier, 1, rows, columns].
Initializer turned_depthwise(Initializer draw, std::int64_t multiplier) {
  return [draw = std::move(draw), multiplier](const Shape& shape, DType dtype, Random& random) {
    const Tensor drawn = draw({shape[2], shape[3], shape[0] / multiplier, multiplier}, dtype, random);
    return reshape(transpose(drawn, {2, 3, 0, 1}), shape);
  };
}

FusedActivation fused(const ActivationFunction& activation) {
  return activation.name() == "relu" ? FusedActivation::relu : FusedActivation::linear;
}

// What all layers of filters have.
class FilterLayer : public Layer {
 public:
  struct Common {
    std::string type, axes;  // "Conv2D", "rows, columns"
    std::int64_t filters;
    ActivationFunction activation;
    bool use_bias;
    Initializer kernel_initializer, bias_initializer;
    bool channels_last;
  };
  explicit FilterLayer(Common common) : common_(std::move(common)) {
    if (common_.filters < 1 || common_.filters > (std::int64_t{1} << 40))
      throw Error(fmt::format("{}({}): filters must be from 1 to 2^40", common_.type, common_.filters));
    const std::string& name = common_.activation.name();
    if ((name == "softmax" || name == "log_softmax") && !common_.channels_last)
      throw Error(fmt::format("{}: {} works over the last axis, which holds {} here, not channels", common_.type, name,
                              common_.axes.substr(common_.axes.rfind(' ') + 1)));
  }
  std::string type() const override { return common_.type; }
  bool savable() const override { return common_.activation.named(); }

 protected:
  // Of what was computed with the activation that is fused.
  Tensor activated(const Tensor& y) const {
    return fused(common_.activation) == FusedActivation::linear ? common_.activation(y) : y;
  }
  Tensor bias() const { return common_.use_bias ? bias_.tensor() : Tensor(); }
  // The number of channels of an input of so many axes.
  std::int64_t channels(const Shapes& inputs, int rank) const {
    const std::string axes = common_.channels_last ? fmt::format("[n, {}, channels]", common_.axes)
                                                   : fmt::format("[n, channels, {}]", common_.axes);
    const Shape& x = only_input(common_.type, inputs, rank, axes.c_str());
    return known(common_.type, x[common_.channels_last ? rank - 1 : 1], "channels");
  }
  std::int64_t grouped(std::int64_t channels, std::int64_t groups) const {
    if (groups < 1 || channels % groups != 0)
      throw Error(fmt::format("{}: {} groups do not divide {} channels", common_.type, groups, channels));
    return channels / groups;
  }
  void add_bias(std::int64_t filters) {
    if (common_.use_bias) bias_ = add_weight("bias", {filters}, common_.bias_initializer);
  }
  Attributes with_common(Attributes own) const {
    own.insert(own.end(), {{"activation", common_.activation.name()},
                           {"use_bias", common_.use_bias},
                           {"channels_last", common_.channels_last}});
    return own;
  }

  Common common_;
  Parameter kernel_, bias_;
};

// Layers whose filters see all channels of their group, in one function of x, kernel and bias.
class ConvolutionLayer : public FilterLayer {
 public:
  using Function = std::function<Tensor(const Tensor& x, const Tensor& kernel, const Tensor& bias)>;
  ConvolutionLayer(Common common, std::vector<std::int64_t> window, std::int64_t groups, Attributes attributes,
                   Function function)
      : FilterLayer(std::move(common)),
        window_(std::move(window)),
        groups_(groups),
        attributes_(std::move(attributes)),
        function_(std::move(function)) {}
  void build(const Shapes& inputs) override {
    const std::int64_t each = grouped(channels(inputs, static_cast<int>(window_.size()) + 2), groups_);
    std::vector<std::int64_t> sizes{common_.filters, each};
    sizes.insert(sizes.end(), window_.begin(), window_.end());
    kernel_ = add_weight("kernel", sizes, turned(common_.kernel_initializer));
    add_bias(common_.filters);
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    return {activated(function_(inputs[0], kernel_, bias()))};
  }
  Attributes attributes() const override { return with_common(attributes_); }

 private:
  std::vector<std::int64_t> window_;
  std::int64_t groups_;
  Attributes attributes_;
  Function function_;
};

template <typename Options>
FilterLayer::Common common(const char* type, const char* axes, std::int64_t filters, const Options& with) {
  return {type,
          axes,
          filters,
          with.activation,
          with.use_bias,
          with.kernel_initializer,
          with.bias_initializer,
          with.channels_last};
}

LayerPointer convolution1d(std::int64_t filters, std::int64_t kernel_size, const Conv1DOptions& with) {
  const Padding1d& padding = with.padding;
  const char* const name = padding.same() ? "same" : padding.causal() ? "causal" : "";
  const Attributes attributes{{"filters", filters},
                              {"kernel_size", kernel_size},
                              {"strides", with.strides},
                              {"named_padding", std::string(name)},
                              {"padding", std::vector<std::int64_t>{padding.before(), padding.after()}},
                              {"dilation_rate", with.dilation_rate},
                              {"groups", with.groups}};
  const Conv1dOptions options{with.strides, with.padding,           with.dilation_rate,
                              with.groups,  fused(with.activation), with.channels_last};
  return named<ConvolutionLayer>(
      with.name, common("Conv1D", "steps", filters, with), std::vector{kernel_size}, with.groups, attributes,
      [=](const Tensor& x, const Tensor& kernel, const Tensor& b) { return conv1d(x, kernel, b, options); });
}

// Of images or volumes.
template <typename Size, typename With, typename Options>
LayerPointer convolution(const char* type, const char* axes,
                         Tensor (*convolve)(const Tensor&, const Tensor&, const Tensor&, const Options&),
                         std::int64_t filters, Size kernel_size, const With& with) {
  const Attributes attributes{
      {"filters", filters},          {"kernel_size", kernel_size.list()}, {"strides", with.strides.list()},
      {"same", with.padding.same()}, {"padding", with.padding.widths()},  {"dilation_rate", with.dilation_rate.list()},
      {"groups", with.groups}};
  const Options options{with.strides, with.padding,           with.dilation_rate,
                        with.groups,  fused(with.activation), with.channels_last};
  return named<ConvolutionLayer>(
      with.name, common(type, axes, filters, with), kernel_size.list(), with.groups, attributes,
      [=](const Tensor& x, const Tensor& kernel, const Tensor& b) { return convolve(x, kernel, b, options); });
}

class DepthwiseConv2DLayer : public FilterLayer {
 public:
  DepthwiseConv2DLayer(Extent kernel_size, const DepthwiseConv2DOptions& with)
      : FilterLayer({"DepthwiseConv2D", "rows, columns", with.depth_multiplier, with.activation, with.use_bias,
                     with.depthwise_initializer, with.bias_initializer, with.channels_last}),
        kernel_size_(kernel_size),
        options_{with.strides, with.padding, with.dilation_rate, 1, fused(with.activation), with.channels_last} {}
  void build(const Shapes& inputs) override {
    const std::int64_t filters = checked_product(channels(inputs, 4), common_.filters);
    kernel_ = add_weight("kernel", {filters, 1, kernel_size_.rows, kernel_size_.columns},
                         turned_depthwise(common_.kernel_initializer, common_.filters));
    add_bias(filters);
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    return {activated(depthwise_conv2d(inputs[0], kernel_, bias(), options_))};
  }
  Attributes attributes() const override {
    return with_common({{"kernel_size", kernel_size_.list()},
                        {"strides", options_.strides.list()},
                        {"same", options_.padding.same()},
                        {"padding", options_.padding.widths()},
                        {"depth_multiplier", common_.filters},
                        {"dilation_rate", options_.dilation.list()}});
  }

 private:
  Extent kernel_size_;
  Conv2dOptions options_;
};

class Conv2DTransposeLayer : public FilterLayer {
 public:
  Conv2DTransposeLayer(std::int64_t filters, Extent kernel_size, const Conv2DTransposeOptions& with)
      : FilterLayer({"Conv2DTranspose", "rows, columns", filters, with.activation, with.use_bias,
                     with.kernel_initializer, with.bias_initializer, with.channels_last}),
        kernel_size_(kernel_size),
        output_padding_(with.output_padding),
        options_{with.strides, with.padding, with.dilation_rate, 1, with.output_padding, with.channels_last} {
    const auto usual = [&](std::int64_t given, std::int64_t stride, std::int64_t window, std::int64_t spacing) {
      if (given != -1) return given;
      return with.padding.same() ? 0 : std::max<std::int64_t>(0, stride - ((window - 1) * spacing + 1));
    };
    options_.output_padding = {
        usual(with.output_padding.rows, with.strides.rows, kernel_size.rows, with.dilation_rate.rows),
        usual(with.output_padding.columns, with.strides.columns, kernel_size.columns, with.dilation_rate.columns)};
  }
  void build(const Shapes& inputs) override {
    kernel_ = add_weight("kernel", {channels(inputs, 4), common_.filters, kernel_size_.rows, kernel_size_.columns},
                         turned(common_.kernel_initializer));
    add_bias(common_.filters);
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    return {common_.activation(conv2d_transpose(inputs[0], kernel_, bias(), options_))};
  }
  Attributes attributes() const override {
    return with_common({{"filters", common_.filters},
                        {"kernel_size", kernel_size_.list()},
                        {"strides", options_.strides.list()},
                        {"same", options_.padding.same()},
                        {"padding", options_.padding.widths()},
                        {"output_padding", output_padding_.list()},
                        {"dilation_rate", options_.dilation.list()}});
  }

 private:
  Extent kernel_size_, output_padding_;
  Conv2dTransposeOptions options_;
};

using namespace reading;

LayerPointer conv2d_from(const Attributes& with) {
  return Conv2D(integer(with, "filters"), extent(with, "kernel_size"),
                {.strides = extent(with, "strides"),
                 .padding = padding(with),
                 .dilation_rate = extent(with, "dilation_rate"),
                 .groups = integer(with, "groups"),
                 .activation = text(with, "activation"),
                 .use_bias = truth(with, "use_bias"),
                 .channels_last = truth_or_false(with, "channels_last")})
      .pointer();
}

LayerPointer conv1d_from(const Attributes& with) {
  const std::string name = text(with, "named_padding");
  const auto widths = numbers(with, "padding", 2);
  return Conv1D(integer(with, "filters"), integer(with, "kernel_size"),
                {.strides = integer(with, "strides"),
                 .padding = name.empty() ? Padding1d(widths[0], widths[1]) : Padding1d(name),
                 .dilation_rate = integer(with, "dilation_rate"),
                 .groups = integer(with, "groups"),
                 .activation = text(with, "activation"),
                 .use_bias = truth(with, "use_bias"),
                 .channels_last = truth(with, "channels_last")})
      .pointer();
}

LayerPointer conv3d_from(const Attributes& with) {
  return Conv3D(integer(with, "filters"), extent3d(with, "kernel_size"),
                {.strides = extent3d(with, "strides"),
                 .padding = padding3d(with),
                 .dilation_rate = extent3d(with, "dilation_rate"),
                 .groups = integer(with, "groups"),
                 .activation = text(with, "activation"),
                 .use_bias = truth(with, "use_bias"),
                 .channels_last = truth(with, "channels_last")})
      .pointer();
}

LayerPointer depthwise_from(const Attributes& with) {
  return DepthwiseConv2D(extent(with, "kernel_size"), {.strides = extent(with, "strides"),
                                                       .padding = padding(with),
                                                       .depth_multiplier = integer(with, "depth_multiplier"),
                                                       .dilation_rate = extent(with, "dilation_rate"),
                                                       .activation = text(with, "activation"),
                                                       .use_bias = truth(with, "use_bias"),
                                                       .channels_last = truth(with, "channels_last")})
      .pointer();
}

LayerPointer transpose_from(const Attributes& with) {
  return Conv2DTranspose(integer(with, "filters"), extent(with, "kernel_size"),
                         {.strides = extent(with, "strides"),
                          .padding = padding(with),
                          .output_padding = extent(with, "output_padding"),
                          .dilation_rate = extent(with, "dilation_rate"),
                          .activation = text(with, "activation"),
                          .use_bias = truth(with, "use_bias"),
                          .channels_last = truth(with, "channels_last")})
      .pointer();
}

}  // namespace

Conv2D::Conv2D(std::int64_t filters, Extent kernel_size, const Conv2DOptions& options)
    : LayerHandle(convolution("Conv2D", "rows, columns", conv2d, filters, kernel_size, options)) {}
Conv1D::Conv1D(std::int64_t filters, std::int64_t kernel_size, const Conv1DOptions& options)
    : LayerHandle(convolution1d(filters, kernel_size, options)) {}
Conv3D::Conv3D(std::int64_t filters, Extent3d kernel_size, const Conv3DOptions& options)
    : LayerHandle(convolution("Conv3D", "depth, rows, columns", conv3d, filters, kernel_size, options)) {}
DepthwiseConv2D::DepthwiseConv2D(Extent kernel_size, const DepthwiseConv2DOptions& options)
    : LayerHandle(named<DepthwiseConv2DLayer>(options.name, kernel_size, options)) {}
Conv2DTranspose::Conv2DTranspose(std::int64_t filters, Extent kernel_size, const Conv2DTransposeOptions& options)
    : LayerHandle(named<Conv2DTransposeLayer>(options.name, filters, kernel_size, options)) {}

LayerMakers convolutional_layers() {
  return {{"Conv2D", conv2d_from},
          {"Conv1D", conv1d_from},
          {"Conv3D", conv3d_from},
          {"DepthwiseConv2D", depthwise_from},
          {"Conv2DTranspose", transpose_from}};
}

}  // namespace twopass
