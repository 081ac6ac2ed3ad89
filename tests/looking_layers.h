// Layers that look at values, for tests.
#pragma once
#include <twopass/core/random.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/products.h>
#include <twopass/ops/random.h>
#include <twopass/ops/reduction.h>

namespace twopass {

inline Initializer filled_with(double value) {
  return [value](const Shape& shape, DType dtype, Random&) { return full(shape, value, dtype); };
}
inline Initializer normal() {
  return [](const Shape& shape, DType dtype, Random& random) { return random.normal(shape, dtype, 0, 0.3); };
}

inline bool large(const Tensor& x) { return mean(x * x).item<double>() > 0.2; }

// Each uses its input and its parameters once in each call, so that the sums of their gradients have one order.

// Divides by a moving root of the mean square, which it moves further where the batch is larger.
struct Scaling : Layer {
  Parameter moving, gain;
  void build(const Shapes& in) override {
    gain = add_weight("gain", {in[0].back()}, normal());
    moving = add_state("moving", {}, filled_with(1));
  }
  Tensors call(const Tensors& in, const CallContext& context) override {
    const Tensor square_mean = mean(square(in[0]));
    if (context.training) {
      const double kept = square_mean.item<double>() > moving.value().item<double>() ? 0.5 : 0.9;
      moving.set(moving * kept + square_mean * (1 - kept));
    }
    return {in[0] / sqrt(moving.tensor() + 0.01) * gain};
  }
};

// A gate and what it lets through; how often it was open and shut.
struct Gate : Layer {
  Parameter kernel, open, shut;
  void build(const Shapes& in) override {
    kernel = add_weight("kernel", {in[0].back(), in[0].back()}, normal());
    open = add_state("open", {}, filled_with(0));
    shut = add_state("shut", {}, filled_with(0));
  }
  Tensors call(const Tensors& in, const CallContext& context) override {
    const Tensor x = in[0] * 1.0;
    const Tensor gate = sigmoid(matmul(x, kernel));
    const bool passes = mean(gate).item<double>() > 0.5;
    if (context.training) (passes ? open : shut).set((passes ? open : shut).value() + 1.0);
    return {passes ? x * gate : x * gate * 0.5 + 0.1, gate, argmax(x, -1)};
  }
};

// Drops more where the batch is larger, and counts how often it did.
struct Noisy : Layer {
  Parameter times;
  void build(const Shapes&) override { times = add_state("times", {}, filled_with(0)); }
  Tensors call(const Tensors& in, const CallContext& context) override {
    if (!context.training) return {in[0]};
    const bool more = !in[0].shape().open() && large(in[0]);
    if (more) times.set(times.value() + 1.0);
    return {dropout(in[0], more ? 0.5 : 0.125, context.seed, context.step)};
  }
};

}  // namespace twopass
