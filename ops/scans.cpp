#include <twopass/ops/scans.h>

#include <algorithm>
#include <type_traits>

#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/rules.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/shaping_kernels.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

struct ScanArgs {
  std::int64_t axis = -1;
  bool backward = false;
  static constexpr auto fields = std::tuple{field("axis", &ScanArgs::axis), field("backward", &ScanArgs::backward)};
};

Spec scan_rule(const ScanArgs& args, const Specs& in) {
  if (in.shape(0).rank() == 0) throw Error("a scalar has no axis to run along");
  in.shape(0).axis(args.axis);
  return rules::number(args, in);
}

bool scan_repeats(const ScanArgs& args, const Specs& in, std::size_t) {
  return in.shape(0)[static_cast<int>(args.axis)] != 1;
}

unsigned scan_rows(const ScanArgs& args, const Specs& in) { return in.shape(0).axis(args.axis) > 0 ? 1 : 0; }

// Floating numbers are summed in f64; i64 arithmetic wraps around.
template <typename T>
using Running = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;

// A contiguous line.
template <typename T, typename Join>
void scan_line(const T* x, T* y, std::int64_t n, bool backward, Running<T> running, const Join& join) {
  const std::int64_t first = backward ? n - 1 : 0, step = backward ? -1 : 1;
  for (std::int64_t k = 0, at = first; k < n; ++k, at += step) {
    running = join(running, static_cast<Running<T>>(x[at]));
    y[at] = static_cast<T>(running);
  }
}

// Along [outer, size, inner], a strip of columns at a time.
template <typename T, typename Join>
void scan(const T* x, T* y, const shaping::Around& along, bool backward, Running<T> start, const Join& join) {
  const std::int64_t width = std::min(along.inner, reduction::kStrip);
  if (width == 0) return;
  const std::int64_t strips = (along.inner + width - 1) / width;
  reduction::for_units(along.outer * strips, along.size * width, [&](std::int64_t unit) {
    const std::int64_t column = unit % strips * width, wide = std::min(width, along.inner - column);
    if (along.inner == 1)
      return scan_line(x + unit * along.size, y + unit * along.size, along.size, backward, start, join);
    Running<T> running[reduction::kStrip];
    std::fill_n(running, wide, start);
    for (std::int64_t step = 0; step < along.size; ++step) {
      const std::int64_t row = backward ? along.size - 1 - step : step;
      const std::int64_t at = (unit / strips * along.size + row) * along.inner + column;
      for (std::int64_t k = 0; k < wide; ++k) {
        running[k] = join(running[k], static_cast<Running<T>>(x[at + k]));
        y[at + k] = static_cast<T>(running[k]);
      }
    }
  });
}

template <bool kProduct>
void scan_forward(const ScanArgs& args, Inputs in, Output out) {
  const auto along = shaping::around(out.shape(), out.shape().axis(args.axis));
  dispatch(out.dtype, [&]<typename T>() {
    if constexpr (!std::is_same_v<T, bool>)
      scan(in[0].data<T>(), out.data<T>(), along, args.backward, kProduct ? Running<T>(1) : Running<T>(0),
           [](Running<T> a, Running<T> b) { return kProduct ? a * b : a + b; });
  });
}

// x moved by `by` places along the axis towards its end (or its beginning), with `value` in the places left.
Tensor moved(const Tensor& x, int axis, std::int64_t by, bool to_end, double value) {
  std::vector<std::pair<std::int64_t, std::int64_t>> widths(static_cast<std::size_t>(x.rank()));
  auto& [before, after] = widths[static_cast<std::size_t>(axis)];
  (to_end ? before : after) = by;
  const std::int64_t n = x.shape()[axis];
  return pad(to_end ? slice(x, axis, 0, n - by) : slice(x, axis, by, n), widths, value);
}

// dx_i = Π_{k<i} x_k S_i with S_i = g_i + x_{i+1} S_{i+1}, solved without division by doubling steps: after each,
// S_i = sums_i + factors_i S_{i+by}. Backward products see before and behind exchanged.
Tensor cumprod_gradient(const ScanArgs& args, const Tensor& x, const Tensor& g) {
  if (!x.shape().open() && x.elements() == 0) return zeros_like(x);
  const int axis = x.shape().axis(args.axis);
  const std::int64_t n = x.shape()[axis];
  const bool to_end = !args.backward;
  const Tensor before = cumprod(moved(x, axis, 1, to_end, 1), axis, args.backward ? Scan::backward : Scan::forward);
  Tensor factors = moved(x, axis, 1, !to_end, 1), sums = g;
  for (std::int64_t by = 1; by < n; by *= 2) {
    sums = sums + strong_mul(moved(sums, axis, by, !to_end, 0), factors);
    factors = factors * moved(factors, axis, by, !to_end, 1);
  }
  return strong_mul(sums, before);
}

const TypedOp<ScanArgs>& cumsum_op() {
  static const TypedOp<ScanArgs> op({
      .name = "cumsum",
      .doc = "Each element and all before it (after it, backward) along an axis, added.",
      .shape = scan_rule,
      .forward = scan_forward<false>,
      .repeats = scan_repeats,
      .rows = scan_rows,
      // y_i = Σ_{j<=i} x_j:  dx_j = Σ_{i>=j} g_i
      .gradient = [](const ScanArgs& args, const Call&, const Tensor& g) -> Tensors {
        return {cumsum(g, static_cast<int>(args.axis), args.backward ? Scan::forward : Scan::backward)};
      },
      .linear = Linear::jointly,
      .stacked = [](const ScanArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        ScanArgs behind = args;
        behind.axis = behind_first(args.axis);
        return apply(cumsum_op(), behind, {in[0]});
      },
      .samples = {{{}, {sample::uniform({2, 5})}}, {{0, true}, {sample::uniform({3, 2})}}},
      .examples = {{{}, {{{1, 2, 3}, {4, 5, 6}}}, {{1, 3, 6}, {4, 9, 15}}},
                   {{0, true}, {{{1, 2}, {3, 4}}}, {{4, 6}, {3, 4}}},
                   {{}, {tensor({1, -2, 3})}, tensor({1, -1, 2})}},
      .refuses = {{{1, false}, {sample::uniform({2})}, "axis 1 is out of range for rank 1"},
                  {{}, {sample::uniform({})}, "a scalar has no axis"},
                  {{}, {sample::truths({2})}, "not bool"}},
  });
  return op;
}

const TypedOp<ScanArgs>& cumprod_op() {
  static const TypedOp<ScanArgs> op({
      .name = "cumprod",
      .doc = "Each element and all before it (after it, backward) along an axis, multiplied.",
      .shape = scan_rule,
      .forward = scan_forward<true>,
      .repeats = scan_repeats,
      .rows = scan_rows,
      .keeps = Keep::first,
      // y_i = Π_{j<=i} x_j:  dx_j = Σ_{i>=j} g_i Π_{k<=i, k≠j} x_k
      .gradient = [](const ScanArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {cumprod_gradient(args, call.input(0), g)};
      },
      .samples = {{{}, {sample::uniform({2, 5})}},
                  {{0, true}, {sample::uniform({3, 2})}},
                  {{}, {tensor({2.0, 0.0, 3.0, 0.0, 1.5}, f64)}},
                  {{}, {sample::uniform({1})}}},
      .examples = {{{}, {{{1, 2, 3}, {4, 0, 6}}}, {{1, 2, 6}, {4, 0, 0}}},
                   {{0, true}, {{{1, 2}, {3, 4}}}, {{3, 8}, {3, 4}}}},
      .refuses = {{{-2, false}, {sample::uniform({2})}, "axis -2 is out of range for rank 1"},
                  {{}, {sample::truths({2})}, "not bool"}},
  });
  return op;
}

}  // namespace

Tensor cumsum(const Tensor& x, int axis, Scan direction) {
  return apply(cumsum_op(), ScanArgs{axis, direction == Scan::backward}, {x});
}
Tensor cumprod(const Tensor& x, int axis, Scan direction) {
  return apply(cumprod_op(), ScanArgs{axis, direction == Scan::backward}, {x});
}

std::vector<const Op*> scan_ops() { return {&cumsum_op(), &cumprod_op()}; }

}  // namespace twopass
