#include <twopass/ops/extremes.h>

#include <fmt/format.h>

#include <limits>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/shaping_kernels.h>

namespace twopass {
namespace {

using namespace reduction;

struct PlaceArgs {
  std::int64_t axis = -1;
  bool keep = false;
  static constexpr auto fields = std::tuple{field("axis", &PlaceArgs::axis), field("keep", &PlaceArgs::keep)};
};

void refuse_bool(DType dtype) {
  if (dtype == boolean) throw Error("bool elements have no order: cast first");
}

Spec extreme_rule(const ReduceArgs& args, const Specs& in) {
  refuse_bool(in.dtype(0));
  const Shape& shape = in.shape(0);
  const auto reduced = reduced_axes(shape, args.axes);
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (reduced[static_cast<std::size_t>(axis)] && shape[axis] == 0)
      throw Error(fmt::format("axis {} has size 0: nothing has no extreme", axis));
  return {reduced_shape(shape, args.axes, args.keep), in.dtype(0)};
}

// NaN wins over everything: a != a is true of NaN alone.
template <typename T, bool kLargest>
struct Extreme : Adding<T> {
  T zero() const {
    using Limits = std::numeric_limits<T>;
    if constexpr (Limits::has_infinity)
      return kLargest ? -Limits::infinity() : Limits::infinity();
    else
      return kLargest ? Limits::min() : Limits::max();
  }
  T join(T a, T b) const { return (kLargest ? a > b : a < b) || a != a ? a : b; }
};

template <bool kLargest>
void extreme_forward(const ReduceArgs& args, Inputs in, Output out) {
  const Fold x = fold(in[0], args.axes);
  dispatch(in[0].dtype, [&]<typename T>() {
    if constexpr (!std::is_same_v<T, bool>) reduce<T, T>(Extreme<T, kLargest>(), x, out.data<T>(), Plain());
  });
}

// The winners are what equals y, or the NaNs; and how many there are.
std::pair<Tensor, Tensor> winners(const ReduceArgs& args, const Call& call) {
  const Tensor x = stop_gradient(call.input(0));
  const Tensor y = kept(stop_gradient(call.output()), x.shape(), args.axes);
  const Tensor wins = logical_or(equal(x, y), not_equal(x, x));
  return {wins, sum(cast(wins, x.dtype()), args.axes, keep_axis)};
}

// dx = g / (number of winners) at the winners, 0 elsewhere
Tensors extreme_gradient(const ReduceArgs& args, const Call& call, const Tensor& g) {
  const auto [wins, count] = winners(args, call);
  return {where(wins, div(kept(g, call.shape(0), args.axes), count), scalar_like(0, g))};
}

// dy = the mean of dx over the winners
Tensor extreme_tangent(const ReduceArgs& args, const Call& call, const Tensors& t) {
  const auto [wins, count] = winners(args, call);
  const Tensor total = sum(where(wins, t[0], scalar_like(0, t[0])), args.axes, keep_axis);
  return reshape(div(total, count), call.output_shape());
}

// Which of the elements that are reduced to one is the extreme.
template <bool kLargest>
Branches extreme_branches(const ReduceArgs& args, const Tensors& in, const Tensor& y) {
  const Shape& shape = in[0].shape();
  const auto reduced = reduced_axes(shape, args.axes);
  std::vector<std::int64_t> order;
  for (const bool last : {false, true})
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (reduced[static_cast<std::size_t>(axis)] == last) order.push_back(axis);
  const std::int64_t places = y.elements() == 0 ? 1 : in[0].elements() / y.elements();
  const Tensor lines = reshape(transpose(in[0], order), {y.elements(), places});
  return {.count = places, .taken = (kLargest ? argmax(lines) : argmin(lines)).values<std::int64_t>()};
}

const TypedOp<ReduceArgs>& max_op() {
  static const TypedOp<ReduceArgs> op({
      .name = "max",
      .doc = "The largest along axes (all where none is named); ties share the gradient evenly, NaN wins.",
      .shape = extreme_rule,
      .forward = extreme_forward<true>,
      .rows = rows_apart<ReduceArgs>,
      .scratch = folded_scratch<ReduceArgs>,
      .branches = extreme_branches<true>,
      .keeps = Keep::first | Keep::output,
      .gradient = extreme_gradient,
      .tangent = extreme_tangent,
      .samples = {{{}, {sample::distinct({2, 3})}},
                  {{{0}, true}, {sample::distinct({3, 4})}},
                  {{{0, 2}, false}, {sample::distinct({2, 3, 2})}}},
      .examples = {{{{1}, false}, {tensor({{1.0, 5.0}, {4.0, 3.0}}, f64)}, tensor({5.0, 4.0}, f64)}},
      .refuses = {{{{1}, false}, {sample::uniform({2, 0})}, "axis 1 has size 0"},
                  {{}, {sample::truths({2})}, "bool elements have no order"}},
  });
  return op;
}

const TypedOp<ReduceArgs>& min_op() {
  static const TypedOp<ReduceArgs> op({
      .name = "min",
      .doc = "The smallest along axes (all where none is named); ties share the gradient evenly, NaN wins.",
      .shape = extreme_rule,
      .forward = extreme_forward<false>,
      .rows = rows_apart<ReduceArgs>,
      .scratch = folded_scratch<ReduceArgs>,
      .branches = extreme_branches<false>,
      .keeps = Keep::first | Keep::output,
      .gradient = extreme_gradient,
      .tangent = extreme_tangent,
      .samples = {{{}, {sample::distinct({2, 3})}}, {{{1}, true}, {sample::distinct({3, 4})}}},
      .examples = {{{{1}, false}, {tensor({{1.0, 5.0}, {4.0, 3.0}}, f64)}, tensor({1.0, 3.0}, f64)}},
      .refuses = {{{}, {sample::uniform({0})}, "axis 0 has size 0"}},
  });
  return op;
}

Spec place_rule(const PlaceArgs& args, const Specs& in) {
  refuse_bool(in.dtype(0));
  const Shape& shape = in.shape(0);
  const int axis = shape.axis(args.axis);
  if (shape[axis] == 0) throw Error(fmt::format("axis {} has size 0: nothing has no extreme", axis));
  return {args.keep ? shape.with(axis, 1) : shape.without(axis), i64};
}

unsigned place_rows(const PlaceArgs& args, const Specs& in) { return in.shape(0).axis(args.axis) > 0 ? 1 : 0; }

template <bool kLargest>
void place_forward(const PlaceArgs& args, Inputs in, Output out) {
  const auto x = shaping::around(in[0].shape(), in[0].shape().axis(args.axis));
  dispatch(in[0].dtype, [&]<typename T>() {
    if constexpr (!std::is_same_v<T, bool>)
      for_units(x.outer * x.inner, x.size, [&](std::int64_t unit) {
        const T* from = in[0].data<T>() + unit / x.inner * x.size * x.inner + unit % x.inner;
        T best = *from;
        std::int64_t place = 0;
        for (std::int64_t k = 1; k < x.size && best == best; ++k) {
          const T value = from[k * x.inner];
          if ((kLargest ? value > best : value < best) || value != value) {
            best = value;
            place = k;
          }
        }
        out.data<std::int64_t>()[unit] = place;
      });
  });
}

const TypedOp<PlaceArgs>& argmax_op() {
  static const TypedOp<PlaceArgs> op({
      .name = "argmax",
      .doc = "The index of the first largest along one axis; the first NaN where there is one.",
      .shape = place_rule,
      .forward = place_forward<true>,
      .rows = place_rows,
      .samples = {{{1, false}, {sample::distinct({3, 4})}}},
      .examples = {{{-1, false}, {tensor({{1.0, 5.0, 5.0}, {4.0, 3.0, 2.0}}, f64)}, tensor({1, 0})}},
      .refuses = {{{0, false}, {sample::uniform({0, 2})}, "axis 0 has size 0"},
                  {{2, false}, {sample::uniform({2, 2})}, "axis 2 is out of range"}},
  });
  return op;
}

const TypedOp<PlaceArgs>& argmin_op() {
  static const TypedOp<PlaceArgs> op({
      .name = "argmin",
      .doc = "The index of the first smallest along one axis; the first NaN where there is one.",
      .shape = place_rule,
      .forward = place_forward<false>,
      .rows = place_rows,
      .samples = {{{0, true}, {sample::distinct({3, 4})}}},
      .examples = {{{0, false}, {tensor({{1.0, 5.0, 5.0}, {4.0, 3.0, 2.0}}, f64)}, tensor({0, 1, 1})}},
      .refuses = {{{0, false}, {sample::uniform({0, 2})}, "axis 0 has size 0"}},
  });
  return op;
}

}  // namespace

Tensor max(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return apply(max_op(), ReduceArgs{axes.list(), keep == keep_axis}, {x});
}
Tensor min(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return apply(min_op(), ReduceArgs{axes.list(), keep == keep_axis}, {x});
}
Tensor argmax(const Tensor& x, int axis, KeepAxis keep) {
  return apply(argmax_op(), PlaceArgs{axis, keep == keep_axis}, {x});
}
Tensor argmin(const Tensor& x, int axis, KeepAxis keep) {
  return apply(argmin_op(), PlaceArgs{axis, keep == keep_axis}, {x});
}

namespace reduction {

std::vector<const Op*> extreme_ops() { return {&max_op(), &min_op(), &argmax_op(), &argmin_op()}; }

}  // namespace reduction
}  // namespace twopass
