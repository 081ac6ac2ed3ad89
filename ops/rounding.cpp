#include <twopass/ops/rounding.h>

#include <cmath>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/named.h>
#include <twopass/ops/rules.h>
#include <twopass/ops/scalar_kernels.h>

namespace twopass {

using namespace kernels;

namespace {

std::int64_t left_of(std::int64_t a, std::int64_t b) {
  if (b == 0) throw Error("division of an integer by 0");
  if (b == -1) return 0;  // the smallest integer has no opposite
  const std::int64_t left = a % b;
  return left != 0 && (left < 0) != (b < 0) ? left + b : left;
}

template <typename T>
T left_of(T a, T b) {
  const T left = std::fmod(a, b);
  if (left == 0) return std::copysign(left, b);
  return (left < 0) != (b < 0) ? left + b : left;
}

// Constant between its jumps:  dx = 0
Tensors no_slope(const NoArgs&, const Call&, const Tensor&) { return {Tensor()}; }

const TypedOp<>& floor_op() {
  static const TypedOp<> op({
      .name = "floor",
      .doc = "The largest integer that is not above x.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::floor(x); }>,
      .gradient = no_slope,
      .samples = {{.inputs = {sample::away_from({2, 3}, {-2, -1, 0, 1, 2})}}},
      .examples = {{.inputs = {{1.5, -1.5, 2}}, .output = {1, -2, 2}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& ceil_op() {
  static const TypedOp<> op({
      .name = "ceil",
      .doc = "The smallest integer that is not below x.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::ceil(x); }>,
      .gradient = no_slope,
      .samples = {{.inputs = {sample::away_from({2, 3}, {-2, -1, 0, 1, 2})}}},
      .examples = {{.inputs = {{1.5, -1.5, 2}}, .output = {2, -1, 2}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& round_op() {
  static const TypedOp<> op({
      .name = "round",
      .doc = "The nearest integer, of two the even one.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::nearbyint(x); }>,
      .gradient = no_slope,
      .samples = {{.inputs = {sample::away_from({2, 3}, {-1.5, -0.5, 0.5, 1.5})}}},
      .examples = {{.inputs = {{0.5, 1.5, 2.5, -0.5, -1.7}}, .output = {0, 2, 2, 0, -2}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& trunc_op() {
  static const TypedOp<> op({
      .name = "trunc",
      .doc = "x without its fraction.",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return std::trunc(x); }>,
      .gradient = no_slope,
      .samples = {{.inputs = {sample::away_from({2, 3}, {-2, -1, 0, 1, 2})}}},
      .examples = {{.inputs = {{1.5, -1.5, 2}}, .output = {1, -1, 2}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& remainder_op() {
  static const TypedOp<> op({
      .name = "remainder",
      .doc = "a - b floor(a / b): what is left of a, with the sign of b.",
      .shape = rules::number_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(
                in, out, n, dtype,
                []<typename T>(T a, T b) requires(!std::is_same_v<T, bool>) { return left_of(a, b); });
          },
      .broadcasts = true,
      .keeps = Keep::input_and_output,
      // y = a - b k, k = (a - y) / b a whole number:  da = g, db = -k g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        if (!call.wants(1)) return {g, Tensor()};
        return {g, strong_mul(g, round((call.output() - call.input(0)) / call.input(1)))};
      },
      .samples = {{.inputs = {tensor({1.3, -2.6, 0.4}, f64), tensor({0.5, 0.7, -1.0}, f64)}},
                  {.inputs = {tensor({{1.3}, {-0.4}}, f64), tensor({0.5, 0.75, -1.0}, f64)}}},
      // as in Python
      .examples = {{.inputs = {{5, -5, 5, -5}, {3, 3, -3, -3}}, .output = {2, 1, -1, -2}},
                   {.inputs = {tensor({5, -5, 5}), tensor({3, 3, -3})}, .output = tensor({2, 1, -1})}},
      .refuses = {{.inputs = {tensor({1, 2}), tensor({1, 0})}, .message = "division of an integer by 0"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}

}  // namespace

Tensor floor(const Tensor& x) { return apply(floor_op(), {x}); }
Tensor ceil(const Tensor& x) { return apply(ceil_op(), {x}); }
Tensor round(const Tensor& x) { return apply(round_op(), {x}); }
Tensor trunc(const Tensor& x) { return apply(trunc_op(), {x}); }
Tensor remainder(const Tensor& a, const Tensor& b) { return apply(remainder_op(), {a, b}); }

Tensor fmod(const Tensor& a, const Tensor& b) {
  return named("fmod", {&a, &b}, [&] {
    if (a.dtype() == i64 && b.dtype() == i64) {  // whose least number has no opposite
      const Tensor rest = remainder(a, b);
      return where(logical_and(not_equal(rest, 0), not_equal(rest < 0, a < 0)), rest - b, rest);
    }
    const Tensor size = abs(b);
    return where(a < 0.0, neg(remainder(neg(a), size)), remainder(a, size));
  });
}
Tensor frac(const Tensor& x) {
  return named("frac", {&x}, [&] { return x - trunc(x); });
}

// From the nearer end, so that both are met exactly.
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& t) {
  return named("lerp", {&a, &b, &t}, [&] {
    const Tensor way = b - a;
    return where(t < 0.5, a + t * way, b - (1.0 - t) * way);
  });
}

std::vector<const Op*> rounding_ops() { return {&floor_op(), &ceil_op(), &round_op(), &trunc_op(), &remainder_op()}; }

}  // namespace twopass
