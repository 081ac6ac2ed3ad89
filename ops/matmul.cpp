#include <twopass/ops/matmul.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/counted.h>
#include <twopass/core/threads.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/gemm.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace products {

void check_dtypes(const Specs& in) {
  for (std::size_t k = 0; k < in.size(); ++k) {
    if (!is_floating(in.dtype(k)))
      throw Error(fmt::format("only f32 and f64 can be multiplied so, not {}: cast first", name_of(in.dtype(k))));
    if (in.dtype(k) != in.dtype(0))
      throw Error(
          fmt::format("the first is {} but another is {}: cast one", name_of(in.dtype(0)), name_of(in.dtype(k))));
  }
}

void check_inner(std::int64_t columns, std::int64_t rows) {
  if (columns != rows && columns != kOpen && rows != kOpen)
    throw Error(
        fmt::format("the first has {} but the second has {}", counted(columns, "column"), counted(rows, "row")));
}

// [..., n] as [rows, n].
Tensor as_rows(const Tensor& x) {
  const Shape& shape = x.shape();
  if (shape.rank() == 2) return x;
  std::int64_t rows = 1;
  for (int axis = 0; axis < shape.rank() - 1 && rows != kOpen; ++axis)
    rows = shape[axis] == kOpen ? kOpen : rows * shape[axis];
  return reshape(x, {rows, shape.back()});
}

namespace {

// The axes before the last two.
Shape leading(const Shape& shape) { return Shape(shape.begin(), static_cast<std::size_t>(shape.rank() - 2)); }

Shape matrices(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  return batch.inserted(batch.rank(), rows).inserted(batch.rank() + 1, columns);
}

}  // namespace

Shape product_shape(const MatmulArgs& args, const Shape& a, const Shape& b) {
  if (a.rank() < 2 || b.rank() < 2)
    throw Error(fmt::format("both need two axes or more, not {} and {}", a.rank(), b.rank()));
  check_inner(a[args.transpose_a ? -2 : -1], b[args.transpose_b ? -1 : -2]);
  return matrices(broadcast(leading(a), leading(b)), a[args.transpose_a ? -1 : -2], b[args.transpose_b ? -2 : -1]);
}

double product_work(const MatmulArgs& args, const Shape& a, const Shape& b) {
  return 2.0 * static_cast<double>(product_shape(args, a, b).elements() * a[args.transpose_a ? -2 : -1]);
}

namespace {

// A batch by one matrix is one product over all rows, so that its matrices lie one below the other.
bool one_product(const MatmulArgs& args, std::int64_t batch, const Shape& b) {
  return batch == 1 || (leading(b).elements() == 1 && !args.transpose_a);
}

Spec matmul_rule(const MatmulArgs& args, const Specs& in) {
  check_dtypes(in);
  return {product_shape(args, in.shape(0), in.shape(1)), in.dtype(0)};
}

// Which matrix of an operand of `shape` meets matrix `index` of the output.
std::int64_t matrix_index(const Shape& shape, const Shape& output, std::int64_t index) {
  std::int64_t at = 0, stride = 1;
  for (int back = 3; back <= output.rank(); ++back) {
    const std::int64_t place = index % output[-back];
    index /= output[-back];
    if (back > shape.rank()) continue;
    if (shape[-back] != 1) at += place * stride;
    stride *= shape[-back];
  }
  return at;
}

template <typename T>
void multiply_all(const MatmulArgs& args, const View& a_view, const View& b_view, const GemmOptions<T>& options,
                  Output out) {
  const Shape &a = a_view.shape(), &b = b_view.shape(), &c = out.shape();
  const std::int64_t m = c[-2], n = c[-1], k = a[args.transpose_a ? -2 : -1];
  if (c.elements() == 0) return;
  const std::int64_t batch = c.elements() / (m * n);
  const T *left = a_view.data<T>(), *right = b_view.data<T>();
  const auto product = [&](const T* from_a, const T* from_b, std::int64_t first, std::int64_t rows) {
    GemmOptions<T> here = options;
    if (here.add) here.add += first * n;
    gemm(args.transpose_a, args.transpose_b, rows, n, k, from_a, a.back(), from_b, b.back(), out.data<T>() + first * n,
         n, here);
  };
  if (one_product(args, batch, b)) return product(left, right, 0, batch * m);
  reduction::for_units(batch, std::max<std::int64_t>(1, m * n * k / 32), [&](std::int64_t index) {
    product(left + matrix_index(a, c, index) * m * k, right + matrix_index(b, c, index) * k * n, index * m, m);
  });
}

}  // namespace

std::string product_note(const MatmulArgs& args, const Shape& a, const Shape& b, DType dtype) {
  const Shape c = product_shape(args, a, b);
  if (c.open() || a.open() || c.elements() == 0) return {};
  const std::int64_t batch = leading(c).elements(), rows = one_product(args, batch, b) ? batch * c[-2] : c[-2];
  const std::int64_t k = a[args.transpose_a ? -2 : -1];
  if (dtype == f32 && halves_product(rows, c[-1], k)) return "in bf16";
  return turns_product(args.transpose_a, args.transpose_b, rows, c[-1], k, dtype) ? "turned" : "";
}

std::int64_t product_scratch(const MatmulArgs& args, const Shape& a, const Shape& b, DType dtype, bool added) {
  const Shape c = product_shape(args, a, b);
  if (c.open() || a.open() || c.elements() == 0) return 0;
  const std::int64_t batch = leading(c).elements(), k = a[args.transpose_a ? -2 : -1];
  const auto scratch = [&](std::int64_t rows) {
    return gemm_scratch(args.transpose_a, args.transpose_b, rows, c[-1], k, dtype, added);
  };
  if (one_product(args, batch, b)) return scratch(batch * c[-2]);
  return std::min<std::int64_t>(batch, threads::count()) * scratch(c[-2]);
}

void multiply(const MatmulArgs& args, const View& a, const View& b, const Ending& ending, Output out) {
  dispatch_floating(out.dtype, [&]<typename T>() {
    GemmOptions<T> options{.alpha = ending.scale ? *ending.scale->data<T>() : T{1},
                           .bias = ending.bias ? ending.bias->data<T>() : nullptr,
                           .add = ending.add ? ending.add->data<T>() : nullptr,
                           .ldadd = out.shape()[-1]};
    set_activation(options, ending.activation);
    multiply_all<T>(args, a, b, options, out);
  });
}

namespace {

void matmul_forward(const MatmulArgs& args, Inputs in, Output out) { multiply(args, in[0], in[1], {}, out); }

// c = a b:  da = g bᵀ, read through the transpositions; leading axes that broadcast are summed.
Tensor left_gradient(const MatmulArgs& args, const Tensor& g, const Tensor& b, const Shape& shape) {
  const bool ta = args.transpose_a, tb = args.transpose_b;
  return sum_to(ta ? product(b, g, tb, true) : product(g, b, false, !tb), shape);
}

// db = aᵀ g, the same way. Where b is one matrix for all of a's, its gradient is one product over all rows.
Tensor right_gradient(const MatmulArgs& args, const Tensor& g, const Tensor& a, const Shape& shape) {
  const bool ta = args.transpose_a, tb = args.transpose_b;
  const bool shared = shape.rank() == 2 && !ta;
  const Tensor left = shared ? as_rows(a) : a, h = shared ? as_rows(g) : g;
  return sum_to(tb ? product(h, left, true, ta) : product(left, h, !ta, false), shape);
}

Tensors matmul_gradient(const MatmulArgs& args, const Call& call, const Tensor& g) {
  return {call.wants(0) ? left_gradient(args, g, call.input(1), call.shape(0)) : Tensor(),
          call.wants(1) ? right_gradient(args, g, call.input(0), call.shape(1)) : Tensor()};
}

double matmul_work(const MatmulArgs& args, const Specs& in) { return product_work(args, in.shape(0), in.shape(1)); }

// c + a b and c + s (a b) are multiply_add.
std::optional<Absorbed> matmul_absorb(const MatmulArgs& args, const Consumer& consumer) {
  const Specs& in = consumer.inputs;
  if (consumer.op.name() == "add_scaled" && consumer.at == 2 && in.shape(0) == in.shape(2) && in.shape(1).rank() == 0)
    return Absorbed{&multiply_add_op(), boxed(args), {-1, 0, 1, -2}};
  return absorb({.args = args}, consumer);
}

std::string matmul_note(const MatmulArgs& args, const Specs& in) {
  return product_note(args, in.shape(0), in.shape(1), in.dtype(0));
}

const TypedOp<MatmulArgs>& matmul_op() {
  static const TypedOp<MatmulArgs> op({
      .name = "matmul",
      .doc = "The product over the last two axes, [..., m, k] by [..., k, n]; leading axes broadcast.",
      .shape = matmul_rule,
      .forward = matmul_forward,
      // A batch by one matrix is another product than a batch by as many.
      .repeats =
          [](const MatmulArgs& args, const Specs& in, std::size_t k) {
            return k == 0 || args.transpose_a || (in.shape(1).rank() > 2 && leading(in.shape(1)).elements() > 1);
          },
      .work = matmul_work,
      .scratch = [](const MatmulArgs& args,
                    const Specs& in) { return product_scratch(args, in.shape(0), in.shape(1), in.dtype(0), false); },
      .absorb = matmul_absorb,
      .note = matmul_note,
      .keeps = Keep::first | Keep::second,
      .gradient = matmul_gradient,
      .linear = Linear::each,
      .stacked = [](const MatmulArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return apply(matmul_op(), args, aligned(in, which));
      },
      .samples = {{{}, {sample::uniform({2, 3}), sample::uniform({3, 4})}},
                  {{true, false}, {sample::uniform({3, 2}), sample::uniform({3, 4})}},
                  {{false, true}, {sample::uniform({2, 3}), sample::uniform({4, 3})}},
                  {{true, true}, {sample::uniform({3, 2}), sample::uniform({4, 3})}},
                  {{}, {sample::uniform({2, 3, 2}), sample::uniform({2, 2})}},
                  {{true, true}, {sample::uniform({2, 1, 2, 3}), sample::uniform({3, 2, 2})}},
                  {{false, true}, {sample::uniform({1, 2, 3}), sample::uniform({2, 2, 3})}}},
      .examples = {{{}, {{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}, {{19, 22}, {43, 50}}},
                   {{true, false}, {{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}, {{26, 30}, {38, 44}}},
                   {{false, true}, {{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}, {{17, 23}, {39, 53}}}},
      .refuses = {{{},
                   {sample::uniform({2, 3}), sample::uniform({4, 5})},
                   "the first has 3 columns but the second has 4 rows"},
                  {{}, {sample::uniform({2, 2, 3}), sample::uniform({3, 3, 2})}, "(2,) and (3,) do not broadcast"},
                  {{}, {sample::uniform({3}), sample::uniform({3, 2})}, "both need two axes or more, not 1 and 2"},
                  {{}, {sample::integers({2, 2}, 0, 5), sample::integers({2, 2}, 0, 5)}, "not i64"}},
  });
  return op;
}

// The sizes of the output that c says, where those of the product are open.
Spec multiply_add_rule(const MatmulArgs& args, const Specs& in) {
  if (in.size() < 3 || in.size() > 4)
    throw Error(fmt::format("multiply_add takes c, a, b and perhaps scale, not {} tensors", in.size()));
  check_dtypes(in);
  if (in.size() == 4 && in.shape(3).rank() != 0)
    throw Error(fmt::format("the scale must be one number, not {}", in.shape(3).text()));
  const Shape &c = in.shape(0), product = product_shape(args, in.shape(1), in.shape(2));
  bool fits = c.rank() == product.rank();
  for (int axis = 0; fits && axis < c.rank(); ++axis)
    fits = c[axis] == product[axis] || c[axis] == kOpen || product[axis] == kOpen;
  if (!fits) throw Error(fmt::format("c is {} but the product is {}", c.text(), product.text()));
  Shape known = product;
  for (int axis = 0; axis < c.rank(); ++axis)
    if (product[axis] == kOpen) known = known.with(axis, c[axis]);
  return {known, in.dtype(0)};
}

// Where the output's memory is c's, the product is added to it in place.
void multiply_add_forward(const MatmulArgs& args, Inputs in, Output out) {
  multiply(args, in[1], in[2], {.add = &in[0], .scale = in.size() == 4 ? &in[3] : nullptr}, out);
}

// y = c + s a b:  dc = g, da = s g bᵀ, db = s aᵀ g, ds = Σ g (a b); with flags and broadcasting as for matmul.
Tensors multiply_add_gradient(const MatmulArgs& args, const Call& call, const Tensor& g) {
  const bool scaled = call.size() == 4;
  Tensors gradients{g};
  gradients.resize(call.size());
  const Tensor a = call.input(1), b = call.input(2);
  const Tensor h = scaled && (call.wants(1) || call.wants(2)) ? call.input(3) * g : g;
  if (call.wants(1)) gradients[1] = left_gradient(args, h, b, call.shape(1));
  if (call.wants(2)) gradients[2] = right_gradient(args, h, a, call.shape(2));
  if (scaled && call.wants(3)) gradients[3] = sum(g * product(a, b, args.transpose_a, args.transpose_b));
  return gradients;
}

// dy = dc + s (da b + a db) + ds a b
Tensor multiply_add_tangent(const MatmulArgs& args, const Call& call, const Tensors& t) {
  const Tensor a = call.input(1), b = call.input(2);
  const Tensor s = call.size() == 4 ? call.input(3) : Tensor(), ds = call.size() == 4 ? t[3] : Tensor();
  Tensor y = t[0];
  const auto add_product = [&](const Tensor& left, const Tensor& right, const Tensor& scale) {
    if (y.defined()) {
      y = scale.defined() ? apply(multiply_add_op(), args, {y, left, right, scale})
                          : apply(multiply_add_op(), args, {y, left, right});
    } else {
      y = product(left, right, args.transpose_a, args.transpose_b);
      if (scale.defined()) y = y * scale;
    }
  };
  if (t[1].defined()) add_product(t[1], b, s);
  if (t[2].defined()) add_product(a, t[2], s);
  if (ds.defined()) add_product(a, b, ds);
  return y;
}

Tensor multiply_add_stacked(const MatmulArgs& args, const Tensors& in, const std::vector<bool>& which) {
  const Tensors factors = aligned({in[1], in[2]}, {which[1], which[2]});
  const Tensor c = product(factors[0], factors[1], args.transpose_a, args.transpose_b);
  Tensors parts{in[0], c};
  std::vector<bool> stacked{which[0], which[1] || which[2]};
  if (in.size() == 4) {
    parts.push_back(in[3]);
    stacked.push_back(which[3]);
  }
  parts = aligned(parts, stacked);
  return parts[0] + (parts.size() == 3 ? parts[2] * parts[1] : parts[1]);
}

std::optional<Absorbed> multiply_add_absorb(const MatmulArgs& args, const Consumer& consumer) {
  if (consumer.product.size() == 4) return std::nullopt;
  return absorb({.args = args, .a = 1, .b = 2, .add = 0}, consumer);
}

}  // namespace

const TypedOp<MatmulArgs>& multiply_add_op() {
  constexpr Keep kFourth = static_cast<Keep>(16);
  static const TypedOp<MatmulArgs> op({
      .name = "multiply_add",
      .doc = "c + scale a b, the product as in matmul, c of its shape and scale one number or none; in place where the "
             "output is c's memory.",
      .shape = multiply_add_rule,
      .forward = multiply_add_forward,
      .in_place = 0,
      .work = [](const MatmulArgs& args, const Specs& in) { return product_work(args, in.shape(1), in.shape(2)); },
      .scratch = [](const MatmulArgs& args,
                    const Specs& in) { return product_scratch(args, in.shape(1), in.shape(2), in.dtype(0), true); },
      .absorb = multiply_add_absorb,
      .note = [](const MatmulArgs& args,
                 const Specs& in) { return product_note(args, in.shape(1), in.shape(2), in.dtype(0)); },
      .keeps = Keep::second | Keep::third | kFourth,
      .gradient = multiply_add_gradient,
      .tangent = multiply_add_tangent,
      .stacked = multiply_add_stacked,
      .samples = {{{}, {sample::uniform({2, 4}), sample::uniform({2, 3}), sample::uniform({3, 4})}},
                  {{true, false},
                   {sample::uniform({2, 4}), sample::uniform({3, 2}), sample::uniform({3, 4}), sample::uniform({})}},
                  {{false, true},
                   {sample::uniform({2, 4}), sample::uniform({2, 3}), sample::uniform({4, 3}), sample::uniform({})}},
                  {{true, true},
                   {sample::uniform({2, 3, 2, 2}), sample::uniform({2, 1, 3, 2}), sample::uniform({3, 2, 3}),
                    sample::uniform({})}},
                  {{},
                   {sample::uniform({2, 3, 2}), sample::uniform({2, 3, 2}), sample::uniform({2, 2}),
                    sample::uniform({})}}},
      .examples = {{{},
                    {{{1, 2}, {3, 4}}, {{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}, tensor(-0.5, f64)},
                    {{-8.5, -9}, {-18.5, -21}}},
                   {{true, false}, {{{1, 2}, {3, 4}}, {{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}, {{27, 32}, {41, 48}}}},
      .refuses = {{{},
                   {sample::uniform({2, 4}), sample::uniform({2, 3}), sample::uniform({4, 4})},
                   "the first has 3 columns but the second has 4 rows"},
                  {{},
                   {sample::uniform({4}), sample::uniform({2, 3}), sample::uniform({3, 4})},
                   "c is (4,) but the product is (2, 4)"},
                  {{},
                   {sample::uniform({2, 4}), sample::uniform({2, 3}), sample::uniform({3, 4}), sample::uniform({1})},
                   "the scale must be one number, not (1,)"},
                  {{}, {sample::uniform({2, 4}), sample::uniform({2, 3})}, "not 2 tensors"},
                  {{},
                   {sample::integers({2, 2}, 0, 5), sample::integers({2, 2}, 0, 5), sample::integers({2, 2}, 0, 5)},
                   "not i64"}},
  });
  return op;
}

Tensor product(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  return apply(matmul_op(), MatmulArgs{transpose_a, transpose_b}, {a, b});
}

std::vector<const Op*> matmul_ops() { return {&matmul_op(), &multiply_add_op()}; }

}  // namespace products

Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options) {
  const bool row = a.rank() == 1, column = b.rank() == 1;
  if (!row && !column) return products::product(a, b, options.transpose_a, options.transpose_b);
  const Tensor left = row ? expand_dims(a, 0) : a, right = column ? expand_dims(b, 1) : b;
  Tensor y = products::product(left, right, !row && options.transpose_a, !column && options.transpose_b);
  if (column) y = squeeze(y, -1);
  return row ? squeeze(y, column ? -1 : -2) : y;
}

Tensor multiply_add(const Tensor& c, const Tensor& a, const Tensor& b, const Tensor& scale, MatmulOptions options) {
  const products::MatmulArgs args{options.transpose_a, options.transpose_b};
  return scale.defined() ? apply(products::multiply_add_op(), args, {c, a, b, scale})
                         : apply(products::multiply_add_op(), args, {c, a, b});
}

std::vector<const Op*> product_ops() {
  auto ops = products::matmul_ops();
  for (const Op* op : products::affine_ops()) ops.push_back(op);
  for (const Op* op : products::fused_product_ops()) ops.push_back(op);
  return ops;
}

}  // namespace twopass
