#include <cmath>
#include <limits>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/kernels.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rules.h>

namespace twopass {

using namespace kernels;

namespace {

std::int64_t quotient(std::int64_t a, std::int64_t b) {
  if (b == 0) throw Error("division of an integer by 0");
  return b == -1 ? wrapped(0 - unsigned_of(a)) : a / b;  // the smallest integer has no opposite
}

Tensor win_share(const Tensor& a, const Tensor& b);

// y = a b:  dy = b da + a db
Tensor product_tangent(const NoArgs&, const Call& call, const Tensors& t) {
  const Tensor y = t[0].defined() ? strong_mul(t[0], call.input(1)) : Tensor();
  if (!t[1].defined()) return y;
  const Tensor by_b = strong_mul(t[1], call.input(0));
  return y.defined() ? y + by_b : by_b;
}

}  // namespace

const TypedOp<>& add_op() {
  static const TypedOp<> op({
      .name = "add",
      .doc = "a + b.",
      .shape = rules::number_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(
                in, out, n, dtype, []<typename T>(T a, T b) requires(!std::is_same_v<T, bool>) {
                  if constexpr (std::is_integral_v<T>)
                    return wrapped(unsigned_of(a) + unsigned_of(b));
                  else
                    return a + b;
                });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.add(x[0], x[1]); },
      .broadcasts = true,
      // y = a + b:  da = g, db = g
      .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors {
        return {g, g};
      },
      .linear = Linear::jointly,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::uniform({3})}}},
      .examples = {{.inputs = {{1, 2}, {0.5, -1}}, .output = {1.5, 1}}},
      .refuses = {{.inputs = {sample::truths({2}), sample::truths({2})}, .message = "not bool"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor add(const Tensor& a, const Tensor& b) { return apply(add_op(), {a, b}); }

const TypedOp<>& sub_op() {
  static const TypedOp<> op({
      .name = "sub",
      .doc = "a - b.",
      .shape = rules::number_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(
                in, out, n, dtype, []<typename T>(T a, T b) requires(!std::is_same_v<T, bool>) {
                  if constexpr (std::is_integral_v<T>)
                    return wrapped(unsigned_of(a) - unsigned_of(b));
                  else
                    return a - b;
                });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.subtract(x[0], x[1]); },
      .broadcasts = true,
      // y = a - b:  da = g, db = -g, summed first where b was broadcast, so that less is negated
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {call.wants(0) ? g : Tensor(), call.wants(1) ? neg(sum_to(g, call.shape(1))) : Tensor()};
      },
      .linear = Linear::jointly,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::uniform({3})}}},
      .examples = {{.inputs = {{1, 2}, {0.5, -1}}, .output = {0.5, 3}}},
      .refuses = {{.inputs = {sample::truths({2}), sample::truths({2})}, .message = "not bool"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor sub(const Tensor& a, const Tensor& b) { return apply(sub_op(), {a, b}); }

const TypedOp<>& mul_op() {
  static const TypedOp<> op({
      .name = "mul",
      .doc = "a b, element by element.",
      .shape = rules::number_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(
                in, out, n, dtype, []<typename T>(T a, T b) requires(!std::is_same_v<T, bool>) {
                  if constexpr (std::is_integral_v<T>)
                    return wrapped(unsigned_of(a) * unsigned_of(b));
                  else
                    return a * b;
                });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.multiply(x[0], x[1]); },
      .broadcasts = true,
      .keeps = Keep::input,
      // y = a b:  da = b g, db = a g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {call.wants(0) ? strong_mul(g, call.input(1)) : Tensor(),
                call.wants(1) ? strong_mul(g, call.input(0)) : Tensor()};
      },
      .tangent = product_tangent,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::uniform({3})}}},
      .examples = {{.inputs = {{1, 2}, {0.5, -1}}, .output = {0.5, -2}}},
      .refuses = {{.inputs = {sample::truths({2}), sample::truths({2})}, .message = "not bool"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor mul(const Tensor& a, const Tensor& b) { return apply(mul_op(), {a, b}); }

const TypedOp<>& strong_mul_op() {
  static const TypedOp<> op({
      .name = "strong_mul",
      .doc = "g d, but 0 where g is 0, whatever d is.",
      .shape = rules::floating_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<2>(in, out, n, dtype,
                         [](const auto g, const auto d) { return g == 0 ? decltype(g + d)(0) : g * d; });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l,
                  std::span<const Lane> x) { return l.strong_multiply(x[0], x[1]); },
      .broadcasts = true,
      .keeps = Keep::input,
      // the product rule's:  dg = d gg, dd = g gg
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {call.wants(0) ? strong_mul(g, call.input(1)) : Tensor(),
                call.wants(1) ? strong_mul(g, call.input(0)) : Tensor()};
      },
      .tangent = product_tangent,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::uniform({3})}}},
      .examples = {{.inputs = {{0, 2}, {INFINITY, 3}}, .output = {0, 6}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)}, .message = "only f32 and f64"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor strong_mul(const Tensor& a, const Tensor& b) { return apply(strong_mul_op(), {a, b}); }

const TypedOp<>& div_op() {
  static const TypedOp<> op({
      .name = "div",
      .doc = "a / b; of i64 the quotient rounded towards zero.",
      .shape = rules::number_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(
                in, out, n, dtype, []<typename T>(T a, T b) requires(!std::is_same_v<T, bool>) {
                  if constexpr (std::is_integral_v<T>)
                    return quotient(a, b);
                  else
                    return a / b;
                });
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l, std::span<const Lane> x) { return l.divide(x[0], x[1]); },
      .broadcasts = true,
      .keeps = Keep::second | Keep::output,
      // y = a / b:  da = g / b, db = -y g / b, where b was broadcast -(Σ y g) / b
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor r = reciprocal(call.input(1));
        Tensors gradients{call.wants(0) ? strong_mul(g, r) : Tensor(), Tensor()};
        if (call.wants(1) && call.shape(1) == call.output_shape())
          gradients[1] = strong_mul(g, neg(call.output() * r));
        else if (call.wants(1))
          gradients[1] = strong_mul(sum_to(strong_mul(g, call.output()), call.shape(1)), neg(r));
        return gradients;
      },
      // dy = (da - y db) / b
      .tangent = [](const NoArgs&, const Call& call, const Tensors& t) -> Tensor {
        const Tensor r = reciprocal(call.input(1));
        Tensor y = t[0].defined() ? strong_mul(t[0], r) : Tensor();
        if (!t[1].defined()) return y;
        const Tensor by_b = strong_mul(t[1], call.output() * r);
        return y.defined() ? y - by_b : neg(by_b);
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::positive({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::positive({3})}}},
      .examples = {{.inputs = {{1, 3}, {0.5, -2}}, .output = {2, -1.5}}},
      .refuses = {{.inputs = {tensor({1, 2}), tensor({1, 0})}, .message = "division of an integer by 0"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor div(const Tensor& a, const Tensor& b) { return apply(div_op(), {a, b}); }

const TypedOp<>& pow_op() {
  static const TypedOp<> op({
      .name = "pow",
      .doc = "a^b.",
      .shape = rules::floating_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<2>(in, out, n, dtype, [](const auto a, const auto b) { return std::pow(a, b); });
          },
      .broadcasts = true,
      .keeps = Keep::input_and_output,
      // y = a^b:  da = b a^(b-1) g (0 for b = 0), db = y log a g (0 for a = 0)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor a = call.input(0), b = call.input(1);
        const Tensor none = scalar_like(0, a);
        return {call.wants(0) ? strong_mul(g, where(equal(b, none), none, b * pow(a, b - 1.0))) : Tensor(),
                call.wants(1) ? strong_mul(g, where(equal(a, none), none, call.output() * log(a))) : Tensor()};
      },
      .samples = {{.inputs = {sample::positive({2, 3}), sample::uniform({2, 3})}},
                  {.inputs = {sample::positive({2, 1}), sample::uniform({3})}}},
      .examples = {{.inputs = {{2, 9, -2}, {3, 0.5, 2}}, .output = {8, 3, 4}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)}, .message = "only f32 and f64"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor pow(const Tensor& a, const Tensor& b) { return apply(pow_op(), {a, b}); }

const TypedOp<>& maximum_op() {
  static const TypedOp<> op({
      .name = "maximum",
      .doc = "The larger of a and b; NaN wins.",
      .shape = rules::number_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(
                in, out, n, dtype,
                []<typename T>(T a, T b) requires(!std::is_same_v<T, bool>) { return a > b || a != a ? a : b; });
          },
      .broadcasts = true,
      .keeps = Keep::input,
      // the winner takes g, ties share it evenly
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {call.wants(0) ? strong_mul(g, win_share(call.input(0), call.input(1))) : Tensor(),
                call.wants(1) ? strong_mul(g, win_share(call.input(1), call.input(0))) : Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::uniform({3})}}},
      .examples = {{.inputs = {{1, 2}, {0.5, 3}}, .output = {1, 3}}},
      .refuses = {{.inputs = {sample::truths({2}), sample::truths({2})}, .message = "not bool"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor maximum(const Tensor& a, const Tensor& b) { return apply(maximum_op(), {a, b}); }

const TypedOp<>& minimum_op() {
  static const TypedOp<> op({
      .name = "minimum",
      .doc = "The smaller of a and b; NaN wins.",
      .shape = rules::number_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(
                in, out, n, dtype,
                []<typename T>(T a, T b) requires(!std::is_same_v<T, bool>) { return a < b || a != a ? a : b; });
          },
      .broadcasts = true,
      .keeps = Keep::input,
      // the winner takes g, ties share it evenly
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {call.wants(0) ? strong_mul(g, win_share(neg(call.input(0)), neg(call.input(1)))) : Tensor(),
                call.wants(1) ? strong_mul(g, win_share(neg(call.input(1)), neg(call.input(0)))) : Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 3})}},
                  {.inputs = {sample::uniform({2, 1}), sample::uniform({3})}}},
      .examples = {{.inputs = {{1, 2}, {0.5, 3}}, .output = {0.5, 2}}},
      .refuses = {{.inputs = {sample::truths({2}), sample::truths({2})}, .message = "not bool"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor minimum(const Tensor& a, const Tensor& b) { return apply(minimum_op(), {a, b}); }

const TypedOp<>& win_share_op() {
  static const TypedOp<> op({
      .name = "win_share",
      .doc = "1 where a > b, 1/2 where they are equal, 0 elsewhere; NaN wins.",
      .shape = rules::floating_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_floats<2>(in, out, n, dtype, [](const auto a, const auto b) {
              using T = std::decay_t<decltype(a)>;
              const bool a_nan = a != a, b_nan = b != b;
              return a_nan != b_nan ? T(a_nan) : a > b ? T(1) : a == b || a_nan ? T(0.5) : T(0);
            });
          },
      .broadcasts = true,
      // constant between its jumps:  da = db = 0
      .gradient = [](const NoArgs&, const Call&, const Tensor&) -> Tensors {
        return {Tensor(), Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}, -2, -0.1), sample::uniform({2, 3}, 0.1, 2)}},
                  {.inputs = {sample::uniform({2, 1}, 0.1, 2), sample::uniform({3}, -2, -0.1)}}},
      .examples = {{.inputs = {{1, 2, 3}, {0.5, 2, 4}}, .output = {1, 0.5, 0}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)}, .message = "only f32 and f64"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
namespace {
Tensor win_share(const Tensor& a, const Tensor& b) { return apply(win_share_op(), {a, b}); }
}  // namespace

Tensor pow(const Tensor& a, double b) { return pow(a, scalar_like(b, a)); }

std::vector<const Op*> binary_ops() {
  return {&add_op(),     &sub_op(),     &mul_op(),        &div_op(),      &pow_op(),
          &maximum_op(), &minimum_op(), &strong_mul_op(), &win_share_op()};
}

}  // namespace twopass
