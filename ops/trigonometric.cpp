#include <twopass/ops/trigonometric.h>

#include <cmath>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/rules.h>
#include <twopass/ops/scalar_kernels.h>

namespace twopass {

using namespace kernels;

namespace {

// 1 / sqrt(1 - x²), without losing digits near ±1.
Tensor arc_slope(const Tensor& x) { return rsqrt((1.0 - x) * (1.0 + x)); }

// 1 where h is 0: a divisor that leaves 0 / h at 0.
Tensor safe_length(const Tensor& h) { return where(equal(h, scalar_like(0, h)), scalar_like(1, h), h); }

const TypedOp<>& tan_op() {
  static const TypedOp<> op({
      .name = "tan",
      .doc = "The tangent of x in radians.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::tan(x); }>,
      .keeps = Keep::output,
      // y = tan x:  dx = (1 + y²) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, 1.0 + square(call.output()))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}, -1.2, 1.2)}}},
      .examples = {{.inputs = {{0, 1}}, .output = {0, 1.5574077246549022}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& asin_op() {
  static const TypedOp<> op({
      .name = "asin",
      .doc = "The angle in [-π/2, π/2] whose sine is x; NaN beyond ±1.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::asin(x); }>,
      .keeps = Keep::input,
      // y = asin x:  dx = g / sqrt(1 - x²)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, arc_slope(call.input(0)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}, -0.8, 0.8)}}},
      .examples = {{.inputs = {{0.5, -1}}, .output = {0.5235987755982989, -1.5707963267948966}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& acos_op() {
  static const TypedOp<> op({
      .name = "acos",
      .doc = "The angle in [0, π] whose cosine is x; NaN beyond ±1.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::acos(x); }>,
      .keeps = Keep::input,
      // y = acos x:  dx = -g / sqrt(1 - x²)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, neg(arc_slope(call.input(0))))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}, -0.8, 0.8)}}},
      .examples = {{.inputs = {{0.5, -1, 1}}, .output = {1.0471975511965979, 3.141592653589793, 0}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& atan_op() {
  static const TypedOp<> op({
      .name = "atan",
      .doc = "The angle in [-π/2, π/2] whose tangent is x.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::atan(x); }>,
      .keeps = Keep::input,
      // y = atan x:  dx = g / (1 + x²)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, reciprocal(1.0 + square(call.input(0))))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{1, INFINITY}}, .output = {0.7853981633974483, 1.5707963267948966}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& sinh_op() {
  static const TypedOp<> op({
      .name = "sinh",
      .doc = "The hyperbolic sine.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::sinh(x); }>,
      .keeps = Keep::input,
      // y = sinh x:  dx = cosh x g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, cosh(call.input(0)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {0, 1.1752011936438014}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& cosh_op() {
  static const TypedOp<> op({
      .name = "cosh",
      .doc = "The hyperbolic cosine.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::cosh(x); }>,
      .keeps = Keep::input,
      // y = cosh x:  dx = sinh x g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, sinh(call.input(0)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {1, 1.5430806348152437}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& asinh_op() {
  static const TypedOp<> op({
      .name = "asinh",
      .doc = "The inverse of sinh.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::asinh(x); }>,
      .keeps = Keep::input,
      // y = asinh x:  dx = g / sqrt(1 + x²)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = call.input(0);
        return {strong_mul(g, reciprocal(hypot(x, scalar_like(1, x))))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1}}, .output = {0, 0.881373587019543}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& acosh_op() {
  static const TypedOp<> op({
      .name = "acosh",
      .doc = "The inverse of cosh, at least 0; NaN below 1.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::acosh(x); }>,
      .keeps = Keep::input,
      // y = acosh x:  dx = g / sqrt(x² - 1)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = call.input(0);
        return {strong_mul(g, rsqrt(x - 1.0) * rsqrt(x + 1.0))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}, 1.3, 3)}}},
      .examples = {{.inputs = {{1, 2}}, .output = {0, 1.3169578969248166}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& atanh_op() {
  static const TypedOp<> op({
      .name = "atanh",
      .doc = "The inverse of tanh; ±inf at ±1, NaN beyond.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::atanh(x); }>,
      .keeps = Keep::input,
      // y = atanh x:  dx = g / (1 - x²)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = call.input(0);
        return {strong_mul(g, reciprocal((1.0 - x) * (1.0 + x)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}, -0.8, 0.8)}}},
      .examples = {{.inputs = {{0.5, -1}}, .output = {0.5493061443340549, -INFINITY}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& atan2_op() {
  static const TypedOp<> op({
      .name = "atan2",
      .doc = "The angle of the point (b, a) in [-π, π]; the gradients at (0, 0) are 0.",
      .shape = rules::floating_pair,
      .run = of_two<[](const auto a, const auto b) { return std::atan2(a, b); }>,
      .broadcasts = true,
      .keeps = Keep::input,
      // with h² = a² + b²:  da = b / h² g, db = -a / h² g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor a = call.input(0), b = call.input(1), h = safe_length(hypot(a, b));
        return {call.wants(0) ? strong_mul(g, b / h / h) : Tensor(),
                call.wants(1) ? strong_mul(g, neg(a) / h / h) : Tensor()};
      },
      .samples = {{.inputs = {sample::away_from({2, 3}, {0}), sample::positive({2, 3})}},
                  {.inputs = {sample::positive({2, 1}), sample::away_from({3}, {0})}}},
      .examples = {{.inputs = {{1, -1, 0}, {1, -1, -1}},
                    .output = {0.7853981633974483, -2.356194490192345, 3.141592653589793}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)}, .message = "only f32 and f64"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}

const TypedOp<>& hypot_op() {
  static const TypedOp<> op({
      .name = "hypot",
      .doc = "sqrt(a² + b²) without overflow; the gradients at (0, 0) are 0.",
      .shape = rules::floating_pair,
      .run = of_two<[](const auto a, const auto b) { return std::hypot(a, b); }>,
      .broadcasts = true,
      .keeps = Keep::input_and_output,
      // y = sqrt(a² + b²):  da = a / y g, db = b / y g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor h = safe_length(call.output());
        return {call.wants(0) ? strong_mul(g, call.input(0) / h) : Tensor(),
                call.wants(1) ? strong_mul(g, call.input(1) / h) : Tensor()};
      },
      .samples = {{.inputs = {sample::away_from({2, 3}, {0}), sample::positive({2, 3})}},
                  {.inputs = {sample::positive({2, 1}), sample::away_from({3}, {0})}}},
      .examples = {{.inputs = {{3, 3e200}, {-4, 4e200}}, .output = {5, 5e200}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)}, .message = "only f32 and f64"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}

}  // namespace

Tensor tan(const Tensor& x) { return apply(tan_op(), {x}); }
Tensor asin(const Tensor& x) { return apply(asin_op(), {x}); }
Tensor acos(const Tensor& x) { return apply(acos_op(), {x}); }
Tensor atan(const Tensor& x) { return apply(atan_op(), {x}); }
Tensor sinh(const Tensor& x) { return apply(sinh_op(), {x}); }
Tensor cosh(const Tensor& x) { return apply(cosh_op(), {x}); }
Tensor asinh(const Tensor& x) { return apply(asinh_op(), {x}); }
Tensor acosh(const Tensor& x) { return apply(acosh_op(), {x}); }
Tensor atanh(const Tensor& x) { return apply(atanh_op(), {x}); }
Tensor atan2(const Tensor& a, const Tensor& b) { return apply(atan2_op(), {a, b}); }
Tensor hypot(const Tensor& a, const Tensor& b) { return apply(hypot_op(), {a, b}); }

std::vector<const Op*> trigonometric_ops() {
  return {&tan_op(),   &asin_op(),  &acos_op(),  &atan_op(),  &sinh_op(), &cosh_op(),
          &asinh_op(), &acosh_op(), &atanh_op(), &atan2_op(), &hypot_op()};
}

}  // namespace twopass
