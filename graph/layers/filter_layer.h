// What all layers of convolution are: filters drawn for so many channels, and one function of them. For
// convolutional.cpp.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <twopass/graph/layers/layers.h>

namespace twopass {

/// What is drawn for a number of channels.
struct Weights {
  struct Kernel {
    const char* name;
    Shape shape;
    Initializer draw;
  };
  std::vector<Kernel> kernels;
  std::int64_t filters;
};

/// What kinds of convolution differ in.
struct FilterKind {
  std::string type;
  std::int64_t filters;  // or those of each channel
  std::vector<std::int64_t> window = {};
  Attributes attributes = {};
  std::function<Weights(std::int64_t channels)> weights;
  std::function<Tensor(const Tensor& x, const Tensors& kernels, const Tensor& bias)> apply;
};

class FilterLayer : public Layer {
 public:
  /// `with`: the options of any kind.
  template <typename With>
  FilterLayer(FilterKind kind, const With& with)
      : kind_(std::move(kind)),
        activation_(with.activation),
        use_bias_(with.use_bias),
        channels_last_(with.channels_last),
        bias_initializer_(with.bias_initializer) {
    check();
  }
  void build(const Shapes& inputs) override;
  Tensors call(const Tensors& inputs, const CallContext& context) override;
  std::string type() const override { return kind_.type; }
  bool savable() const override { return activation_.named(); }
  Attributes attributes() const override;

 private:
  void check() const;

  FilterKind kind_;
  ActivationFunction activation_;
  bool use_bias_, channels_last_;
  Initializer bias_initializer_;
  std::vector<Parameter> kernels_;
  Parameter bias_;
};

/// A draw of Keras's shape [window…, in, out], so that its fans hold, turned to [out, in, window…].
Initializer turned(Initializer draw);
/// The same of [window…, channels, multiplier], which become [channels multiplier, 1, window…].
Initializer turned_depthwise(Initializer draw, std::int64_t multiplier);

}  // namespace twopass
