#include <twopass/graph/layers/convolutional.h>

#include <fmt/format.h>

#include <twopass/core/error.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

using Numbers = std::vector<std::int64_t>;

// Keras's shape is drawn, so that its fans hold, and turned.
Initializer turned(Initializer draw) {
  return [draw = std::move(draw)](const Shape& shape, DType dtype, Random& random) {
    return transpose(draw({shape[2], shape[3], shape[1], shape[0]}, dtype, random), {3, 2, 0, 1});
  };
}

class Conv2DLayer : public Layer {
 public:
  Conv2DLayer(std::int64_t filters, Extent kernel_size, const Conv2DOptions& options)
      : filters_(filters), kernel_size_(kernel_size), options_(options) {
    if (filters < 1 || filters > (std::int64_t{1} << 40))
      throw Error(fmt::format("Conv2D({}): filters must be from 1 to 2^40", filters));
    const std::string& name = options.activation.name();
    if (name == "softmax" || name == "log_softmax")
      throw Error(fmt::format("Conv2D: {} works over the last axis, which holds columns here, not channels", name));
    fused_ = name == "relu" ? FusedActivation::relu : FusedActivation::linear;
  }
  void build(const Shapes& inputs) override {
    if (inputs.size() != 1) throw Error(fmt::format("Conv2D takes one input, not {}", inputs.size()));
    const Shape& x = inputs[0];
    if (x.rank() != 4)
      throw Error(fmt::format("Conv2D needs [n, channels, rows, columns]: its input has shape {}", x.text()));
    if (x[1] == kOpen) throw Error("Conv2D needs to know the number of channels, which is open");
    if (options_.groups < 1 || x[1] % options_.groups != 0)
      throw Error(fmt::format("Conv2D: {} groups do not divide {} channels", options_.groups, x[1]));
    kernel_ = add_weight("kernel", {filters_, x[1] / options_.groups, kernel_size_.rows, kernel_size_.columns},
                         turned(options_.kernel_initializer));
    if (options_.use_bias) bias_ = add_weight("bias", {filters_}, options_.bias_initializer);
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    const Tensor y = conv2d(inputs[0], kernel_, options_.use_bias ? bias_.tensor() : Tensor(),
                            {.strides = options_.strides,
                             .padding = options_.padding,
                             .dilation = options_.dilation_rate,
                             .groups = options_.groups,
                             .activation = fused_});
    return {fused_ == FusedActivation::linear ? options_.activation(y) : y};
  }
  std::string type() const override { return "Conv2D"; }
  bool savable() const override { return options_.activation.named(); }
  Attributes attributes() const override {
    return {{"filters", filters_},
            {"kernel_size", kernel_size_.list()},
            {"strides", options_.strides.list()},
            {"same", options_.padding.same()},
            {"padding", options_.padding.widths()},
            {"dilation_rate", options_.dilation_rate.list()},
            {"groups", options_.groups},
            {"activation", options_.activation.name()},
            {"use_bias", options_.use_bias}};
  }

 private:
  std::int64_t filters_;
  Extent kernel_size_;
  Conv2DOptions options_;
  FusedActivation fused_;
  Parameter kernel_, bias_;
};

class MaxPooling2DLayer : public Layer {
 public:
  MaxPooling2DLayer(Extent pool_size, const MaxPooling2DOptions& options)
      : options_{pool_size, options.strides, options.padding} {}
  Tensors call(const Tensors& inputs, const CallContext&) override {
    if (inputs.size() != 1) throw Error(fmt::format("MaxPooling2D takes one input, not {}", inputs.size()));
    return {max_pool2d(inputs[0], options_)};
  }
  std::string type() const override { return "MaxPooling2D"; }
  Attributes attributes() const override {
    return {{"pool_size", options_.window.list()},
            {"strides", options_.strides.list()},
            {"same", options_.padding.same()},
            {"padding", options_.padding.widths()}};
  }

 private:
  Pool2dOptions options_;
};

const Numbers& numbers(const Attributes& with, const char* name, std::size_t count) {
  const Numbers& list = attribute::as_list(attribute::named(with, name), name);
  if (list.size() != count)
    throw Error(fmt::format("the attribute \"{}\" must have {} numbers, not {}", name, count, list.size()));
  return list;
}
Extent extent(const Attributes& with, const char* name) {
  const Numbers& list = numbers(with, name, 2);
  return {list[0], list[1]};
}
Padding padding(const Attributes& with) {
  if (attribute::as_bool(attribute::named(with, "same"), "same")) return "same";
  const Numbers& list = numbers(with, "padding", 4);
  return {list[0], list[1], list[2], list[3]};
}

}  // namespace

Conv2D::Conv2D(std::int64_t filters, Extent kernel_size, const Conv2DOptions& options)
    : LayerHandle(std::make_shared<Conv2DLayer>(filters, kernel_size, options)) {
  (*this)->set_name(options.name);
}

MaxPooling2D::MaxPooling2D(Extent pool_size, const MaxPooling2DOptions& options)
    : LayerHandle(std::make_shared<MaxPooling2DLayer>(pool_size, options)) {
  (*this)->set_name(options.name);
}

LayerPointer convolutional_layer_from(const std::string& type, const Attributes& with) {
  using namespace attribute;
  if (type == "MaxPooling2D")
    return MaxPooling2D(extent(with, "pool_size"), {.strides = extent(with, "strides"), .padding = padding(with)})
        .pointer();
  return Conv2D(as_integer(named(with, "filters"), "filters"), extent(with, "kernel_size"),
                {.strides = extent(with, "strides"),
                 .padding = padding(with),
                 .dilation_rate = extent(with, "dilation_rate"),
                 .groups = as_integer(named(with, "groups"), "groups"),
                 .activation = as_string(named(with, "activation"), "activation"),
                 .use_bias = as_bool(named(with, "use_bias"), "use_bias")})
      .pointer();
}

}  // namespace twopass
