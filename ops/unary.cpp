#include <cmath>
#include <numbers>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/functions.h>
#include <twopass/ops/kernels.h>
#include <twopass/ops/rules.h>

namespace twopass {

using namespace kernels;

const TypedOp<>& neg_op() {
  static const TypedOp<> op({
      .name = "neg",
      .doc = "-x.",
      .shape = rules::number,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<1>(
                in, out, n, dtype, []<typename T>(T x) requires(!std::is_same_v<T, bool>) {
                  if constexpr (std::is_integral_v<T>)
                    return wrapped(0 - unsigned_of(x));
                  else
                    return static_cast<T>(-x);
                });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.negate(x[0]); },
      // y = -x:  dx = -g
      .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {neg(g)}; },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{1.5, -2}}, .output = {-1.5, 2}}},
      .refuses = {{.inputs = {sample::truths({2})}, .message = "not bool"}},
  });
  return op;
}
Tensor neg(const Tensor& x) { return apply(neg_op(), {x}); }

const TypedOp<>& abs_op() {
  static const TypedOp<> op({
      .name = "abs",
      .doc = "|x|.",
      .shape = rules::number,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<1>(
                in, out, n, dtype, []<typename T>(T x) requires(!std::is_same_v<T, bool>) {
                  if constexpr (std::is_integral_v<T>)
                    return x < 0 ? wrapped(0 - unsigned_of(x)) : x;
                  else
                    return std::abs(x);
                });
          },
      .keeps = Keep::input,
      // y = |x|:  dx = sign(x) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, sign(call.input(0)))};
      },
      .samples = {{.inputs = {sample::away_from({2, 3}, {0})}}},
      .examples = {{.inputs = {{1.5, -2}}, .output = {1.5, 2}}},
      .refuses = {{.inputs = {sample::truths({2})}, .message = "not bool"}},
  });
  return op;
}
Tensor abs(const Tensor& x) { return apply(abs_op(), {x}); }

const TypedOp<>& sign_op() {
  static const TypedOp<> op({
      .name = "sign",
      .doc = "-1, 0 or 1 as x is below, at or above 0.",
      .shape = rules::number,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<1>(
                in, out, n, dtype, []<typename T>(T x) requires(!std::is_same_v<T, bool>) {
                  return x > 0 ? T{1} : x < 0 ? T{-1} : x;
                });
          },
      // constant between its jumps:  dx = 0
      .gradient = [](const NoArgs&, const Call&, const Tensor&) -> Tensors { return {Tensor()}; },
      .samples = {{.inputs = {sample::away_from({2, 3}, {0})}}},
      .examples = {{.inputs = {{1.5, -2, 0}}, .output = {1, -1, 0}}},
      .refuses = {{.inputs = {sample::truths({2})}, .message = "not bool"}},
  });
  return op;
}
Tensor sign(const Tensor& x) { return apply(sign_op(), {x}); }

const TypedOp<>& exp_op() {
  static const TypedOp<> op({
      .name = "exp",
      .doc = "e^x.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return exp_of(x); }); },
      .keeps = Keep::output,
      // y = e^x:  dx = y g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, call.output())};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {1, 2.718281828459045}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor exp(const Tensor& x) { return apply(exp_op(), {x}); }

const TypedOp<>& log_op() {
  static const TypedOp<> op({
      .name = "log",
      .doc = "The natural logarithm.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return log_of(x); }); },
      .keeps = Keep::input,
      // y = log x:  dx = g / x, NaN below 0 as y is
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = call.input(0);
        return {strong_mul(g, where(x < 0.0, scalar_like(NAN, x), reciprocal(x)))};
      },
      .samples = {{.inputs = {sample::positive({2, 3})}}},
      .examples = {{.inputs = {{1, 2.718281828459045}}, .output = {0, 1}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor log(const Tensor& x) { return apply(log_op(), {x}); }

const TypedOp<>& log1p_op() {
  static const TypedOp<> op({
      .name = "log1p",
      .doc = "log(1 + x), accurate near 0.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return log1p_of(x); }); },
      .keeps = Keep::input,
      // y = log(1 + x):  dx = g / (1 + x)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, reciprocal(call.input(0) + 1.0))};
      },
      .samples = {{.inputs = {sample::positive({2, 3})}}},
      .examples = {{.inputs = {{0, 1e-20, 1}}, .output = {0, 1e-20, 0.6931471805599453}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor log1p(const Tensor& x) { return apply(log1p_op(), {x}); }

const TypedOp<>& expm1_op() {
  static const TypedOp<> op({
      .name = "expm1",
      .doc = "e^x - 1, accurate near 0.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return expm1_of(x); }); },
      .keeps = Keep::output,
      // y = e^x - 1:  dx = (y + 1) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, call.output() + 1.0)};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1e-20, 1}}, .output = {0, 1e-20, 1.718281828459045}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor expm1(const Tensor& x) { return apply(expm1_op(), {x}); }

const TypedOp<>& sqrt_op() {
  static const TypedOp<> op({
      .name = "sqrt",
      .doc = "The square root.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_floats<1>(in, out, n, dtype, [](const auto x) { return std::sqrt(x); }); },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.square_root(x[0]); },
      .keeps = Keep::output,
      // y = √x:  dx = g / 2y
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, reciprocal(call.output() * 2.0))};
      },
      .samples = {{.inputs = {sample::positive({2, 3})}}},
      .examples = {{.inputs = {{4, 2}}, .output = {2, 1.4142135623730951}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor sqrt(const Tensor& x) { return apply(sqrt_op(), {x}); }

const TypedOp<>& rsqrt_op() {
  static const TypedOp<> op({
      .name = "rsqrt",
      .doc = "1 / √x.",
      .shape = same_floating,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<1>(in, out, n, dtype, [](const auto x) { return static_cast<decltype(x)>(1) / std::sqrt(x); });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l,
                  std::span<const Lane> x) { return l.divide(l.constant(1), l.square_root(x[0])); },
      .keeps = Keep::output,
      // y = x^(-1/2):  dx = -y³ g / 2
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, square(call.output()) * call.output() * -0.5)};
      },
      .samples = {{.inputs = {sample::positive({2, 3})}}},
      .examples = {{.inputs = {{4, 0.25}}, .output = {0.5, 2}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor rsqrt(const Tensor& x) { return apply(rsqrt_op(), {x}); }

const TypedOp<>& square_op() {
  static const TypedOp<> op({
      .name = "square",
      .doc = "x².",
      .shape = rules::number,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<1>(
                in, out, n, dtype, []<typename T>(T x) requires(!std::is_same_v<T, bool>) {
                  if constexpr (std::is_integral_v<T>)
                    return wrapped(unsigned_of(x) * unsigned_of(x));
                  else
                    return x * x;
                });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.multiply(x[0], x[0]); },
      .keeps = Keep::input,
      // y = x²:  dx = 2 x g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, call.input(0) * 2.0)};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{3, -2}}, .output = {9, 4}}},
      .refuses = {{.inputs = {sample::truths({2})}, .message = "not bool"}},
  });
  return op;
}
Tensor square(const Tensor& x) { return apply(square_op(), {x}); }

const TypedOp<>& reciprocal_op() {
  static const TypedOp<> op({
      .name = "reciprocal",
      .doc = "1 / x.",
      .shape = same_floating,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<1>(in, out, n, dtype, [](const auto x) { return static_cast<decltype(x)>(1) / x; });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l,
                  std::span<const Lane> x) { return l.divide(l.constant(1), x[0]); },
      .keeps = Keep::output,
      // y = 1/x:  dx = -y² g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, neg(square(call.output())))};
      },
      .samples = {{.inputs = {sample::positive({2, 3})}}},
      .examples = {{.inputs = {{4, -0.5}}, .output = {0.25, -2}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor reciprocal(const Tensor& x) { return apply(reciprocal_op(), {x}); }

const TypedOp<>& sin_op() {
  static const TypedOp<> op({
      .name = "sin",
      .doc = "The sine of x in radians.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return sin_of(x); }); },
      .keeps = Keep::input,
      // y = sin x:  dx = cos x g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, cos(call.input(0)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {0, 0.8414709848078965}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor sin(const Tensor& x) { return apply(sin_op(), {x}); }

const TypedOp<>& cos_op() {
  static const TypedOp<> op({
      .name = "cos",
      .doc = "The cosine of x in radians.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return cos_of(x); }); },
      .keeps = Keep::input,
      // y = cos x:  dx = -sin x g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, neg(sin(call.input(0))))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {1, 0.5403023058681398}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor cos(const Tensor& x) { return apply(cos_op(), {x}); }

const TypedOp<>& erf_op() {
  static const TypedOp<> op({
      .name = "erf",
      .doc = "The error function.",
      .shape = same_floating,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_vectors<1>(in, out, n, dtype, [](const auto& x) { return erf_of(x); }); },
      .keeps = Keep::input,
      // y = erf x:  dx = 2/√π e^(-x²) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, exp(neg(square(call.input(0)))) * (2 / std::sqrt(std::numbers::pi)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {0, 0.8427007929497149}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}
Tensor erf(const Tensor& x) { return apply(erf_op(), {x}); }

std::vector<const Op*> unary_ops() {
  return {&neg_op(),  &abs_op(),   &sign_op(),   &exp_op(),        &log_op(), &log1p_op(), &expm1_op(),
          &sqrt_op(), &rsqrt_op(), &square_op(), &reciprocal_op(), &sin_op(), &cos_op(),   &erf_op()};
}

}  // namespace twopass
