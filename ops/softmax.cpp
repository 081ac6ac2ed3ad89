#include <twopass/ops/softmax.h>

#include <fmt/format.h>

#include <twopass/ops/cross_entropy.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/named.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping_kernels.h>
#include <twopass/ops/softmax_kernels.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

struct SoftmaxArgs {
  std::int64_t axis = -1;
  static constexpr auto fields = std::tuple{field("axis", &SoftmaxArgs::axis)};
};

Spec softmax_rule(const SoftmaxArgs& args, const Specs& in) {
  if (in.shape(0).rank() == 0) throw Error("a scalar has no axis to be shared out along");
  in.shape(0).axis(args.axis);
  return same_floating(args, in);
}

unsigned softmax_rows_apart(const SoftmaxArgs& args, const Specs& in) {
  return in.shape(0).axis(args.axis) > 0 ? 1 : 0;
}

template <typename T>
void log_softmax_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  classes::shifted_exponentials(x, y, rows, n);
  for (std::int64_t row = 0; row < rows; ++row) {
    const T most = classes::largest(x + row * n, n), scale = std::log(classes::total(y + row * n, n));
    // the shift first: log(sum) would drown in a large one
    for (std::int64_t k = row * n; k < (row + 1) * n; ++k) y[k] = x[k] - most - scale;
  }
}

// Along an axis that others follow: columns of `size` elements, `inner` apart, a strip of them at a time.
template <bool kLog, typename T>
void strip_of_columns(const T* x, T* y, std::int64_t size, std::int64_t inner, std::int64_t width) {
  T most[reduction::kStrip], sums[reduction::kStrip];
  std::copy_n(x, width, most);
  for (std::int64_t row = 1; row < size; ++row)
    for (std::int64_t k = 0; k < width; ++k) most[k] = x[row * inner + k] > most[k] ? x[row * inner + k] : most[k];
  for (std::int64_t row = 0; row < size; ++row) {
    T* const to = y + row * inner;
    for (std::int64_t k = 0; k < width; ++k) to[k] = x[row * inner + k] - most[k];
    classes::exponentials(to, width);
  }
  reduction::reduce_rows(reduction::Adding<T>(), y, size, inner, width, 0, sums);
  if (kLog)
    for (std::int64_t k = 0; k < width; ++k) sums[k] = std::log(sums[k]);
  for (std::int64_t row = 0; row < size; ++row)
    for (std::int64_t k = 0; k < width; ++k) {
      T& to = y[row * inner + k];
      to = kLog ? x[row * inner + k] - most[k] - sums[k] : to / sums[k];
    }
}

template <bool kLog>
void softmax_forward(const SoftmaxArgs& args, Inputs in, Output out) {
  const auto along = shaping::around(out.shape(), out.shape().axis(args.axis));
  if (out.elements() == 0) return;
  dispatch_floating(out.dtype, [&]<typename T>() {
    const T* const x = in[0].data<T>();
    T* const y = out.data<T>();
    const std::int64_t n = along.size, inner = along.inner;
    if (inner == 1)
      return classes::for_blocks(along.outer, n, [&](std::int64_t row, std::int64_t rows) {
        if (kLog)
          log_softmax_rows(x + row * n, y + row * n, rows, n);
        else
          classes::softmax_rows(x + row * n, y + row * n, rows, n);
      });
    const std::int64_t width = std::min(inner, reduction::kStrip), strips = (inner + width - 1) / width;
    reduction::for_units(along.outer * strips, n * width, [&](std::int64_t unit) {
      const std::int64_t column = unit % strips * width, at = unit / strips * n * inner + column;
      strip_of_columns<kLog>(x + at, y + at, n, inner, std::min(width, inner - column));
    });
  });
}

Tensor softmax_gradient(const Tensor& g, const Tensor& y, const SoftmaxArgs& args);

void softmax_gradient_forward(const SoftmaxArgs& args, Inputs in, Output out) {
  const auto along = shaping::around(out.shape(), out.shape().axis(args.axis));
  if (out.elements() == 0) return;
  dispatch_floating(out.dtype, [&]<typename T>() {
    const std::int64_t n = along.size, inner = along.inner;
    if (inner == 1)
      return classes::for_blocks(along.outer, n, [&](std::int64_t row, std::int64_t rows) {
        for (std::int64_t end = row + rows; row < end; ++row) {
          const T *const g = in[0].data<T>() + row * n, *const y = in[1].data<T>() + row * n;
          T* const to = out.data<T>() + row * n;
          const T mean = classes::dot(g, y, n);
          for (std::int64_t k = 0; k < n; ++k) to[k] = y[k] * (g[k] - mean);
        }
      });
    reduction::for_units(along.outer, n * inner, [&](std::int64_t unit) {
      const T *const g = in[0].data<T>() + unit * n * inner, *const y = in[1].data<T>() + unit * n * inner;
      T* const to = out.data<T>() + unit * n * inner;
      for (std::int64_t k = 0; k < n * inner; ++k) to[k] = g[k] * y[k];
      T means[reduction::kStrip];
      for (std::int64_t column = 0; column < inner; column += reduction::kStrip) {
        const std::int64_t width = std::min(reduction::kStrip, inner - column);
        reduction::reduce_rows(reduction::Adding<T>(), to + column, n, inner, width, 0, means);
        for (std::int64_t row = 0; row < n; ++row)
          for (std::int64_t k = 0; k < width; ++k) {
            const std::int64_t at = row * inner + column + k;
            to[at] = y[at] * (g[at] - means[k]);
          }
      }
    });
  });
}

Tensor softmax_gradient_tangent(const SoftmaxArgs& args, const Call& call, const Tensors& t) {
  const Tensor g = call.input(0), y = call.input(1);
  const auto along = [&](const Tensor& x) { return sum(x, static_cast<int>(args.axis), keep_axis); };
  const Tensor by_g = t[0].defined() ? softmax_gradient(t[0], y, args) : Tensor();
  if (!t[1].defined()) return by_g;
  const Tensor by_y = t[1] * (g - along(g * y)) - y * along(g * t[1]);
  return by_g.defined() ? by_g + by_y : by_y;
}

const TypedOp<SoftmaxArgs>& softmax_gradient_op() {
  static const TypedOp<SoftmaxArgs> op({
      .name = "softmax_gradient",
      .doc = "y (g - Σ g y) along an axis: what passes back through a softmax whose output is y.",
      .shape = [](const SoftmaxArgs& args, const Specs& in) -> Spec {
        if (in.dtype(0) != in.dtype(1) || !(in.shape(0) == in.shape(1)))
          throw Error(fmt::format("g is {} {} but y is {} {}", name_of(in.dtype(0)), in.shape(0).text(),
                                  name_of(in.dtype(1)), in.shape(1).text()));
        return softmax_rule(args, in);
      },
      .forward = softmax_gradient_forward,
      .rows = [](const SoftmaxArgs& args, const Specs& in) -> unsigned { return softmax_rows_apart(args, in) ? 3 : 0; },
      .keeps = Keep::first | Keep::second,
      // f = y (g - s), s = Σ g y, with its own gradient h:  dg = y (h - Σ h y), dy = h (g - s) - g Σ h y
      .gradient = [](const SoftmaxArgs& args, const Call& call, const Tensor& h) -> Tensors {
        const Tensor g = call.input(0), y = call.input(1);
        const auto along = [&](const Tensor& x) { return sum(x, static_cast<int>(args.axis), keep_axis); };
        Tensors gradients(2);
        if (call.wants(0)) gradients[0] = softmax_gradient(h, y, args);
        if (call.wants(1)) gradients[1] = h * (g - along(g * y)) - g * along(h * y);
        return gradients;
      },
      // df = y (dg - Σ dg y) + dy (g - s) - y Σ g dy
      .tangent = softmax_gradient_tangent,
      .stacked = [](const SoftmaxArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return apply(softmax_gradient_op(), SoftmaxArgs{behind_first(args.axis)}, all_stacked(in, which));
      },
      .samples = {{{}, {sample::uniform({3, 4}), sample::positive({3, 4})}},
                  {{0}, {sample::uniform({3, 2}), sample::positive({3, 2})}},
                  {{1}, {sample::uniform({2, 3, 2}), sample::positive({2, 3, 2})}}},
      .examples = {{{}, {{{1, 0}}, {{0.25, 0.75}}}, {{0.1875, -0.1875}}},
                   {{0}, {tensor({{1.0}, {0.0}}, f64), tensor({{0.5}, {0.5}}, f64)}, tensor({{0.25}, {-0.25}}, f64)}},
      .refuses = {{{}, {sample::uniform({2, 3}), sample::uniform({3})}, "g is f64 (2, 3) but y is f64 (3,)"}},
  });
  return op;
}

Tensor softmax_gradient(const Tensor& g, const Tensor& y, const SoftmaxArgs& args) {
  return apply(softmax_gradient_op(), args, {g, y});
}

const TypedOp<SoftmaxArgs>& softmax_op() {
  static const TypedOp<SoftmaxArgs> op({
      .name = "softmax",
      .doc = "e^x / Σ e^x along an axis, shifted by the maximum; where all are -inf, NaN.",
      .shape = softmax_rule,
      .forward = softmax_forward<false>,
      .rows = softmax_rows_apart,
      .keeps = Keep::output,
      // dx = y (g - Σ g y)
      .gradient = [](const SoftmaxArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {softmax_gradient(g, call.output(), args)};
      },
      // dy = y (dx - Σ dx y): the Jacobian is symmetric
      .tangent = [](const SoftmaxArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return softmax_gradient(t[0], call.output(), args);
      },
      .samples = {{{}, {sample::uniform({3, 4})}},
                  {{0}, {sample::uniform({3, 2})}},
                  {{1}, {sample::uniform({2, 3, 2})}}},
      .examples = {{{}, {{{0, 0, 0, 0}}}, {{0.25, 0.25, 0.25, 0.25}}},
                   {{}, {{{1, 2, 3}}}, {{0.09003057317038046, 0.24472847105479767, 0.6652409557748219}}},
                   {{0}, {tensor({{1000.0}, {1000.0}}, f64)}, tensor({{0.5}, {0.5}}, f64)}},
      .refuses = {{{2}, {sample::uniform({2, 3})}, "axis 2 is out of range for rank 2"},
                  {{}, {sample::uniform({})}, "a scalar has no axis"},
                  {{}, {sample::integers({3}, 0, 5)}, "only f32 and f64 have this, not i64"}},
  });
  return op;
}

const TypedOp<SoftmaxArgs>& log_softmax_op() {
  static const TypedOp<SoftmaxArgs> op({
      .name = "log_softmax",
      .doc = "x - logsumexp(x) along an axis; where all are -inf, NaN.",
      .shape = softmax_rule,
      .forward = softmax_forward<true>,
      .rows = softmax_rows_apart,
      .keeps = Keep::output,
      // dx = g - e^y Σ g
      .gradient = [](const SoftmaxArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {g - exp(call.output()) * sum(g, static_cast<int>(args.axis), keep_axis)};
      },
      // dy = dx - Σ e^y dx
      .tangent = [](const SoftmaxArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return t[0] - sum(exp(call.output()) * t[0], static_cast<int>(args.axis), keep_axis);
      },
      .samples = {{{}, {sample::uniform({3, 4})}},
                  {{0}, {sample::uniform({3, 2})}},
                  {{1}, {sample::uniform({2, 3, 2})}}},
      .examples = {{{}, {{{1, 2, 3}}}, {{-2.4076059644443806, -1.4076059644443804, -0.4076059644443804}}},
                   {{}, {{{0, 0}}}, {{-0.6931471805599453, -0.6931471805599453}}}},
      .refuses = {{{-3}, {sample::uniform({2, 3})}, "axis -3 is out of range for rank 2"},
                  {{}, {sample::truths({3})}, "only f32 and f64 have this, not bool"}},
  });
  return op;
}

}  // namespace

Tensor softmax(const Tensor& x, int axis) { return apply(softmax_op(), SoftmaxArgs{axis}, {x}); }
Tensor softmin(const Tensor& x, int axis) {
  return named("softmin", {&x}, [&] { return softmax(neg(x), axis); });
}
Tensor log_softmax(const Tensor& x, int axis) { return apply(log_softmax_op(), SoftmaxArgs{axis}, {x}); }

std::vector<const Op*> softmax_ops() {
  std::vector<const Op*> ops{&softmax_op(), &softmax_gradient_op(), &log_softmax_op()};
  for (const auto& more : {classes::cross_entropy_ops(), classes::ctc_ops()})
    ops.insert(ops.end(), more.begin(), more.end());
  return ops;
}

}  // namespace twopass
