#include <concepts>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/kernels.h>
#include <twopass/ops/rules.h>

namespace twopass {

using namespace kernels;

const TypedOp<>& equal_op() {
  static const TypedOp<> op({
      .name = "equal",
      .doc = "Whether a = b, as bool.",
      .shape = rules::compared,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_elements<2>(in, out, n, dtype, [](const auto a, const auto b) { return a == b; }); },
      .broadcasts = true,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 1})}}},
      .examples = {{.inputs = {{1, 2, 3}, {2, 2, 2}}, .output = tensor({false, true, false})}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::integers({2}, 0, 3)}, .message = "cast one of them"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor equal(const Tensor& a, const Tensor& b) { return apply(equal_op(), {a, b}); }

const TypedOp<>& not_equal_op() {
  static const TypedOp<> op({
      .name = "not_equal",
      .doc = "Whether a is not b, as bool.",
      .shape = rules::compared,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_elements<2>(in, out, n, dtype, [](const auto a, const auto b) { return a != b; }); },
      .broadcasts = true,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 1})}}},
      .examples = {{.inputs = {{1, 2, 3}, {2, 2, 2}}, .output = tensor({true, false, true})}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::integers({2}, 0, 3)}, .message = "cast one of them"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor not_equal(const Tensor& a, const Tensor& b) { return apply(not_equal_op(), {a, b}); }

const TypedOp<>& less_op() {
  static const TypedOp<> op({
      .name = "less",
      .doc = "Whether a < b, as bool.",
      .shape = rules::compared,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_elements<2>(in, out, n, dtype, [](const auto a, const auto b) { return a < b; }); },
      .broadcasts = true,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 1})}}},
      .examples = {{.inputs = {{1, 2, 3}, {2, 2, 2}}, .output = tensor({true, false, false})}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::integers({2}, 0, 3)}, .message = "cast one of them"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor less(const Tensor& a, const Tensor& b) { return apply(less_op(), {a, b}); }

const TypedOp<>& less_equal_op() {
  static const TypedOp<> op({
      .name = "less_equal",
      .doc = "Whether a is at most b, as bool.",
      .shape = rules::compared,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_elements<2>(in, out, n, dtype, [](const auto a, const auto b) { return a <= b; }); },
      .broadcasts = true,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 1})}}},
      .examples = {{.inputs = {{1, 2, 3}, {2, 2, 2}}, .output = tensor({true, true, false})}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::integers({2}, 0, 3)}, .message = "cast one of them"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor less_equal(const Tensor& a, const Tensor& b) { return apply(less_equal_op(), {a, b}); }

const TypedOp<>& greater_op() {
  static const TypedOp<> op({
      .name = "greater",
      .doc = "Whether a > b, as bool.",
      .shape = rules::compared,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_elements<2>(in, out, n, dtype, [](const auto a, const auto b) { return a > b; }); },
      .broadcasts = true,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 1})}}},
      .examples = {{.inputs = {{1, 2, 3}, {2, 2, 2}}, .output = tensor({false, false, true})}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::integers({2}, 0, 3)}, .message = "cast one of them"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor greater(const Tensor& a, const Tensor& b) { return apply(greater_op(), {a, b}); }

const TypedOp<>& greater_equal_op() {
  static const TypedOp<> op({
      .name = "greater_equal",
      .doc = "Whether a is at least b, as bool.",
      .shape = rules::compared,
      .run = [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n,
                DType dtype) { by_elements<2>(in, out, n, dtype, [](const auto a, const auto b) { return a >= b; }); },
      .broadcasts = true,
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({2, 1})}}},
      .examples = {{.inputs = {{1, 2, 3}, {2, 2, 2}}, .output = tensor({false, true, true})}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::integers({2}, 0, 3)}, .message = "cast one of them"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "do not broadcast"}},
  });
  return op;
}
Tensor greater_equal(const Tensor& a, const Tensor& b) { return apply(greater_equal_op(), {a, b}); }

const TypedOp<>& logical_and_op() {
  static const TypedOp<> op({
      .name = "logical_and",
      .doc = "Whether both are true.",
      .shape = rules::truth_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(in, out, n, dtype,
                           [](std::same_as<bool> auto a, std::same_as<bool> auto b) { return a && b; });
          },
      .broadcasts = true,
      .samples = {{.inputs = {sample::truths({2, 3}), sample::truths({2, 1})}}},
      .examples = {{.inputs = {tensor({true, true, false}), tensor({true, false, false})},
                    .output = tensor({true, false, false})}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::uniform({2})}, .message = "only bool"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "only bool"}},
  });
  return op;
}
Tensor logical_and(const Tensor& a, const Tensor& b) { return apply(logical_and_op(), {a, b}); }

const TypedOp<>& logical_or_op() {
  static const TypedOp<> op({
      .name = "logical_or",
      .doc = "Whether either is true.",
      .shape = rules::truth_pair,
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<2>(in, out, n, dtype,
                           [](std::same_as<bool> auto a, std::same_as<bool> auto b) { return a || b; });
          },
      .broadcasts = true,
      .samples = {{.inputs = {sample::truths({2, 3}), sample::truths({2, 1})}}},
      .examples = {{.inputs = {tensor({true, true, false}), tensor({true, false, false})},
                    .output = tensor({true, true, false})}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::uniform({2})}, .message = "only bool"},
                  {.inputs = {sample::uniform({3}), sample::uniform({4})}, .message = "only bool"}},
  });
  return op;
}
Tensor logical_or(const Tensor& a, const Tensor& b) { return apply(logical_or_op(), {a, b}); }

const TypedOp<>& logical_not_op() {
  static const TypedOp<> op({
      .name = "logical_not",
      .doc = "Whether x is false.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        if (in.dtype(0) != boolean) rules::refuse_dtype(in.dtype(0), "bool");
        return in[0];
      },
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<1>(
                in, out, n, dtype, []<typename T>(T x) requires(std::is_same_v<T, bool>) { return !x; });
          },
      .samples = {{.inputs = {sample::truths({2, 3})}}},
      .examples = {{.inputs = {tensor({true, false})}, .output = tensor({false, true})}},
      .refuses = {{.inputs = {sample::uniform({2})}, .message = "only bool"}},
  });
  return op;
}
Tensor logical_not(const Tensor& a) { return apply(logical_not_op(), {a}); }

const TypedOp<>& where_op() {
  static const TypedOp<> op({
      .name = "where",
      .doc = "a where the condition is true, b elsewhere.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        if (in.dtype(0) != boolean)
          throw Error(std::string("the condition must be bool, not ") + std::string(name_of(in.dtype(0))));
        if (in.dtype(1) != in.dtype(2))
          throw Error(std::string("a is ") + std::string(name_of(in.dtype(1))) + " but b is " +
                      std::string(name_of(in.dtype(2))) + ": cast one of them");
        return {broadcast(in.shape(0), broadcast(in.shape(1), in.shape(2))), in.dtype(1)};
      },
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            dispatch(dtype, [&]<typename T>() {
              const bool* condition = in[0].data<bool>();
              const T *a = in[1].data<T>(), *b = in[2].data<T>();
              T* to = reinterpret_cast<T*>(out);
              const std::int64_t by_c = !in[0].splat, by_a = !in[1].splat, by_b = !in[2].splat;
              for (std::int64_t k = 0; k < n; ++k) to[k] = condition[k * by_c] ? a[k * by_a] : b[k * by_b];
            });
          },
      .broadcasts = true,
      .keeps = Keep::first,
      // the chosen side takes g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor condition = call.input(0), none = scalar_like(0, g);
        return {Tensor(), call.wants(1) ? where(condition, g, none) : Tensor(),
                call.wants(2) ? where(condition, none, g) : Tensor()};
      },
      .linear = Linear::jointly,
      .samples = {{.inputs = {sample::truths({2, 3}), sample::uniform({2, 3}), sample::uniform({3})}}},
      .examples = {{.inputs = {tensor({true, false}), {1.0, 2.0}, {3.0, 4.0}}, .output = {1.0, 4.0}}},
      .refuses = {{.inputs = {sample::uniform({2}), sample::uniform({2}), sample::uniform({2})},
                   .message = "the condition must be bool"}},
  });
  return op;
}
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) { return apply(where_op(), {condition, a, b}); }

std::vector<const Op*> comparison_ops() {
  return {&equal_op(),         &not_equal_op(),   &less_op(),       &less_equal_op(),  &greater_op(),
          &greater_equal_op(), &logical_and_op(), &logical_or_op(), &logical_not_op(), &where_op()};
}

}  // namespace twopass
