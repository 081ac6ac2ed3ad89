#include <algorithm>
#include <cmath>
#include <numbers>

#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/functions.h>
#include <twopass/ops/kernels.h>
#include <twopass/ops/rules.h>

namespace twopass {

using namespace kernels;

const TypedOp<>& gate_op() {
  static const TypedOp<> op({
      .name = "gate",
      .doc = "g where y > 0, else 0: what passes back through a relu whose output is y.",
      .shape = rules::floating_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<2>(in, out, n, dtype, [](const auto g, const auto y) { return y > 0 ? g : decltype(g + y)(0); });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.gate(x[0], x[1]); },
      .broadcasts = true,
      .keeps = Keep::second,
      // linear in g:  dg = gate(gg, y), dy = 0
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {gate(g, call.input(1)), Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::away_from({2, 3}, {0})}}},
      .examples = {{.inputs = {{1.0, 2.0, 3.0}, {1.0, 0.0, -1.0}}, .output = {1.0, 0.0, 0.0}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)},
                   .message = "only f32 and f64"}},
  });
  return op;
}
Tensor gate(const Tensor& g, const Tensor& y) { return apply(gate_op(), {g, y}); }

const TypedOp<>& tanh_gradient_op() {
  static const TypedOp<> op({
      .name = "tanh_gradient",
      .doc = "g (1 - y²), 0 where g is 0: what passes back through a tanh whose output is y.",
      .shape = rules::floating_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<2>(in, out, n, dtype,
                         [](const auto g, const auto y) { return g == 0 ? decltype(g + y)(0) : g * (1 - y * y); });
          },
      .lanes =
          [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) {
            return l.strong_multiply(x[0], l.subtract(l.constant(1), l.multiply(x[1], x[1])));
          },
      .broadcasts = true,
      .keeps = Keep::input,
      // dg = gg (1 - y²), dy = -2 y g gg
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {call.wants(0) ? tanh_gradient(g, call.input(1)) : Tensor(),
                call.wants(1) ? strong_mul(g, call.input(0) * call.input(1) * -2.0) : Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3}, -1, 1)}}},
      .examples = {{.inputs = {{1.0, 2.0}, {0.5, 0.0}}, .output = {0.75, 2.0}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)},
                   .message = "only f32 and f64"}},
  });
  return op;
}
Tensor tanh_gradient(const Tensor& g, const Tensor& y) { return apply(tanh_gradient_op(), {g, y}); }

const TypedOp<>& sigmoid_gradient_op() {
  static const TypedOp<> op({
      .name = "sigmoid_gradient",
      .doc = "g y (1 - y), 0 where g is 0: what passes back through a sigmoid whose output is y.",
      .shape = rules::floating_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<2>(in, out, n, dtype,
                         [](const auto g, const auto y) { return g == 0 ? decltype(g + y)(0) : g * (y * (1 - y)); });
          },
      .lanes =
          [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) {
            return l.strong_multiply(x[0], l.multiply(x[1], l.subtract(l.constant(1), x[1])));
          },
      .broadcasts = true,
      .keeps = Keep::input,
      // dg = gg y (1 - y), dy = (1 - 2y) g gg
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {call.wants(0) ? sigmoid_gradient(g, call.input(1)) : Tensor(),
                call.wants(1) ? strong_mul(g, call.input(0) * (1.0 - 2.0 * call.input(1))) : Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3}, 0, 1)}}},
      .examples = {{.inputs = {{1.0, 2.0}, {0.5, 0.0}}, .output = {0.25, 0.0}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)},
                   .message = "only f32 and f64"}},
  });
  return op;
}
Tensor sigmoid_gradient(const Tensor& g, const Tensor& y) { return apply(sigmoid_gradient_op(), {g, y}); }

const TypedOp<>& gelu_gradient_op() {
  static const TypedOp<> op({
      .name = "gelu_gradient",
      .doc = "g (Φ(x) + x φ(x)), 0 where g is 0: what passes back through a gelu whose input is x.",
      .shape = rules::floating_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_vectors<2>(in, out, n, dtype, [](const auto& g, const auto& x) {
              using V = std::decay_t<decltype(x)>;
              return g == 0 ? V{} : V(g * gelu_slope_of(x));
            });
          },
      .broadcasts = true,
      .keeps = Keep::input,
      // dg = gg (Φ(x) + x φ(x)), dx = g φ(x) (2 - x²) gg
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const auto bend = [](const Tensor& x) {
          const Tensor squared = square(clip(x, -1e4, 1e4));  // at ±inf the product below would be 0 times inf
          return exp(squared * -0.5) * (2.0 - squared) * (0.5 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
        };
        return {call.wants(0) ? gelu_gradient(g, call.input(1)) : Tensor(),
                call.wants(1) ? strong_mul(g, strong_mul(call.input(0), bend(call.input(1)))) : Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{1.0, 2.0, 1.0}, {1.0, 0.0, -1.0}},
                    .output = {1.0833154705876864, 1.0, -0.083315470587686294}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)},
                   .message = "only f32 and f64"}},
  });
  return op;
}
Tensor gelu_gradient(const Tensor& g, const Tensor& x) { return apply(gelu_gradient_op(), {g, x}); }

struct SlopeArgs {
  double slope = 0.2;
  static constexpr auto fields = std::tuple{field("slope", &SlopeArgs::slope)};
};
const TypedOp<SlopeArgs>& leaky_relu_op() {
  static const TypedOp<SlopeArgs> op({
      .name = "leaky_relu",
      .doc = "x where x > 0, else slope x.",
      .shape = same_floating,
      .run =
          [](const SlopeArgs& args, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<1>(in, out, n, dtype, [&](const auto x) {
              return x > 0 ? x : static_cast<std::decay_t<decltype(x)>>(args.slope) * x;
            });
          },
      .keeps = Keep::first,
      // dx = g where x > 0, else slope g
      .gradient = [](const SlopeArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {where(call.input(0) > 0.0, g, g * args.slope)};
      },
      .samples = {{.inputs = {sample::away_from({2, 3}, {0})}}},
      .examples = {{.args = {.slope = 0.1}, .inputs = {{1.5, -2.0}}, .output = {1.5, -0.2}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor leaky_relu(const Tensor& x, double slope) { return apply(leaky_relu_op(), SlopeArgs{slope}, {x}); }

struct AlphaArgs {
  double alpha = 1;
  static constexpr auto fields = std::tuple{field("alpha", &AlphaArgs::alpha)};
};
const TypedOp<AlphaArgs>& elu_op() {
  static const TypedOp<AlphaArgs> op({
      .name = "elu",
      .doc = "x where x > 0, else alpha (e^x - 1) (Clevert et al., 2015).",
      .shape = same_floating,
      .run =
          [](const AlphaArgs& args, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_vectors<1>(in, out, n, dtype, [&](const auto& x) {
              using V = std::decay_t<decltype(x)>;
              return x > 0 ? x : V(static_cast<Element<V>>(args.alpha) * expm1_of(x));
            });
          },
      .keeps = Keep::first,
      // dx = g where x > 0, else alpha e^x g
      .gradient = [](const AlphaArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = call.input(0);
        return {where(x > 0.0, g, strong_mul(g, exp(minimum(x, scalar_like(0, x))) * args.alpha))};
      },
      .samples = {{.inputs = {sample::away_from({2, 3}, {0})}},
                  {.args = {.alpha = 0.5}, .inputs = {sample::away_from({2, 3}, {0})}}},
      .examples = {{.inputs = {{1.5, -1.0}}, .output = {1.5, -0.6321205588285577}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor elu(const Tensor& x, double alpha) { return apply(elu_op(), AlphaArgs{alpha}, {x}); }

const TypedOp<>& tanh_op() {
  static const TypedOp<> op({
      .name = "tanh",
      .doc = "The hyperbolic tangent.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return tanh_of(x); }); },
      .keeps = Keep::output,
      // y = tanh x:  dx = (1 - y²) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {tanh_gradient(g, call.output())};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {0, 0.7615941559557649}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor tanh(const Tensor& x) { return apply(tanh_op(), {x}); }

const TypedOp<>& sigmoid_op() {
  static const TypedOp<> op({
      .name = "sigmoid",
      .doc = "1 / (1 + e^-x).",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return sigmoid_of(x); }); },
      .keeps = Keep::output,
      // y = σ(x):  dx = y (1 - y) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {sigmoid_gradient(g, call.output())};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {0.5, 0.7310585786300049}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor sigmoid(const Tensor& x) { return apply(sigmoid_op(), {x}); }

const TypedOp<>& relu_op() {
  static const TypedOp<> op({
      .name = "relu",
      .doc = "max(x, 0).",
      .shape = same_floating,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<1>(in, out, n, dtype, [](const auto x) { return x > 0 || x != x ? x : decltype(x + x)(0); });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.relu(x[0]); },
      .keeps = Keep::output,
      // y = max(x, 0):  dx = g where y > 0, else 0
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors { return {gate(g, call.output())}; },
      .samples = {{.inputs = {sample::away_from({2, 3}, {0})}}},
      .examples = {{.inputs = {{1.5, -2, 0}}, .output = {1.5, 0, 0}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor relu(const Tensor& x) { return apply(relu_op(), {x}); }

const TypedOp<>& gelu_op() {
  static const TypedOp<> op({
      .name = "gelu",
      .doc = "x Φ(x), Φ the normal distribution function.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return gelu_of(x); }); },
      .keeps = Keep::input,
      // dx = (Φ(x) + x φ(x)) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {gelu_gradient(g, call.input(0))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1, -1}}, .output = {0, 0.8413447460685429, -0.15865525393145707}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor gelu(const Tensor& x) { return apply(gelu_op(), {x}); }

const TypedOp<>& silu_op() {
  static const TypedOp<> op({
      .name = "silu",
      .doc = "x σ(x).",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return silu_of(x); }); },
      .keeps = Keep::input,
      // dx = σ(x) (1 + x (1 - σ(x))) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = call.input(0);
        const Tensor s = sigmoid(x);
        return {strong_mul(g, s * (1.0 + clip(x, -1e30, 1e30) * (1.0 - s)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {0, 0.7310585786300049}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor silu(const Tensor& x) { return apply(silu_op(), {x}); }

const TypedOp<>& softplus_op() {
  static const TypedOp<> op({
      .name = "softplus",
      .doc = "log(1 + e^x).",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return softplus_of(x); }); },
      .keeps = Keep::input,
      // dx = σ(x) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, sigmoid(call.input(0)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 20.5}}, .output = {0.6931471805599453, 20.50000000125013}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor softplus(const Tensor& x) { return apply(softplus_op(), {x}); }

std::vector<const Op*> activation_ops() {
  return {&leaky_relu_op(),    &elu_op(),     &gate_op(),    &tanh_gradient_op(), &sigmoid_gradient_op(),
          &gelu_gradient_op(), &tanh_op(),    &sigmoid_op(), &relu_op(),          &gelu_op(),
          &silu_op(),          &softplus_op()};
}

}  // namespace twopass
