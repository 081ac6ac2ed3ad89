#include <twopass/ops/cross_entropy.h>

#include <fmt/format.h>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>
#include <twopass/ops/softmax_kernels.h>

namespace twopass {
namespace {

void check_logits(const Spec& logits) {
  if (!is_floating(logits.dtype)) throw Error(fmt::format("logits must be f32 or f64, not {}", name_of(logits.dtype)));
  if (logits.shape.rank() == 0 || logits.shape.back() == 0)
    throw Error("logits need a last axis of at least one class");
}

void check_dense(const Specs& in) {
  check_logits(in[0]);
  if (in.dtype(1) == i64 && in.shape(1).rank() + 1 == in.shape(0).rank())
    throw Error("targets of one i64 per row are labels: they belong in sparse_softmax_cross_entropy");
  if (in.dtype(1) != in.dtype(0))
    throw Error(fmt::format("logits are {} but targets {}: cast one", name_of(in.dtype(0)), name_of(in.dtype(1))));
  bool same = in.shape(0).rank() == in.shape(1).rank();
  for (int axis = 0; same && axis < in.shape(0).rank(); ++axis) {
    const std::int64_t a = in.shape(0)[axis], b = in.shape(1)[axis];
    same = a == b || a == kOpen || b == kOpen;
  }
  if (!same)
    throw Error(fmt::format("logits of shape {} need targets of the same shape, not {}", in.shape(0).text(),
                            in.shape(1).text()));
}

void check_sparse(const Specs& in) {
  check_logits(in[0]);
  if (in.dtype(1) != i64)
    throw Error(fmt::format("labels must be i64, not {}: one-hot targets belong in softmax_cross_entropy",
                            name_of(in.dtype(1))));
  const Shape wanted = in.shape(0).without(-1);
  bool same = wanted.rank() == in.shape(1).rank();
  for (int axis = 0; same && axis < wanted.rank(); ++axis) {
    const std::int64_t a = wanted[axis], b = in.shape(1)[axis];
    same = a == b || a == kOpen || b == kOpen;
  }
  if (!same)
    throw Error(fmt::format("logits of shape {} need labels of shape {}, one per row, not {}{}", in.shape(0).text(),
                            wanted.text(), in.shape(1).text(),
                            in.shape(1) == in.shape(0) ? ": one-hot targets belong in softmax_cross_entropy" : ""));
}

unsigned rows_of_both(const NoArgs&, const Specs& in) { return in.shape(0).rank() > 1 ? 3 : 0; }

void check_labels(const View& labels, std::int64_t classes) {
  const std::int64_t* const label = labels.data<std::int64_t>();
  for (std::int64_t k = 0; k < labels.elements(); ++k)
    if (label[k] < 0 || label[k] >= classes)
      throw Error(
          fmt::format("label {} at index {} is outside 0 … {}", label[k], labels.shape().index_text(k), classes - 1));
}

// g of one number per row, beside rows.
Tensor per_row(const Tensor& g) { return expand_dims(g, g.rank()); }

// What the loss of a row does with x: t is its targets; `scratch` receives e^(x - max).
template <typename T, typename Loss>
void each_row(const View& logits, T* out, const Loss& loss) {
  const std::int64_t n = logits.shape().back(), rows = logits.elements() / n;
  classes::for_blocks(rows, n, [&](std::int64_t first, std::int64_t count) {
    T few[2048];
    const Buffer many = count * n > 2048 ? Buffer(static_cast<std::size_t>(count * n) * sizeof(T)) : Buffer();
    T* const scratch = many ? reinterpret_cast<T*>(many.data()) : few;
    const T* const x = logits.data<T>() + first * n;
    classes::shifted_exponentials(x, scratch, count, n);
    for (std::int64_t row = 0; row < count; ++row) {
      T* const e = scratch + row * n;
      const T scale = std::log(classes::total(e, n)), most = classes::largest(x + row * n, n);
      out[first + row] = loss(first + row, x + row * n, most, scale, e);
    }
  });
}

// loss = -Σ t (x - max - log Σ e^(x - max)); a class of target 0 takes no part, though its logit be -inf
void dense_forward(const NoArgs&, Inputs in, Output out) {
  const std::int64_t n = in[0].shape().back();
  dispatch_floating(out.dtype, [&]<typename T>() {
    const T* const targets = in[1].data<T>();
    each_row<T>(in[0], out.data<T>(), [&](std::int64_t row, const T* x, T most, T scale, T* e) {
      const T* const t = targets + row * n;
      for (std::int64_t k = 0; k < n; ++k) e[k] = t[k] == 0 ? T{0} : t[k] * (most - x[k] + scale);
      return classes::total(e, n);
    });
  });
}

void sparse_forward(const NoArgs&, Inputs in, Output out) {
  check_labels(in[1], in[0].shape().back());
  const std::int64_t* const labels = in[1].data<std::int64_t>();
  dispatch_floating(out.dtype, [&]<typename T>() {
    each_row<T>(in[0], out.data<T>(),
                [&](std::int64_t row, const T* x, T most, T scale, T*) { return most - x[labels[row]] + scale; });
  });
}

void dense_slope_forward(const NoArgs&, Inputs in, Output out) {
  const std::int64_t n = out.shape().back(), rows = out.elements() / n;
  dispatch_floating(out.dtype, [&]<typename T>() {
    classes::for_blocks(rows, n, [&](std::int64_t first, std::int64_t count) {
      const T* t = in[1].data<T>() + first * n;
      T* y = out.data<T>() + first * n;
      classes::softmax_rows(in[0].data<T>() + first * n, y, count, n);
      for (std::int64_t row = 0; row < count; ++row, t += n, y += n) {
        const T sum = classes::total(t, n);
        for (std::int64_t k = 0; k < n; ++k) y[k] = y[k] * sum - t[k];
      }
    });
  });
}

void sparse_slope_forward(const NoArgs&, Inputs in, Output out) {
  const std::int64_t n = out.shape().back(), rows = out.elements() / n;
  check_labels(in[1], n);
  const std::int64_t* const labels = in[1].data<std::int64_t>();
  dispatch_floating(out.dtype, [&]<typename T>() {
    classes::for_blocks(rows, n, [&](std::int64_t first, std::int64_t count) {
      T* const y = out.data<T>() + first * n;
      classes::softmax_rows(in[0].data<T>() + first * n, y, count, n);
      for (std::int64_t row = 0; row < count; ++row) y[row * n + labels[first + row]] -= 1;
    });
  });
}

// The vector-Jacobian product of softmax with value p:  p (h - Σ h p)
Tensor through_softmax(const Tensor& p, const Tensor& h) { return p * (h - sum(h * p, -1, keep_axis)); }

Tensor dense_slope_tangent(const NoArgs&, const Call& call, const Tensors& t) {
  const Tensor p = softmax(call.input(0));
  const auto along = [](const Tensor& x) { return sum(x, -1, keep_axis); };
  const Tensor by_x = t[0].defined() ? through_softmax(p, t[0]) * along(call.input(1)) : Tensor();
  if (!t[1].defined()) return by_x;
  const Tensor by_t = p * along(t[1]) - t[1];
  return by_x.defined() ? by_x + by_t : by_t;
}

const TypedOp<NoArgs>& dense_slope_op() {
  static const TypedOp<NoArgs> op({
      .name = "softmax_cross_entropy_slope",
      .doc = "softmax(logits) Σ targets - targets: the derivative of softmax_cross_entropy for its logits.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        check_dense(in);
        return in[0];
      },
      .forward = dense_slope_forward,
      .rows = rows_of_both,
      .keeps = Keep::first | Keep::second,
      // y = p Σt - t, p = softmax(x):  dx = p (h - Σ h p) with h = g Σt,  dt = Σ g p - g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor p = softmax(call.input(0));
        Tensors gradients(2);
        if (call.wants(0)) gradients[0] = through_softmax(p, g * sum(call.input(1), -1, keep_axis));
        if (call.wants(1)) gradients[1] = sum(g * p, -1, keep_axis) - g;
        return gradients;
      },
      // dy = p (dx - Σ dx p) Σt + p Σdt - dt
      .tangent = dense_slope_tangent,
      .samples = {{{}, {sample::uniform({3, 4}), sample::uniform({3, 4})}}},
      .examples = {{{}, {{{0, 0}}, {{1, 0}}}, {{-0.5, 0.5}}}},
      .refuses = {{{},
                   {sample::uniform({2, 3}), sample::uniform({2, 4})},
                   "need targets of the same shape, not (2, 4)"}},
  });
  return op;
}

const TypedOp<NoArgs>& sparse_slope_op() {
  static const TypedOp<NoArgs> op({
      .name = "sparse_softmax_cross_entropy_slope",
      .doc = "softmax(logits) less 1 at the label: the derivative of sparse_softmax_cross_entropy for its logits.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        check_sparse(in);
        return in[0];
      },
      .forward = sparse_slope_forward,
      .keeps = Keep::first,
      // dx = p (g - Σ g p), p = softmax(x)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {through_softmax(softmax(call.input(0)), g), {}};
      },
      .tangent = [](const NoArgs&, const Call& call, const Tensors& t) -> Tensor {
        return through_softmax(softmax(call.input(0)), t[0]);
      },
      .samples = {{{}, {sample::uniform({3, 4}), sample::integers({3}, 0, 4)}}},
      .examples = {{{}, {{{0, 0}}, tensor({1})}, {{0.5, -0.5}}}},
      .refuses = {{{}, {sample::uniform({2, 3}), tensor({0, 3})}, "label 3 at index 1 is outside 0 … 2"}},
  });
  return op;
}

Tensor dense_tangent(const NoArgs&, const Call& call, const Tensors& t) {
  const Tensor by_x =
      t[0].defined() ? sum(apply(dense_slope_op(), {call.input(0), call.input(1)}) * t[0], -1) : Tensor();
  if (!t[1].defined()) return by_x;
  const Tensor by_t = sum(strong_mul(t[1], log_softmax(call.input(0))), -1);
  return by_x.defined() ? by_x - by_t : neg(by_t);
}

const TypedOp<NoArgs>& dense_op() {
  static const TypedOp<NoArgs> op({
      .name = "softmax_cross_entropy",
      .doc = "-Σ targets log_softmax(logits) over the last axis, one number per row.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        check_dense(in);
        return {in.shape(0).without(-1), in.dtype(0)};
      },
      .forward = dense_forward,
      .rows = rows_of_both,
      .keeps = Keep::first | Keep::second,
      // dlogits = g (softmax Σt - t),  dt = -g log_softmax
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor rows = per_row(g);
        Tensors gradients(2);
        if (call.wants(0)) gradients[0] = apply(dense_slope_op(), {call.input(0), call.input(1)}) * rows;
        if (call.wants(1)) gradients[1] = strong_mul(neg(rows), log_softmax(call.input(0)));
        return gradients;
      },
      // dy = Σ (softmax Σt - t) dlogits - Σ dt log_softmax
      .tangent = dense_tangent,
      .samples = {{{}, {sample::uniform({3, 4}), sample::uniform({3, 4})}},
                  {{}, {sample::uniform({3}), sample::uniform({3})}},
                  {{}, {sample::uniform({2, 2, 3}), sample::positive({2, 2, 3})}}},
      .examples = {{{}, {{{0, 0}, {1000, -1000}}, {{1, 0}, {0, 1}}}, tensor({0.6931471805599453, 2000.0}, f64)},
                   {{}, {{{1, 2, 3}}, {{0, 0, 1}}}, tensor({0.4076059644443804}, f64)}},
      .refuses =
          {{{}, {sample::uniform({2, 3}), sample::uniform({2, 4})}, "need targets of the same shape, not (2, 4)"},
           {{}, {sample::uniform({2, 3}), sample::integers({2}, 0, 3)}, "belong in sparse_softmax_cross_entropy"},
           {{}, {sample::uniform({2, 3}), sample::integers({2, 3}, 0, 2)}, "but targets i64: cast one"},
           {{}, {sample::uniform({2, 0}), sample::uniform({2, 0})}, "at least one class"}},
  });
  return op;
}

const TypedOp<NoArgs>& sparse_op() {
  static const TypedOp<NoArgs> op({
      .name = "sparse_softmax_cross_entropy",
      .doc = "-log_softmax(logits) at the i64 label of each row, one number per row.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        check_sparse(in);
        return {in.shape(0).without(-1), in.dtype(0)};
      },
      .forward = sparse_forward,
      .keeps = Keep::first | Keep::second,
      // dlogits = g (softmax - one_hot)
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {apply(sparse_slope_op(), {call.input(0), call.input(1)}) * per_row(g), {}};
      },
      // dy = Σ (softmax - one_hot) dlogits
      .tangent = [](const NoArgs&, const Call& call, const Tensors& t) -> Tensor {
        return sum(apply(sparse_slope_op(), {call.input(0), call.input(1)}) * t[0], -1);
      },
      .samples = {{{}, {sample::uniform({3, 4}), sample::integers({3}, 0, 4)}},
                  {{}, {sample::uniform({2, 2, 3}), sample::integers({2, 2}, 0, 3)}}},
      .examples = {{{}, {{{0, 0}, {1000, -1000}}, tensor({0, 1})}, tensor({0.6931471805599453, 2000.0}, f64)},
                   {{}, {{{1, 2, 3}}, tensor({2})}, tensor({0.4076059644443804}, f64)}},
      .refuses = {{{}, {sample::uniform({2, 3}), tensor({0, 3})}, "label 3 at index 1 is outside 0 … 2"},
                  {{}, {sample::uniform({2, 3}), tensor({-1, 0})}, "label -1 at index 0 is outside 0 … 2"},
                  {{},
                   {sample::uniform({2, 3}), sample::uniform({2})},
                   "one-hot targets belong in softmax_cross_entropy"},
                  {{}, {sample::uniform({2, 3}), sample::integers({2, 3}, 0, 2)}, "one-hot targets belong"},
                  {{}, {sample::uniform({2, 3}), sample::integers({2, 1}, 0, 3)}, "need labels of shape (2,)"}},
  });
  return op;
}

void sigmoid_run(const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
  kernels::by_vectors<2>(in, out, n, dtype, [](const auto& x, const auto& t) {
    using V = std::decay_t<decltype(x)>;
    return ((x < 0 ? V{} : x) - x * t) + kernels::log1p_of(kernels::exp_of_minus(x));
  });
}

const TypedOp<NoArgs>& sigmoid_cross_entropy_op() {
  static const TypedOp<NoArgs> op({
      .name = "sigmoid_cross_entropy",
      .doc = "max(x, 0) - x t + log(1 + e^-|x|): binary cross-entropy from logits x with targets t.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        check_dense(in);
        return in[0];
      },
      .run = sigmoid_run,
      .keeps = Keep::first | Keep::second,
      // dx = g (sigmoid(x) - t),  dt = -g x
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        Tensors gradients(2);
        if (call.wants(0)) gradients[0] = strong_mul(g, sigmoid(call.input(0)) - call.input(1));
        if (call.wants(1)) gradients[1] = strong_mul(neg(g), call.input(0));
        return gradients;
      },
      .samples = {{{}, {sample::away_from({3, 4}, {0}), sample::uniform({3, 4})}}},
      .examples = {{{}, {{0, 1000, -1000, 1000}, {1, 0, 1, 1}}, {0.6931471805599453, 1000, 1000, 0}}},
      .refuses = {{{}, {sample::uniform({3, 1}), sample::uniform({3})}, "need targets of the same shape, not (3,)"},
                  {{}, {sample::uniform({3}), sample::integers({3}, 0, 2)}, "but targets i64: cast one"}},
  });
  return op;
}

}  // namespace

Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& targets) {
  return apply(dense_op(), {logits, targets});
}
Tensor sparse_softmax_cross_entropy(const Tensor& logits, const Tensor& labels) {
  return apply(sparse_op(), {logits, labels});
}
Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& targets) {
  return apply(sigmoid_cross_entropy_op(), {logits, targets});
}

namespace classes {

std::vector<const Op*> cross_entropy_ops() {
  return {&dense_op(), &sparse_op(), &sigmoid_cross_entropy_op(), &dense_slope_op(), &sparse_slope_op()};
}

}  // namespace classes
}  // namespace twopass
