#include <twopass/ops/products.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/gemm.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

struct MatmulArgs {
  bool transpose_a = false;
  bool transpose_b = false;
  static constexpr auto fields =
      std::tuple{field("transpose_a", &MatmulArgs::transpose_a), field("transpose_b", &MatmulArgs::transpose_b)};
};

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
    throw Error(fmt::format("the first has {} columns but the second has {} rows", columns, rows));
}

// The axes before the last two.
Shape leading(const Shape& shape) { return Shape(shape.begin(), static_cast<std::size_t>(shape.rank() - 2)); }

Shape matrices(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  return batch.inserted(batch.rank(), rows).inserted(batch.rank() + 1, columns);
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

Tensor product(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b);

Spec matmul_rule(const MatmulArgs& args, const Specs& in) {
  check_dtypes(in);
  const Shape &a = in.shape(0), &b = in.shape(1);
  if (a.rank() < 2 || b.rank() < 2)
    throw Error(fmt::format("both need two axes or more, not {} and {}", a.rank(), b.rank()));
  check_inner(a[args.transpose_a ? -2 : -1], b[args.transpose_b ? -1 : -2]);
  return {matrices(broadcast(leading(a), leading(b)), a[args.transpose_a ? -1 : -2], b[args.transpose_b ? -2 : -1]),
          in.dtype(0)};
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

void matmul_forward(const MatmulArgs& args, Inputs in, Output out) {
  const Shape &a = in[0].shape(), &b = in[1].shape(), &c = out.shape();
  const std::int64_t m = c[-2], n = c[-1], k = a[args.transpose_a ? -2 : -1];
  if (c.elements() == 0) return;
  const std::int64_t batch = c.elements() / (m * n);
  dispatch_floating(out.dtype, [&]<typename T>() {
    const T *left = in[0].data<T>(), *right = in[1].data<T>();
    const auto multiply = [&](const T* from_a, const T* from_b, T* to, std::int64_t rows) {
      gemm(args.transpose_a, args.transpose_b, rows, n, k, from_a, a.back(), from_b, b.back(), to, n);
    };
    if (batch == 1 || (leading(b).elements() == 1 && !args.transpose_a))
      return multiply(left, right, out.data<T>(), batch * m);
    reduction::for_units(batch, std::max<std::int64_t>(1, m * n * k / 32), [&](std::int64_t index) {
      multiply(left + matrix_index(a, c, index) * m * k, right + matrix_index(b, c, index) * k * n,
               out.data<T>() + index * m * n, m);
    });
  });
}

// c = a b:  da = g bᵀ, db = aᵀ g; with flags the same, read through the transpositions; leading axes that broadcast are
// summed. Where b is one matrix for all of a's, its gradient is one product over all rows.
Tensors matmul_gradient(const MatmulArgs& args, const Call& call, const Tensor& g) {
  const bool ta = args.transpose_a, tb = args.transpose_b;
  Tensors gradients(2);
  if (call.wants(0)) {
    const Tensor b = call.input(1);
    gradients[0] = sum_to(ta ? product(b, g, tb, true) : product(g, b, false, !tb), call.shape(0));
  }
  if (call.wants(1)) {
    const bool shared = call.shape(1).rank() == 2 && !ta;
    const Tensor a = shared ? as_rows(call.input(0)) : call.input(0), h = shared ? as_rows(g) : g;
    gradients[1] = sum_to(tb ? product(h, a, true, ta) : product(a, h, !ta, false), call.shape(1));
  }
  return gradients;
}

const TypedOp<MatmulArgs>& matmul_op() {
  static const TypedOp<MatmulArgs> op({
      .name = "matmul",
      .doc = "The product over the last two axes, [..., m, k] by [..., k, n]; leading axes broadcast.",
      .shape = matmul_rule,
      .forward = matmul_forward,
      .keeps = Keep::first | Keep::second,
      .gradient = matmul_gradient,
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

Tensor product(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  return apply(matmul_op(), MatmulArgs{transpose_a, transpose_b}, {a, b});
}

Spec affine_rule(const NoArgs&, const Specs& in) {
  if (in.size() < 2 || in.size() > 3)
    throw Error(fmt::format("affine takes x, w and perhaps b, not {} tensors", in.size()));
  check_dtypes(in);
  const Shape &x = in.shape(0), &w = in.shape(1);
  if (x.rank() < 1) throw Error("x needs an axis of features");
  if (w.rank() != 2) throw Error(fmt::format("w must have two axes, not {}", w.rank()));
  check_inner(x.back(), w[0]);
  if (in.size() == 3 && (in.shape(2).rank() != 1 || in.shape(2)[0] != w[1]))
    throw Error(fmt::format("b must be ({},), one for each column of w, not {}", w[1], in.shape(2).text()));
  return {x.with(-1, w[1]), in.dtype(0)};
}

// Adds the bias to rows of n elements; relu in the same sweep, NaN stays NaN.
template <bool kRelu, typename T>
void finish_rows(T* y, const T* bias, std::int64_t rows, std::int64_t n) {
  reduction::for_units(rows, n, [&](std::int64_t row) {
    T* const to = y + row * n;
    const auto bend = [](T value) { return !kRelu || !(value <= 0) ? value : T{0}; };
    if (bias)
      for (std::int64_t k = 0; k < n; ++k) to[k] = bend(to[k] + bias[k]);
    else
      for (std::int64_t k = 0; k < n; ++k) to[k] = bend(to[k]);
  });
}

// The op that a fused activation must equal bit for bit: its own kernel finishes the sweep where it is not plain relu.
const Op& op_named(const char* name) {
  const Op* op = find_op(name);
  if (!op) throw Error(fmt::format("there is no op \"{}\"", name));
  return *op;
}

template <FusedActivation kActivation>
void affine_forward(const NoArgs&, Inputs in, Output out) {
  const std::int64_t k = in[1].shape()[0], n = in[1].shape()[1];
  if (out.elements() == 0) return;
  const std::int64_t rows = out.elements() / n;
  constexpr bool kRelu = kActivation == FusedActivation::relu;
  dispatch_floating(out.dtype, [&]<typename T>() {
    T* const y = out.data<T>();
    gemm(false, false, rows, n, k, in[0].data<T>(), k, in[1].data<T>(), n, y, n);
    const T* const bias = in.size() == 3 ? in[2].data<T>() : nullptr;
    if (kRelu || bias) finish_rows<kRelu>(y, bias, rows, n);
  });
  if constexpr (kActivation == FusedActivation::sigmoid || kActivation == FusedActivation::tanh) {
    static const Op& activation = op_named(kActivation == FusedActivation::tanh ? "tanh" : "sigmoid");
    const View y{out.bytes, out.of_shape, out.dtype};
    activation.forward(nullptr, Inputs(&y, 1), out);
  }
}

// g times the slope of the activation at its value y:  relu: g where y > 0;  sigmoid: g y (1 - y);  tanh: g (1 - y²)
template <FusedActivation kActivation>
Tensor bent(const Call& call, const Tensor& g) {
  if constexpr (kActivation == FusedActivation::linear) {
    return g;
  } else {
    const Tensor y = call.output();
    if constexpr (kActivation == FusedActivation::relu)
      return gate(g, y);
    else if constexpr (kActivation == FusedActivation::sigmoid)
      return sigmoid_gradient(g, y);
    else
      return tanh_gradient(g, y);
  }
}

// y = act(x w + b), h = g act'(y):  dx = h wᵀ, dw = xᵀ h, db = Σ h over the rows
template <FusedActivation kActivation>
Tensors affine_gradient(const NoArgs&, const Call& call, const Tensor& g) {
  const Tensor h = bent<kActivation>(call, g);
  Tensors gradients(call.size());
  if (call.wants(0)) {
    const Tensor dx = product(h.rank() == 1 ? reshape(h, {1, h.shape()[0]}) : h, call.input(1), false, true);
    gradients[0] = h.rank() == 1 ? reshape(dx, call.shape(0)) : dx;
  }
  const bool wants_bias = call.size() == 3 && call.wants(2);
  if (!call.wants(1) && !wants_bias) return gradients;
  const Tensor rows = as_rows(h);
  if (call.wants(1)) gradients[1] = product(as_rows(call.input(0)), rows, true, false);
  if (wants_bias) gradients[2] = sum(rows, 0);
  return gradients;
}

using Examples = std::vector<OpRecord<>::Example>;

// Sums away from relu's kink, once all above and once all below it.
template <FusedActivation kActivation>
std::vector<OpRecord<>::Sample> affine_samples() {
  const double low = kActivation == FusedActivation::relu ? 0.5 : -1;
  const auto draw = [&](const Shape& shape) { return sample::uniform(shape, low, 1.5); };
  return {{{}, {draw({3, 2}), draw({2, 4}), draw({4})}},
          {{}, {draw({2, 2, 3}), draw({3, 2}), draw({2})}},
          {{}, {draw({3}), draw({3, 2}), draw({2})}},
          {{}, {sample::positive({2, 3}), sample::uniform({3, 2}, -1, -0.5)}}};
}

template <FusedActivation kActivation>
const TypedOp<NoArgs>& affine_op(const char* name, const char* doc, const Examples& examples) {
  static const TypedOp<NoArgs> op({
      .name = name,
      .doc = doc,
      .shape = affine_rule,
      .forward = affine_forward<kActivation>,
      .keeps = Keep::first | Keep::second | (kActivation == FusedActivation::linear ? Keep::none : Keep::output),
      .gradient = affine_gradient<kActivation>,
      .samples = affine_samples<kActivation>(),
      .examples = examples,
      .refuses = {{{},
                   {sample::uniform({2, 3}), sample::uniform({4, 5}), sample::uniform({5})},
                   "the first has 3 columns but the second has 4 rows"},
                  {{},
                   {sample::uniform({2, 3}), sample::uniform({3, 5}), sample::uniform({4})},
                   "b must be (5,), one for each column of w, not (4,)"},
                  {{}, {sample::uniform({2, 3}), sample::uniform({3})}, "w must have two axes, not 1"}},
  });
  return op;
}

const Op& affine_record(FusedActivation activation) {
  const sample::Literal x{{1.0, 2.0}}, w{{1.0, -1.0}, {2.0, -2.0}}, b{0.5, 1.0};
  switch (activation) {
    case FusedActivation::relu: {
      static const auto& op = affine_op<FusedActivation::relu>(
          "affine_relu", "max(x w + b, 0) for x [..., k], w [k, n] and b [n] or none; the gradient at 0 is 0.",
          {{{}, {x, w, b}, {{5.5, 0.0}}}});
      return op;
    }
    case FusedActivation::sigmoid: {
      static const auto& op = affine_op<FusedActivation::sigmoid>(
          "affine_sigmoid", "sigmoid(x w + b) for x [..., k], w [k, n] and b [n] or none.",
          {{{}, {x, w, b}, {{0.995929862284104, 0.017986209962091559}}}});
      return op;
    }
    case FusedActivation::tanh: {
      static const auto& op =
          affine_op<FusedActivation::tanh>("affine_tanh", "tanh(x w + b) for x [..., k], w [k, n] and b [n] or none.",
                                           {{{}, {x, w, b}, {{0.99996659715630376, -0.99932929973906703}}}});
      return op;
    }
    default: {
      static const auto& op = affine_op<FusedActivation::linear>(
          "affine", "x w + b for x [..., k], w [k, n] and b [n] or none.", {{{}, {x, w, b}, {{5.5, -4.0}}}});
      return op;
    }
  }
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options) {
  const bool row = a.rank() == 1, column = b.rank() == 1;
  if (!row && !column) return product(a, b, options.transpose_a, options.transpose_b);
  const Tensor left = row ? expand_dims(a, 0) : a, right = column ? expand_dims(b, 1) : b;
  Tensor y = product(left, right, !row && options.transpose_a, !column && options.transpose_b);
  if (column) y = squeeze(y, -1);
  return row ? squeeze(y, column ? -1 : -2) : y;
}

Tensor affine(const Tensor& x, const Tensor& w, const Tensor& b, FusedActivation activation) {
  const Op& op = affine_record(activation);
  return b.defined() ? apply(op, {x, w, b}) : apply(op, {x, w});
}

std::vector<const Op*> product_ops() {
  return {&matmul_op(), &affine_record(FusedActivation::linear), &affine_record(FusedActivation::relu),
          &affine_record(FusedActivation::sigmoid), &affine_record(FusedActivation::tanh)};
}

}  // namespace twopass
