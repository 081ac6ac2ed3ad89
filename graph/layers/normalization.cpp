#include <twopass/graph/layers/normalization.h>

#include <fmt/format.h>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/normalization.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

// What both layers have: an axis, and a scale and an offset along it.
class NormalizationLayer : public Layer {
 public:
  struct Common {
    std::string type;
    int axis;
    double epsilon;
    bool center, scale;
    Initializer beta_initializer, gamma_initializer;
  };
  explicit NormalizationLayer(Common common) : common_(std::move(common)) {
    if (!(common_.epsilon > 0))
      throw Error(fmt::format("{}: epsilon must be positive, not {}", common_.type, common_.epsilon));
  }
  void build(const Shapes& inputs) override {
    if (inputs.size() != 1) throw Error(fmt::format("{} takes one input, not {}", common_.type, inputs.size()));
    const Shape& x = inputs[0];
    if (x.rank() < 2)
      throw Error(fmt::format("{} needs a batch axis and another: its input has shape {}", common_.type, x.text()));
    const int axis = x.axis(common_.axis);
    if (axis == 0) throw Error(fmt::format("{}: axis 0 is the batch", common_.type));
    size_ = known(common_.type, x[axis], "elements along its axis");
    if (common_.scale) gamma_ = add_weight("gamma", {size_}, common_.gamma_initializer);
    if (common_.center) beta_ = add_weight("beta", {size_}, common_.beta_initializer);
  }
  std::string type() const override { return common_.type; }
  Attributes attributes() const override {
    return {{"axis", std::int64_t{common_.axis}},
            {"epsilon", common_.epsilon},
            {"center", common_.center},
            {"scale", common_.scale}};
  }

 protected:
  Tensor gamma() const { return common_.scale ? gamma_.tensor() : Tensor(); }
  Tensor beta() const { return common_.center ? beta_.tensor() : Tensor(); }

  Common common_;
  std::int64_t size_ = 0;
  Parameter gamma_, beta_;
};

class LayerNormalizationLayer : public NormalizationLayer {
 public:
  explicit LayerNormalizationLayer(const LayerNormalizationOptions& with)
      : NormalizationLayer({"LayerNormalization", with.axis, with.epsilon, with.center, with.scale,
                            with.beta_initializer, with.gamma_initializer}) {}
  Tensors call(const Tensors& inputs, const CallContext&) override {
    const Tensor& x = inputs[0];
    const int axis = x.shape().axis(common_.axis);
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.rank() - axis), 1);
    sizes[0] = size_;
    Tensor y = standardize(x, axis, common_.epsilon);
    if (common_.scale) y = y * reshape(gamma(), sizes);
    return {common_.center ? y + reshape(beta(), sizes) : y};
  }
};

class BatchNormalizationLayer : public NormalizationLayer {
 public:
  explicit BatchNormalizationLayer(const BatchNormalizationOptions& with)
      : NormalizationLayer({"BatchNormalization", with.axis, with.epsilon, with.center, with.scale,
                            with.beta_initializer, with.gamma_initializer}),
        momentum_(with.momentum) {
    if (!(momentum_ >= 0 && momentum_ <= 1))
      throw Error(fmt::format("BatchNormalization: the momentum must lie in 0 … 1, not {}", momentum_));
  }
  void build(const Shapes& inputs) override {
    NormalizationLayer::build(inputs);
    moving_mean_ = add_state("moving_mean", {size_}, zeros_initializer());
    moving_variance_ = add_state("moving_variance", {size_}, ones_initializer());
  }
  Tensors call(const Tensors& inputs, const CallContext& context) override {
    const ChannelNormOptions options{common_.axis, common_.epsilon};
    if (!context.training || !trainable())
      return {batch_norm_with(inputs[0], moving_mean_, moving_variance_, gamma(), beta(), options)};
    const BatchNorm normed = batch_norm(inputs[0], gamma(), beta(), options);
    move(moving_mean_, normed.mean);
    move(moving_variance_, normed.variance);
    return {normed.output};
  }
  Attributes attributes() const override {
    Attributes all = NormalizationLayer::attributes();
    all.emplace_back("momentum", momentum_);
    return all;
  }

 private:
  // In the precision that the parameter has, whatever the model is run in.
  void move(const Parameter& moving, const Tensor& batch) const {
    if (batch.symbolic() && !LiftScope::active()) return;  // only shapes are being learnt
    const auto own = [&](const Tensor& x) { return x.dtype() == moving.dtype() ? x : cast(x, moving.dtype()); };
    moving.set(own(moving.tensor()) * momentum_ + own(batch) * (1 - momentum_));
  }

  double momentum_;
  Parameter moving_mean_, moving_variance_;
};

using namespace reading;

LayerPointer layer_normalization_from(const Attributes& with) {
  return LayerNormalization({.axis = static_cast<int>(integer(with, "axis")),
                             .epsilon = number(with, "epsilon"),
                             .center = truth(with, "center"),
                             .scale = truth(with, "scale")})
      .pointer();
}
LayerPointer batch_normalization_from(const Attributes& with) {
  return BatchNormalization({.axis = static_cast<int>(integer(with, "axis")),
                             .momentum = number(with, "momentum"),
                             .epsilon = number(with, "epsilon"),
                             .center = truth(with, "center"),
                             .scale = truth(with, "scale")})
      .pointer();
}

}  // namespace

LayerNormalization::LayerNormalization(const LayerNormalizationOptions& options)
    : LayerHandle(named<LayerNormalizationLayer>(options.name, options)) {}
BatchNormalization::BatchNormalization(const BatchNormalizationOptions& options)
    : LayerHandle(named<BatchNormalizationLayer>(options.name, options)) {}

LayerMakers normalization_layers() {
  return {{"LayerNormalization", layer_normalization_from}, {"BatchNormalization", batch_normalization_from}};
}

}  // namespace twopass
