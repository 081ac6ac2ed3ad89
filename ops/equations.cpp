#include <fmt/format.h>

#include <functional>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/linear_algebra.h>
#include <twopass/ops/linear_families.h>
#include <twopass/ops/matrix_kernels.h>
#include <twopass/ops/named.h>
#include <twopass/ops/products.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

using matrices::Matrix;

struct SolveArgs {
  bool transpose = false;
  static constexpr auto fields = std::tuple{field("transpose", &SolveArgs::transpose)};
};
struct TriangularArgs {
  bool upper = false;
  bool transpose = false;
  bool unit = false;
  static constexpr auto fields =
      std::tuple{field("upper", &TriangularArgs::upper), field("transpose", &TriangularArgs::transpose),
                 field("unit", &TriangularArgs::unit)};
};

Spec square_rule(const Specs& in) {
  matrices::check_square(in, 0);
  return in[0];
}

// a [..., n, n] and b [..., n, k] with the same leading axes.
Spec equation_rule(const Specs& in) {
  matrices::check_square(in, 0);
  const Shape &a = in.shape(0), &b = in.shape(1);
  if (in.dtype(0) != in.dtype(1))
    throw Error(fmt::format("the matrix is {} but the right side is {}", name_of(in.dtype(0)), name_of(in.dtype(1))));
  if (a.rank() != b.rank() || !(a.without(-1).without(-1) == b.without(-1).without(-1)) || a[-1] != b[-2])
    throw Error(fmt::format("a matrix {} goes with a right side of {} rows and the same leading axes, not {}", a.text(),
                            a[-1], b.text()));
  return in[1];
}

template <typename F>
void for_matrices(const Output& out, const F& f) {
  const std::int64_t count = matrices::count(out.shape());
  const std::int64_t n = out.shape()[-2];
  reduction::for_units(count, n * n * n, [&](std::int64_t k) { matrices::put(out, k, f(k, count)); });
}

// The gradient of a in a y = b (of aᵀ y = b) from that of b.
Tensor matrix_gradient(const Tensor& db, const Tensor& y, bool transpose) {
  return neg(transpose ? matmul(y, db, {.transpose_b = true}) : matmul(db, y, {.transpose_b = true}));
}

// The right side db - da y (db - daᵀ y) that the tangent of a solution y solves.
Tensor right_side(const Call& call, const Tensor& da, const Tensor& db, bool transpose) {
  if (!da.defined()) return db;
  const Tensor moved = matmul(da, call.output(), {.transpose_a = transpose});
  return db.defined() ? db - moved : neg(moved);
}

// The triangle of x that counts.
Tensor counting(const TriangularArgs& args, const Tensor& x) {
  const int off = args.unit ? 1 : 0;
  return args.upper ? triu(x, off) : tril(x, -off);
}

// Of one matrix the right sides of all calls are columns of one, so that it is taken apart once.
template <typename Args>
Tensor solved_together(const TypedOp<Args>& op, const Args& args, const Tensors& in, const std::vector<bool>& which) {
  if (which[0]) return apply(op, args, all_stacked(in, which));
  const Tensor sides = moveaxis(in[1], 0, -2);  // [..., rows, calls, k]
  const Shape& shape = sides.shape();
  const Tensor y = apply(op, args, {in[0], reshape(sides, shape.without(-1).with(-1, shape[-2] * shape[-1]))});
  return moveaxis(reshape(y, shape), -2, 0);
}

const TypedOp<>& inverse_op() {
  static const TypedOp<> op({
      .name = "inverse",
      .doc = "The inverse of the matrices [..., n, n].",
      .shape = [](const NoArgs&, const Specs& in) -> Spec { return square_rule(in); },
      .forward =
          [](const NoArgs&, Inputs in, Output out) {
            for_matrices(out, [&](std::int64_t k, std::int64_t of) {
              return matrices::inverse(matrices::take(in[0], k), k, of);
            });
          },
      .keeps = Keep::output,
      // y = x⁻¹:  dx = -yᵀ g yᵀ
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor y = call.output();
        return {neg(matmul(matmul(y, g, {.transpose_a = true}), y, {.transpose_b = true}))};
      },
      // dy = -y dx y
      .tangent = [](const NoArgs&, const Call& call, const Tensors& t) -> Tensor {
        return neg(matmul(matmul(call.output(), t[0]), call.output()));
      },
      .samples = {{{}, {tensor({{2.0, -0.3, 0.5}, {0.4, 1.5, -0.7}, {-0.2, 0.6, 1.1}}, f64)}},
                  {{}, {tensor({{{2.0, 1.0}, {0.5, 1.0}}, {{-1.0, 0.2}, {0.3, 0.9}}}, f64)}}},
      .examples = {{{}, {{{1, 2}, {3, 4}}}, {{-2, 1}, {1.5, -0.5}}}},
      .refuses = {{{}, {tensor({{1.0, 2.0}, {2.0, 4.0}}, f64)}, "the matrix is singular"},
                  {{}, {sample::uniform({2, 3})}, "not square: 2 rows but 3 columns"},
                  {{}, {sample::uniform({3})}, "a matrix has two axes"},
                  {{}, {sample::integers({2, 2}, 0, 3)}, "only f32 and f64"}},
  });
  return op;
}

const TypedOp<SolveArgs>& solve_op() {
  static const TypedOp<SolveArgs> op({
      .name = "solve",
      .doc = "The y of a y = b (of aᵀ y = b) for a [..., n, n] and b [..., n, k].",
      .shape = [](const SolveArgs&, const Specs& in) -> Spec { return equation_rule(in); },
      .forward =
          [](const SolveArgs& args, Inputs in, Output out) {
            for_matrices(out, [&](std::int64_t k, std::int64_t of) {
              const Matrix a = matrices::take(in[0], k);
              return matrices::solve(args.transpose ? Matrix(a.transpose()) : a, matrices::take(in[1], k), k, of);
            });
          },
      .keeps = Keep::first | Keep::output,
      // y = a⁻¹ b:  db = a⁻ᵀ g, da = -db yᵀ (transposed: db = a⁻¹ g, da = -y dbᵀ)
      .gradient = [](const SolveArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const Tensor db = apply(solve_op(), SolveArgs{!args.transpose}, {call.input(0), g});
        return {call.wants(0) ? matrix_gradient(db, call.output(), args.transpose) : Tensor(), db};
      },
      // dy = a⁻¹ (db - da y)
      .tangent = [](const SolveArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return apply(solve_op(), args, {call.input(0), right_side(call, t[0], t[1], args.transpose)});
      },
      .stacked = [](const SolveArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return solved_together(solve_op(), args, in, which);
      },
      .samples = {{{}, {tensor({{2.0, -0.3}, {0.4, 1.5}}, f64), sample::uniform({2, 3})}},
                  {{true},
                   {tensor({{{2.0, 1.0}, {0.5, 1.0}}, {{-1.0, 0.2}, {0.3, 0.9}}}, f64), sample::uniform({2, 2, 1})}}},
      .examples = {{{}, {{{1, 2}, {3, 4}}, tensor({{5.0}, {11.0}}, f64)}, tensor({{1.0}, {2.0}}, f64)},
                   {{true}, {{{1, 2}, {3, 4}}, tensor({{7.0}, {10.0}}, f64)}, tensor({{1.0}, {2.0}}, f64)}},
      .refuses = {{{}, {tensor({{1.0, 2.0}, {2.0, 4.0}}, f64), sample::uniform({2, 1})}, "the matrix is singular"},
                  {{}, {sample::uniform({2, 2}), sample::uniform({3, 1})}, "goes with a right side of 2 rows"},
                  {{}, {sample::uniform({2, 3}), sample::uniform({2, 1})}, "not square"}},
  });
  return op;
}

const TypedOp<TriangularArgs>& triangular_solve_op() {
  static const TypedOp<TriangularArgs> op({
      .name = "triangular_solve",
      .doc = "The y of a y = b (of aᵀ y = b) where only one triangle of a counts.",
      .shape = [](const TriangularArgs&, const Specs& in) -> Spec { return equation_rule(in); },
      .forward =
          [](const TriangularArgs& args, Inputs in, Output out) {
            for_matrices(out, [&](std::int64_t k, std::int64_t of) {
              const Matrix a = matrices::take(in[0], k);
              return matrices::triangular_solve(args.transpose ? Matrix(a.transpose()) : a, matrices::take(in[1], k),
                                                args.upper != args.transpose, args.unit, k, of);
            });
          },
      .keeps = Keep::first | Keep::output,
      // as solve's, but only the triangle that counts gets a gradient
      .gradient = [](const TriangularArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const Tensor a = call.input(0);
        const Tensor db = apply(triangular_solve_op(), TriangularArgs{args.upper, !args.transpose, args.unit}, {a, g});
        if (!call.wants(0)) return {Tensor(), db};
        const Tensor da = matrix_gradient(db, call.output(), args.transpose);
        return {counting(args, da), db};
      },
      // as solve's, of the triangle that counts
      .tangent = [](const TriangularArgs& args, const Call& call, const Tensors& t) -> Tensor {
        const Tensor da = t[0].defined() ? counting(args, t[0]) : Tensor();
        return apply(triangular_solve_op(), args, {call.input(0), right_side(call, da, t[1], args.transpose)});
      },
      .stacked = [](const TriangularArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return solved_together(triangular_solve_op(), args, in, which);
      },
      .samples = {{{}, {tensor({{2.0, -0.3}, {0.4, 1.5}}, f64), sample::uniform({2, 3})}},
                  {{true, true, false}, {tensor({{2.0, -0.3}, {0.4, 1.5}}, f64), sample::uniform({2, 3})}},
                  {{true, false, true}, {tensor({{2.0, -0.3}, {0.4, 1.5}}, f64), sample::uniform({2, 1})}},
                  {{false, true, true},
                   {tensor({{{2.0, 1.0}, {0.5, 1.0}}, {{-1.0, 0.2}, {0.3, 0.9}}}, f64), sample::uniform({2, 2, 1})}}},
      .examples = {{{}, {{{2, 9}, {1, 4}}, tensor({{2.0}, {9.0}}, f64)}, tensor({{1.0}, {2.0}}, f64)},
                   {{true, false, false}, {{{2, 1}, {9, 4}}, tensor({{4.0}, {8.0}}, f64)}, tensor({{1.0}, {2.0}}, f64)},
                   {{false, false, true},
                    {{{7, 9}, {1, 7}}, tensor({{1.0}, {3.0}}, f64)},
                    tensor({{1.0}, {2.0}}, f64)}},
      .refuses = {{{},
                   {tensor({{1.0, 0.0}, {2.0, 0.0}}, f64), sample::uniform({2, 1})},
                   "element 1 of its diagonal is 0"},
                  {{}, {sample::uniform({2, 2}), sample::uniform({2})}, "goes with a right side of 2 rows"}},
  });
  return op;
}

const TypedOp<>& cholesky_op() {
  static const TypedOp<> op({
      .name = "cholesky",
      .doc = "The lower triangular y with y yᵀ the symmetric part of the positive definite matrices [..., n, n].",
      .shape = [](const NoArgs&, const Specs& in) -> Spec { return square_rule(in); },
      .forward =
          [](const NoArgs&, Inputs in, Output out) {
            for_matrices(out, [&](std::int64_t k, std::int64_t of) {
              return matrices::cholesky(matrices::take(in[0], k), k, of);
            });
          },
      .keeps = Keep::output,
      // dx = (s + sᵀ) / 2 with s = y⁻ᵀ p y⁻¹ and p the lower triangle of yᵀ g, its diagonal halved (Murray, 2016)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor y = call.output();
        const Tensor product = matmul(y, tril(g), {.transpose_a = true});
        const Tensor p = (tril(product) + tril(product, -1)) * 0.5;
        const Tensor left = triangular_solve(y, p, {.transpose = true});
        const Tensor s = triangular_solve(y, matrix_transpose(left), {.transpose = true});
        return {(s + matrix_transpose(s)) * 0.5};
      },
      .samples = {{{}, {tensor({{2.0, -0.3, 0.5}, {0.4, 1.5, -0.7}, {-0.2, 0.6, 1.1}}, f64)}},
                  {{}, {tensor({{{2.0, 1.0}, {1.0, 1.0}}, {{1.0, 0.2}, {0.2, 0.9}}}, f64)}}},
      .examples = {{{}, {{{4, 2}, {2, 10}}}, {{2, 0}, {1, 3}}}},
      .refuses = {{{}, {tensor({{1.0, 2.0}, {2.0, 1.0}}, f64)}, "the matrix is not positive definite"},
                  {{}, {tensor({{{1.0}}, {{-1.0}}}, f64)}, "matrix 1 is not positive definite"},
                  {{}, {sample::uniform({2, 3})}, "not square"}},
  });
  return op;
}

// b with the leading axes that both share, and a column of its own where it is one.
Tensor solved(const Tensor& a, const Tensor& b, const std::function<Tensor(const Tensor&, const Tensor&)>& solver) {
  if (a.rank() < 2 || b.rank() == 0) return solver(a, b);  // refused there
  if (b.rank() == 1) return squeeze(solved(a, expand_dims(b, 1), solver), -1);
  const Shape lead_a = a.shape().without(-1).without(-1), lead_b = b.shape().without(-1).without(-1);
  if (lead_a == lead_b) return solver(a, b);
  const auto with_lead = [lead = broadcast(lead_a, lead_b)](const Tensor& x) {
    std::vector<std::int64_t> sizes = lead.sizes();
    sizes.push_back(x.shape()[-2]);
    sizes.push_back(x.shape()[-1]);
    return broadcast_to(x, Shape(sizes));
  };
  return solver(with_lead(a), with_lead(b));
}

}  // namespace

Tensor matrix_transpose(const Tensor& x) {
  return named("matrix_transpose", {&x}, [&] {
    if (x.rank() < 2) throw Error(fmt::format("matrix_transpose{}: a matrix has two axes", x.shape().text()));
    return moveaxis(x, -1, -2);
  });
}
Tensor inverse(const Tensor& x) { return apply(inverse_op(), {x}); }
Tensor solve(const Tensor& a, const Tensor& b) {
  return named("solve", {&a, &b}, [&] {
    return solved(a, b, [](const Tensor& m, const Tensor& right) {
      return apply(solve_op(), SolveArgs{}, {m, right});
    });
  });
}
Tensor triangular_solve(const Tensor& a, const Tensor& b, const TriangularSolveOptions& options) {
  const TriangularArgs args{options.triangle == Triangle::upper, options.transpose, options.unit_diagonal};
  return solved(a, b, [&](const Tensor& m, const Tensor& right) {
    return apply(triangular_solve_op(), args, {m, right});
  });
}
Tensor cholesky(const Tensor& x) { return apply(cholesky_op(), {x}); }

std::vector<const Op*> equation_ops() { return {&inverse_op(), &solve_op(), &triangular_solve_op(), &cholesky_op()}; }

}  // namespace twopass
