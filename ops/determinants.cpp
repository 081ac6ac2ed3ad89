#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/linear_algebra.h>
#include <twopass/ops/linear_families.h>
#include <twopass/ops/matrix_kernels.h>
#include <twopass/ops/named.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

using matrices::Determinant;

// One number a matrix.
Spec number_rule(const NoArgs&, const Specs& in) {
  matrices::check_square(in, 0);
  return {in.shape(0).without(-1).without(-1), in.dtype(0)};
}

template <double Determinant::*part>
void determinants(const NoArgs&, Inputs in, Output out) {
  const std::int64_t n = in[0].shape()[-1];
  reduction::for_units(out.elements(), n * n * n, [&](std::int64_t k) {
    matrices::put(out, k, matrices::determinant(matrices::take(in[0], k)).*part);
  });
}

// g, a number a matrix, with two axes more.
Tensor for_each_element(const Tensor& g) { return expand_dims(expand_dims(g, -1), -1); }

std::vector<OpRecord<>::Sample> regular_samples() {
  return {{{}, {tensor({{2.0, -0.3, 0.5}, {0.4, 1.5, -0.7}, {-0.2, 0.6, 1.1}}, f64)}},
          {{}, {tensor({{{2.0, 1.0}, {0.5, 1.0}}, {{-1.0, 0.2}, {0.3, 0.9}}}, f64)}}};
}

const TypedOp<>& cofactors_op() {
  static const TypedOp<> op({
      .name = "cofactors",
      .doc = "The determinants of what is left of [..., n, n] without an element's row and column, with its sign.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        matrices::check_square(in, 0);
        return in[0];
      },
      .forward =
          [](const NoArgs&, Inputs in, Output out) {
            const std::int64_t n = out.shape()[-1];
            reduction::for_units(matrices::count(out.shape()), n * n * n, [&](std::int64_t k) {
              matrices::put(out, k, matrices::cofactors(matrices::take(in[0], k)));
            });
          },
      .keeps = Keep::first | Keep::output,
      // y = det x t with t = x⁻ᵀ:  dx = y Σ g t - y gᵀ t; refused where x is singular
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor y = call.output(), t = matrix_transpose(inverse(call.input(0)));
        return {y * sum(g * t, {-2, -1}, keep_axis) - matmul(matmul(y, g, {.transpose_b = true}), t)};
      },
      // of 2 × 2 matrices they are linear
      .samples = {{{}, {tensor({{2.0, -0.3, 0.5}, {0.4, 1.5, -0.7}, {-0.2, 0.6, 1.1}}, f64)}},
                  {{}, {tensor({{{2.0, 1.0, 0.3}, {0.5, 1.0, -0.4}, {0.1, 0.2, -1.5}}}, f64)}}},
      .examples = {{{}, {{{1, 2}, {3, 4}}}, {{4, -3}, {-2, 1}}},
                   {{}, {{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}}, {{-3, 6, -3}, {6, -12, 6}, {-3, 6, -3}}}},
      .refuses = {{{}, {sample::uniform({2, 3})}, "not square: 2 rows but 3 columns"}},
  });
  return op;
}

const TypedOp<>& det_op() {
  static const TypedOp<> op({
      .name = "det",
      .doc = "The determinants of the matrices [..., n, n].",
      .shape = number_rule,
      .forward = determinants<&Determinant::value>,
      .keeps = Keep::first,
      // dx = g cofactors(x)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {for_each_element(g) * apply(cofactors_op(), {call.input(0)})};
      },
      // dy = Σ cofactors(x) dx
      .tangent = [](const NoArgs&, const Call& call, const Tensors& t) -> Tensor {
        return sum(apply(cofactors_op(), {call.input(0)}) * t[0], {-2, -1});
      },
      .samples = regular_samples(),
      .examples = {{{}, {{{1, 2}, {3, 4}}}, tensor(-2.0, f64)}, {{}, {{{1, 2}, {2, 4}}}, tensor(0.0, f64)}},
      .refuses = {{{}, {sample::uniform({2, 3})}, "not square: 2 rows but 3 columns"},
                  {{}, {sample::integers({2, 2}, 0, 3)}, "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& logabsdet_op() {
  static const TypedOp<> op({
      .name = "logabsdet",
      .doc = "log |det x| of the matrices [..., n, n]; -inf of a singular one.",
      .shape = number_rule,
      .forward = determinants<&Determinant::logabs>,
      .keeps = Keep::first,
      // dx = g x⁻ᵀ; refused where x is singular
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {for_each_element(g) * matrix_transpose(inverse(call.input(0)))};
      },
      // dy = Σ x⁻ᵀ dx
      .tangent = [](const NoArgs&, const Call& call, const Tensors& t) -> Tensor {
        return sum(matrix_transpose(inverse(call.input(0))) * t[0], {-2, -1});
      },
      .samples = regular_samples(),
      .examples = {{{}, {{{1, 2}, {3, 4}}}, tensor(0.6931471805599453, f64)},
                   {{}, {{{1e300, 0}, {0, 1e300}}}, tensor(1381.5510557964274, f64)}},
      .refuses = {{{}, {sample::uniform({2, 3})}, "not square: 2 rows but 3 columns"}},
  });
  return op;
}

const TypedOp<>& det_sign_op() {
  static const TypedOp<> op({
      .name = "det_sign",
      .doc = "The sign of the determinants of [..., n, n]: 1, -1, or 0 of a singular one.",
      .shape = number_rule,
      .forward = determinants<&Determinant::sign>,
      // constant between its jumps:  dx = 0
      .gradient = [](const NoArgs&, const Call&, const Tensor&) -> Tensors { return {Tensor()}; },
      .samples = regular_samples(),
      .examples = {{{}, {{{1, 2}, {3, 4}}}, tensor(-1.0, f64)}, {{}, {{{1, 2}, {2, 4}}}, tensor(0.0, f64)}},
      .refuses = {{{}, {sample::uniform({2, 3})}, "not square: 2 rows but 3 columns"}},
  });
  return op;
}

}  // namespace

Tensor det(const Tensor& x) { return apply(det_op(), {x}); }
SignAndLog slogdet(const Tensor& x) {
  return named("slogdet", {&x}, [&]() -> SignAndLog {
    return {apply(det_sign_op(), {x}), apply(logabsdet_op(), {x})};
  });
}

std::vector<const Op*> determinant_ops() { return {&cofactors_op(), &det_op(), &logabsdet_op(), &det_sign_op()}; }

std::vector<const Op*> linear_algebra_ops() {
  std::vector<const Op*> ops = equation_ops();
  const auto more = determinant_ops();
  ops.insert(ops.end(), more.begin(), more.end());
  return ops;
}

}  // namespace twopass
