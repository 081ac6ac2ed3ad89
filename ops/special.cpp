#include <twopass/ops/special.h>

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/named.h>
#include <twopass/ops/polygamma.h>
#include <twopass/ops/rules.h>
#include <twopass/ops/scalar_kernels.h>
#include <twopass/ops/trigonometric.h>

namespace twopass {

using namespace kernels;

namespace {

struct OrderArgs {
  std::int64_t order = 0;
  static constexpr auto fields = std::tuple{field("order", &OrderArgs::order)};
};

const TypedOp<>& log2_op() {
  static const TypedOp<> op({
      .name = "log2",
      .doc = "The logarithm to base 2.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::log2(x); }>,
      .keeps = Keep::input,
      // y = log2 x:  dx = g / (x ln 2)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, (1 / std::numbers::ln2) / call.input(0))};
      },
      .samples = {{.inputs = {sample::positive({2, 3})}}},
      .examples = {{.inputs = {{8, 10, 0}}, .output = {3, 3.32192809488736235, -INFINITY}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& log10_op() {
  static const TypedOp<> op({
      .name = "log10",
      .doc = "The logarithm to base 10.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::log10(x); }>,
      .keeps = Keep::input,
      // y = log10 x:  dx = g / (x ln 10)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, (1 / std::numbers::ln10) / call.input(0))};
      },
      .samples = {{.inputs = {sample::positive({2, 3})}}},
      .examples = {{.inputs = {{1000, 2, 0}}, .output = {3, 0.301029995663981195, -INFINITY}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& erfc_op() {
  static const TypedOp<> op({
      .name = "erfc",
      .doc = "1 - erf(x), accurate where that is small.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::erfc(x); }>,
      .keeps = Keep::input,
      // y = erfc x:  dx = -2/√π e^(-x²) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, exp(neg(square(call.input(0)))) * (-2 * std::numbers::inv_sqrtpi))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 0.5, -1}}, .output = {1, 0.479500122186953462, 1.84270079294971487}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& lgamma_op() {
  static const TypedOp<> op({
      .name = "lgamma",
      .doc = "log |Γ(x)|; inf at 0 and the negative integers.",
      .shape = same_floating,
      .run = of_one<[](const auto x) {
        int sign = 0;  // std::lgamma would write it to a global, which threads must not
        return static_cast<std::decay_t<decltype(x)>>(::lgamma_r(static_cast<double>(x), &sign));
      }>,
      .keeps = Keep::input,
      // dx = ψ(x) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, digamma(call.input(0)))};
      },
      .samples = {{.inputs = {sample::positive({2, 3})}}, {.inputs = {sample::uniform({3}, -1.8, -1.2)}}},
      .examples = {{.inputs = {{1, 10, 0.5, -0.5, 0}},
                    .output = {0, 12.8018274800814696, 0.572364942924700087, 1.2655121234846454, INFINITY}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<OrderArgs>& polygamma_op() {
  static const TypedOp<OrderArgs> op({
      .name = "polygamma",
      .doc = "The derivative of some order of the digamma function ψ, which is the derivative of lgamma.",
      .shape = [](const OrderArgs& args, const Specs& in) -> Spec {
        if (args.order < 0 || args.order > 30)
          throw Error(fmt::format("the order must be in 0…30, not {}", args.order));
        return same_floating(args, in);
      },
      .run =
          [](const OrderArgs& args, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<1>(in, out, n, dtype, [&](const auto x) {
              return static_cast<std::decay_t<decltype(x)>>(polygamma_of(args.order, static_cast<double>(x)));
            });
          },
      .keeps = Keep::input,
      // y = ψ^(n)(x):  dx = ψ^(n+1)(x) g
      .gradient = [](const OrderArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, polygamma(args.order + 1, call.input(0)))};
      },
      .samples = {{{0}, {sample::positive({2, 3})}},
                  {{0}, {sample::uniform({3}, -1.7, -1.3)}},
                  {{1}, {sample::positive({3})}},
                  {{2}, {sample::uniform({3}, -0.7, -0.3)}}},
      .examples = {{{0},
                    {{1, 0.5, -0.3, 20}},
                    {-0.577215664901532861, -1.96351002602142348, 2.11330977963539887, 2.97052399224214905}},
                   {{1}, {{1, -0.5, 1e10}}, {1.64493406684822644, 8.93480220054467931, 1.00000000005e-10}},
                   {{2}, {{1, -0.3}}, {-2.40411380631918857, 67.63908119988316}},
                   {{3}, {{2.5}}, {0.223905848817252051}},
                   {{5}, {{-2.7}}, {165660.110513613153}},
                   {{10}, {{0.1}}, {-362880000001272702.0}}},
      .refuses = {{{31}, {sample::uniform({2})}, "the order must be in 0…30, not 31"},
                  {{0}, {sample::integers({2}, 0, 3)}, "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& logaddexp_op() {
  static const TypedOp<> op({
      .name = "logaddexp",
      .doc = "log(e^a + e^b) without overflow; -inf where both are.",
      .shape = rules::floating_pair,
      .run = of_two<[](const auto a, const auto b) {
        if (a == b) return a + static_cast<std::decay_t<decltype(a)>>(std::numbers::ln2);
        return (a > b ? a : b) + std::log1p(std::exp(-std::abs(a - b)));
      }>,
      .broadcasts = true,
      .keeps = Keep::input,
      // da = σ(a - b) g, db = σ(b - a) g; halves where both are the same infinity
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor a = call.input(0), b = call.input(1), apart = a - b;
        const Tensor infinite = logical_and(equal(a, b), not_equal(apart, scalar_like(0, apart)));
        const Tensor distance = where(infinite, scalar_like(0, apart), apart);
        return {call.wants(0) ? strong_mul(g, sigmoid(distance)) : Tensor(),
                call.wants(1) ? strong_mul(g, sigmoid(neg(distance))) : Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::uniform({3})}}},
      .examples = {{.inputs = {{1, 1000, -INFINITY, -INFINITY}, {2, 1000, 3, -INFINITY}},
                    .output = {2.31326168751822283, 1000.6931471805599453, 3, -INFINITY}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)}, .message = "only f32 and f64"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}

const TypedOp<>& xlogy_op() {
  static const TypedOp<> op({
      .name = "xlogy",
      .doc = "x log y, but 0 where x is 0, unless y is NaN.",
      .shape = rules::floating_pair,
      .run = of_two<[](const auto x, const auto y) { return x == 0 && y == y ? decltype(x * y)(0) : x * std::log(y); }>,
      .broadcasts = true,
      .keeps = Keep::input,
      // dx = log y g, dy = x / y g; both 0 where x is 0 and y at most 0
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = call.input(0), y = call.input(1), none = scalar_like(0, x);
        const Tensor safe = where(logical_and(equal(x, none), y <= none), scalar_like(1, y), y);
        return {call.wants(0) ? strong_mul(g, log(safe)) : Tensor(),
                call.wants(1) ? strong_mul(g, x / safe) : Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::positive({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::positive({3})}}},
      .examples = {{.inputs = {{2, 0, 0, 1}, {3, 0, -1, 0}}, .output = {2.1972245773362196, 0, 0, -INFINITY}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)}, .message = "only f32 and f64"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}

}  // namespace

Tensor log2(const Tensor& x) { return apply(log2_op(), {x}); }
Tensor log10(const Tensor& x) { return apply(log10_op(), {x}); }
Tensor erfc(const Tensor& x) { return apply(erfc_op(), {x}); }
Tensor lgamma(const Tensor& x) { return apply(lgamma_op(), {x}); }
Tensor digamma(const Tensor& x) {
  return named("digamma", {&x}, [&] { return polygamma(0, x); });
}
Tensor polygamma(std::int64_t order, const Tensor& x) { return apply(polygamma_op(), OrderArgs{order}, {x}); }
Tensor logaddexp(const Tensor& a, const Tensor& b) { return apply(logaddexp_op(), {a, b}); }
Tensor xlogy(const Tensor& x, const Tensor& y) { return apply(xlogy_op(), {x, y}); }

Tensor xlog1py(const Tensor& x, const Tensor& y) {
  return named("xlog1py", {&x, &y}, [&] {
    const Tensor none = scalar_like(0, y);
    const Tensor endless = logical_or(y <= -1.0, equal(y, scalar_like(INFINITY, y)));
    return x * log1p(where(logical_and(equal(x, none), endless), none, y));
  });
}
Tensor logit(const Tensor& x, double epsilon) {
  return named("logit", {&x}, [&] {
    if (!(epsilon >= 0 && epsilon < 0.5))
      throw Error(fmt::format("logit{}: epsilon must be from 0 to below 1/2, not {}", x.shape().text(), epsilon));
    // In f32 1 - epsilon may be 1.
    const double nearest = x.dtype() == f32 ? std::nextafter(1.0F, 0.0F) : std::nextafter(1.0, 0.0);
    const Tensor held = epsilon > 0 ? clip(x, epsilon, std::min(1 - epsilon, nearest)) : x;
    return log(held) - log1p(neg(held));
  });
}
// Near 0 by its series in z = (π x)², as the quotient's derivatives lose their digits there.
Tensor sinc(const Tensor& x) {
  return named("sinc", {&x}, [&] {
    const Tensor angle = x * std::numbers::pi, near = abs(angle) < 1.0, none = scalar_like(0, x);
    const Tensor z = square(where(near, angle, none)), far = where(near, scalar_like(1, x), angle);
    Tensor series = scalar_like(1, x);
    for (int k = 10; k > 0; --k) series = 1.0 - z * series / static_cast<double>(2 * k * (2 * k + 1));
    return where(near, series, sin(far) / far);
  });
}

std::vector<const Op*> special_ops() {
  return {&log2_op(), &log10_op(), &erfc_op(), &lgamma_op(), &polygamma_op(), &logaddexp_op(), &xlogy_op()};
}

}  // namespace twopass
