#include <twopass/ops/moments.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/reduction_kernels.h>

namespace twopass {
namespace {

using namespace reduction;

struct VarArgs {
  std::vector<std::int64_t> axes{};
  bool keep = false;
  std::int64_t correction = 0;
  static constexpr auto fields = std::tuple{field("axes", &VarArgs::axes), field("keep", &VarArgs::keep),
                                            field("correction", &VarArgs::correction)};
};

void check_floating(DType dtype) {
  if (!is_floating(dtype)) throw Error(fmt::format("only f32 and f64 have this, not {}: cast first", name_of(dtype)));
}

Spec mean_rule(const ReduceArgs& args, const Specs& in) {
  check_floating(in.dtype(0));
  const Shape& shape = in.shape(0);
  const auto reduced = reduced_axes(shape, args.axes);
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (reduced[static_cast<std::size_t>(axis)] && shape[axis] == 0)
      throw Error(fmt::format("axis {} has size 0: nothing has no mean", axis));
  return {reduced_shape(shape, args.axes, args.keep), in.dtype(0)};
}

const TypedOp<ReduceArgs>& mean_op() {
  static const TypedOp<ReduceArgs> op({
      .name = "mean",
      .doc = "The mean over axes (all where none is named); refused over nothing and of integers.",
      .shape = mean_rule,
      .forward =
          [](const ReduceArgs& args, Inputs in, Output out) {
            if (out.elements() == 0) return;
            const auto count = in[0].elements() / out.elements();
            dispatch_floating(out.dtype, [&]<typename T>() {
              const T n = static_cast<T>(count);
              add_up<T, T>(in[0], args.axes, out.data<T>(), [n](T total, std::int64_t) { return total / n; });
            });
          },
      .lanes =
          [](const ReduceArgs& args, const Specs& in, Lanes& l, std::span<const Lane> x) {
            if (!whole_rows(in.shape(0), args.axes)) return Lane();
            return l.divide(l.sum(x[0]), l.constant(static_cast<double>(reduced_count(in.shape(0), args.axes))));
          },
      .rows = rows_apart<ReduceArgs>,
      .scratch = [](const ReduceArgs& args, const Specs& in) { return added_bytes(in[0], args.axes); },
      .in_blocks = [](const ReduceArgs& args, const Specs& in,
                      const ChannelBlocks& wanted) { return sums_in_blocks(mean_op(), args, in, wanted); },
      // y = Σ x / n:  dx = g / n, broadcast
      .gradient = [](const ReduceArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const auto n = static_cast<double>(reduced_count(call.shape(0), args.axes));
        return {spread(g / n, call.shape(0), args.axes)};
      },
      .linear = Linear::jointly,
      .stacked = [](const ReduceArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        auto [behind, x] = behind_first(args, in[0]);
        return apply(mean_op(), std::move(behind), {x});
      },
      .samples = {{{}, {sample::uniform({2, 3})}}, {{{0}, true}, {sample::uniform({3, 4})}}},
      .examples = {{{{0}, false}, {tensor({{1.0, 2.0}, {3.0, 6.0}}, f64)}, tensor({2.0, 4.0}, f64)}},
      .refuses = {{{}, {sample::uniform({0})}, "nothing has no mean"}, {{}, {sample::integers({3}, 0, 5)}, "not i64"}},
  });
  return op;
}

Spec var_rule(const VarArgs& args, const Specs& in) {
  check_floating(in.dtype(0));
  const Shape& shape = in.shape(0);
  const auto reduced = reduced_axes(shape, args.axes);
  bool open = false;
  for (int axis = 0; axis < shape.rank(); ++axis)
    open = open || (reduced[static_cast<std::size_t>(axis)] && shape[axis] == kOpen);
  if (!open) {
    const std::int64_t count = reduced_count(shape, args.axes);
    if (count - args.correction <= 0)
      throw Error(fmt::format("{} elements with a correction of {} leave {} to divide by", count, args.correction,
                              count - args.correction));
  }
  return {reduced_shape(shape, args.axes, args.keep), in.dtype(0)};
}

// Two passes, the mean corrected in between by the mean distance to it, so that a constant has variance 0 exactly.
template <typename Done>
void squared_distances(const VarArgs& args, const Inputs& in, const Output& out, const Done& done) {
  const Fold x = fold(in[0], args.axes);
  const auto n = static_cast<double>(x.count), divisor = static_cast<double>(x.count - args.correction);
  if (divisor <= 0)
    throw Error(
        fmt::format("{} elements with a correction of {} leave {} to divide by", x.count, args.correction, divisor));
  dispatch_floating(out.dtype, [&]<typename T>() {
    const auto outputs = static_cast<std::size_t>(x.outer * x.inner);
    const Buffer memory(2 * outputs * sizeof(double));
    double* const first = reinterpret_cast<double*>(memory.data());
    double* const means = first + outputs;
    reduce<double, T>(Adding<double>(), x, first, [n](double total, std::int64_t) { return total / n; });
    reduce<double, T>(Distances<T, 1>{{}, first}, x, means,
                      [n, first](double total, std::int64_t to) { return first[to] + total / n; });
    reduce<double, T>(Distances<T, 2>{{}, means}, x, out.data<T>(),
                      [&](double total, std::int64_t) { return static_cast<T>(done(total / divisor)); });
  });
}

double divisor_of(const VarArgs& args, const Call& call) {
  return static_cast<double>(reduced_count(call.shape(0), args.axes) - args.correction);
}

// x less its mean.
Tensor centered(const VarArgs& args, const Call& call) {
  const Tensor x = call.input(0);
  return sub(x, mean(x, args.axes, keep_axis));
}

KeepAxis keeping(const VarArgs& args) { return args.keep ? keep_axis : KeepAxis::no; }

const TypedOp<VarArgs>& var_op() {
  static const TypedOp<VarArgs> op({
      .name = "var",
      .doc = "The variance over axes: squared distances to the mean, added and divided by n - correction.",
      .shape = var_rule,
      .forward = [](const VarArgs& args, Inputs in,
                    Output out) { squared_distances(args, in, out, [](double variance) { return variance; }); },
      .rows = rows_apart<VarArgs>,
      .scratch = folded_scratch<VarArgs, 2>,
      .keeps = Keep::first,
      // y = Σ (x - m)² / (n - c):  dx = 2 g (x - m) / (n - c)
      .gradient = [](const VarArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const Tensor scaled = kept(g, call.shape(0), args.axes) * (2 / divisor_of(args, call));
        return {mul(scaled, centered(args, call))};
      },
      // dy = 2 Σ (x - m) dx / (n - c)
      .tangent = [](const VarArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return sum(centered(args, call) * t[0], args.axes, keeping(args)) * (2 / divisor_of(args, call));
      },
      .samples = {{{}, {sample::uniform({4})}},
                  {{{1}, true, 1}, {sample::uniform({2, 3})}},
                  {{{0, 2}, false, 0}, {sample::uniform({2, 2, 3})}}},
      .examples = {{{}, {tensor({1.0, 2.0, 3.0, 4.0}, f64)}, tensor(1.25, f64)},
                   {{{}, false, 1}, {tensor({1.0, 2.0, 3.0}, f64)}, tensor(1.0, f64)}},
      .refuses = {{{{}, false, 1}, {sample::uniform({1})}, "1 elements with a correction of 1 leave 0 to divide by"}},
  });
  return op;
}

const TypedOp<VarArgs>& std_op() {
  static const TypedOp<VarArgs> op({
      .name = "std",
      .doc = "The root of the variance; the gradient of a constant is 0.",
      .shape = var_rule,
      .forward =
          [](const VarArgs& args, Inputs in, Output out) {
            squared_distances(args, in, out, [](double variance) { return std::sqrt(variance); });
          },
      .rows = rows_apart<VarArgs>,
      .scratch = folded_scratch<VarArgs, 2>,
      .keeps = Keep::first | Keep::output,
      // y = sqrt(var):  dx = g (x - m) / ((n - c) y), 0 where y is 0
      .gradient = [](const VarArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const Tensor y = call.output();
        const Tensor flat = equal(y, scalar_like(0, y));
        const Tensor scaled = where(flat, scalar_like(0, g), div(g, where(flat, scalar_like(1, y), y)));
        const Tensor each = kept(scaled, call.shape(0), args.axes) / divisor_of(args, call);
        return {mul(each, centered(args, call))};
      },
      // dy = Σ (x - m) dx / ((n - c) y), 0 where y is 0
      .tangent = [](const VarArgs& args, const Call& call, const Tensors& t) -> Tensor {
        const Tensor y = call.output(), total = sum(centered(args, call) * t[0], args.axes, keeping(args));
        const Tensor none = scalar_like(0, y), flat = equal(y, none);
        return where(flat, none, total / (where(flat, scalar_like(1, y), y) * divisor_of(args, call)));
      },
      .samples = {{{}, {sample::distinct({4})}}, {{{1}, true, 1}, {sample::distinct({2, 3})}}},
      .examples = {{{{}, false, 1}, {tensor({2.0, 4.0, 6.0}, f64)}, tensor(2.0, f64)}},
      .refuses = {{{{}, false, 0}, {sample::uniform({0})}, "0 elements with a correction of 0 leave 0 to divide by"}},
  });
  return op;
}

template <typename T>
struct Largest : Adding<T> {
  T zero() const { return -std::numeric_limits<T>::infinity(); }
  T join(T a, T b) const { return a > b || a != a ? a : b; }
};

template <typename T>
struct Exponentials : Adding<T> {
  const T* shifts;
  T load(T x, std::int64_t to) const { return std::exp(x - shifts[to]); }
};

// e^(x - m) / Σ e^(x - m) with m the maximum (0 where that is infinite); 0 where the sum is 0
Tensor shares(const ReduceArgs& args, const Call& call) {
  const Tensor x = call.input(0);
  const Tensor most = stop_gradient(max(x, args.axes, keep_axis));
  const Tensor finite = less(abs(most), scalar_like(std::numeric_limits<double>::infinity(), most));
  const Tensor powers = exp(sub(x, where(finite, most, scalar_like(0, most))));
  const Tensor total = sum(powers, args.axes, keep_axis);
  return div(powers, where(equal(total, scalar_like(0, total)), scalar_like(1, total), total));
}

const TypedOp<ReduceArgs>& logsumexp_op() {
  static const TypedOp<ReduceArgs> op({
      .name = "logsumexp",
      .doc = "log(sum(exp(x))) over axes, shifted by the maximum; -inf over nothing.",
      .shape = [](const ReduceArgs& args, const Specs& in) -> Spec {
        check_floating(in.dtype(0));
        return {reduced_shape(in.shape(0), args.axes, args.keep), in.dtype(0)};
      },
      .forward =
          [](const ReduceArgs& args, Inputs in, Output out) {
            const Fold x = fold(in[0], args.axes);
            dispatch_floating(out.dtype, [&]<typename T>() {
              const Buffer memory(static_cast<std::size_t>(x.outer * x.inner) * sizeof(T));
              T* const shifts = reinterpret_cast<T*>(memory.data());
              reduce<T, T>(Largest<T>(), x, shifts,
                           [](T most, std::int64_t) { return std::isfinite(most) ? most : T(0); });
              reduce<T, T>(Exponentials<T>{{}, shifts}, x, out.data<T>(),
                           [shifts](T total, std::int64_t to) { return shifts[to] + std::log(total); });
            });
          },
      .rows = rows_apart<ReduceArgs>,
      .scratch = folded_scratch<ReduceArgs, 0, 1>,
      .keeps = Keep::first,
      // dx = g e^(x - m) / Σ e^(x - m)
      .gradient = [](const ReduceArgs& args, const Call& call, const Tensor& g) -> Tensors {
        if (!call.shape(0).open() && call.shape(0).elements() == 0) return {zeros(call.shape(0), call.dtype(0))};
        return {mul(kept(g, call.shape(0), args.axes), shares(args, call))};
      },
      // dy = Σ dx e^(x - m) / Σ e^(x - m)
      .tangent = [](const ReduceArgs& args, const Call& call, const Tensors& t) -> Tensor {
        if (!call.shape(0).open() && call.shape(0).elements() == 0) return {};
        return sum(t[0] * shares(args, call), args.axes, args.keep ? keep_axis : KeepAxis::no);
      },
      .samples = {{{}, {sample::uniform({4})}},
                  {{{0}, true}, {sample::uniform({3, 2})}},
                  {{{0, 2}, false}, {sample::uniform({2, 2, 2})}},
                  {{}, {sample::uniform({1})}}},
      .examples = {{{}, {tensor({0.0, 0.0}, f64)}, tensor(0.6931471805599453, f64)},
                   {{}, {tensor({1000.0, 1000.0}, f64)}, tensor(1000.6931471805599453, f64)}},
      .refuses = {{{{1}, false}, {sample::uniform({2})}, "axis 1 is out of range for rank 1"},
                  {{}, {sample::integers({3}, 0, 5)}, "not i64"}},
  });
  return op;
}

}  // namespace

Tensor mean(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return apply(mean_op(), ReduceArgs{axes.list(), keep == keep_axis}, {x});
}
Tensor logsumexp(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return apply(logsumexp_op(), ReduceArgs{axes.list(), keep == keep_axis}, {x});
}
Tensor var(const Tensor& x, const Axes& axes, KeepAxis keep, std::int64_t correction) {
  return apply(var_op(), VarArgs{axes.list(), keep == keep_axis, correction}, {x});
}
Tensor std(const Tensor& x, const Axes& axes, KeepAxis keep, std::int64_t correction) {
  return apply(std_op(), VarArgs{axes.list(), keep == keep_axis, correction}, {x});
}

namespace reduction {

std::vector<const Op*> moment_ops() { return {&mean_op(), &var_op(), &std_op(), &logsumexp_op()}; }

}  // namespace reduction
}  // namespace twopass
