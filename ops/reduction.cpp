#include <twopass/ops/reduction.h>

#include <cmath>

#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/extremes.h>
#include <twopass/ops/families.h>
#include <twopass/ops/moments.h>
#include <twopass/ops/named.h>
#include <twopass/ops/partial_sums.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

using namespace reduction;

Spec arithmetic_rule(const ReduceArgs& args, const Specs& in) {
  if (in.dtype(0) == boolean) throw Error("of bool tensors there is no such reduction: cast first");
  return {reduced_shape(in.shape(0), args.axes, args.keep), in.dtype(0)};
}

Spec truth_rule(const ReduceArgs& args, const Specs& in) {
  if (in.dtype(0) != boolean) throw Error("only bool tensors are asked this, not " + std::string(name_of(in.dtype(0))));
  return {reduced_shape(in.shape(0), args.axes, args.keep), boolean};
}

template <typename Sum>
struct Multiplying : Adding<Sum> {
  Sum zero() const { return 1; }
  Sum join(Sum a, Sum b) const { return a * b; }
};
struct Either : Adding<bool> {
  bool join(bool a, bool b) const { return a | b; }
};
struct Both : Adding<bool> {
  bool zero() const { return true; }
  bool join(bool a, bool b) const { return a & b; }
};

// The product of all other elements along the last axis, without division: both running products by doubling steps.
Tensor exclusive_products(const Tensor& x) {
  const std::int64_t n = x.shape().back();
  const int last = x.rank() - 1;
  std::vector<std::pair<std::int64_t, std::int64_t>> in_front(static_cast<std::size_t>(x.rank())), behind = in_front;
  const auto shifted = [&](const Tensor& t, std::int64_t by, bool forward) {
    auto widths = forward ? in_front : behind;
    (forward ? widths.back().first : widths.back().second) = by;
    return pad(forward ? slice(t, last, 0, n - by) : slice(t, last, by, n), widths, 1);
  };
  Tensor result;
  for (const bool forward : {true, false}) {
    Tensor running = shifted(x, 1, forward);
    for (std::int64_t by = 1; by < n; by *= 2) running = mul(running, shifted(running, by, forward));
    result = forward ? running : mul(result, running);
  }
  return result;
}

Tensor prod_gradient(const ReduceArgs& args, const Tensor& x, const Tensor& g) {
  const Shape& shape = x.shape();
  if (!shape.open() && shape.elements() == 0) return zeros(shape, x.dtype());
  const auto reduced = reduced_axes(shape, args.axes);
  std::vector<std::int64_t> order, back(static_cast<std::size_t>(shape.rank())), rows;
  for (const bool pass : {false, true})
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (reduced[static_cast<std::size_t>(axis)] != pass) continue;
      back[static_cast<std::size_t>(axis)] = static_cast<std::int64_t>(order.size());
      order.push_back(axis);
      if (!pass) rows.push_back(shape[axis]);
    }
  rows.push_back(reduced_count(shape, args.axes));
  const Tensor moved = transpose(x, order);
  const Tensor others = reshape(exclusive_products(reshape(moved, rows)), moved.shape());
  return mul(spread(g, shape, args.axes), transpose(others, back));
}

const TypedOp<ReduceArgs>& sum_op() {
  static const TypedOp<ReduceArgs> op({
      .name = "sum",
      .doc = "The sum over axes (all where none is named), pairwise; 0 over nothing. Of bool it is an i64 count.",
      .shape = [](const ReduceArgs& args, const Specs& in) -> Spec {
        return {reduced_shape(in.shape(0), args.axes, args.keep), in.dtype(0) == boolean ? i64 : in.dtype(0)};
      },
      .forward =
          [](const ReduceArgs& args, Inputs in, Output out) {
            dispatch(in[0].dtype, [&]<typename T>() {
              using Sum = std::conditional_t<std::is_same_v<T, bool>, std::int64_t, T>;
              add_up<Sum, T>(in[0], args.axes, out.data<Sum>(), Plain());
            });
          },
      .lanes = [](const ReduceArgs& args, const Specs& in, Lanes& l,
                  std::span<const Lane> x) { return whole_rows(in.shape(0), args.axes) ? l.sum(x[0]) : Lane(); },
      .rows = rows_apart<ReduceArgs>,
      .scratch = [](const ReduceArgs& args, const Specs& in) { return added_bytes(in[0], args.axes); },
      .in_blocks = [](const ReduceArgs& args, const Specs& in,
                      const ChannelBlocks& wanted) { return sums_in_blocks(sum_op(), args, in, wanted); },
      .begins = [](const ReduceArgs& args, const Specs& in) -> const Op* {
        const Shape& x = in.shape(0);
        const bool first = args.axes.size() == 1 && x.axis(args.axes[0]) == 0;
        return first && is_floating(in.dtype(0)) && x.elements() > x[0] ? &partial_sums_op() : nullptr;
      },
      // y = Σ x:  dx = g, broadcast
      .gradient = [](const ReduceArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {spread(g, call.shape(0), args.axes)};
      },
      .linear = Linear::jointly,
      .stacked = [](const ReduceArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        auto [behind, x] = behind_first(args, in[0]);
        return apply(sum_op(), std::move(behind), {x});
      },
      .samples = {{{}, {sample::uniform({2, 3})}},
                  {{{0}, true}, {sample::uniform({3, 4})}},
                  {{{0, -1}, false}, {sample::uniform({2, 3, 4})}}},
      .examples = {{{{1}, false}, {tensor({{1.0, 2.0}, {3.0, 4.0}}, f64)}, tensor({3.0, 7.0}, f64)},
                   {{}, {tensor({true, false, true})}, tensor(2)}},
      .refuses = {{{{2}, false}, {sample::uniform({2, 3})}, "axis 2 is out of range for rank 2"},
                  {{{1, -1}, false}, {sample::uniform({2, 3})}, "axis 1 is named twice"}},
  });
  return op;
}

const TypedOp<ReduceArgs>& prod_op() {
  static const TypedOp<ReduceArgs> op({
      .name = "prod",
      .doc = "The product over axes (all where none is named); 1 over nothing.",
      .shape = arithmetic_rule,
      .forward =
          [](const ReduceArgs& args, Inputs in, Output out) {
            const Fold x = fold(in[0], args.axes);
            dispatch(in[0].dtype, [&]<typename T>() {
              if constexpr (!std::is_same_v<T, bool>) reduce<T, T>(Multiplying<T>(), x, out.data<T>(), Plain());
            });
          },
      .rows = rows_apart<ReduceArgs>,
      .scratch = folded_scratch<ReduceArgs>,
      .keeps = Keep::first,
      // y = Π x:  dx_i = g Π_{j≠i} x_j
      .gradient = [](const ReduceArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {prod_gradient(args, call.input(0), g)};
      },
      .samples = {{{}, {sample::positive({4})}},
                  {{{1}, true}, {sample::positive({2, 3})}},
                  {{{0, 2}, false}, {sample::positive({2, 3, 2})}},
                  {{}, {sample::positive({1})}}},
      .examples = {{{}, {tensor({2.0, 3.0, 4.0}, f64)}, tensor(24.0, f64)}},
      .refuses = {{{{-3}, false}, {sample::uniform({2, 3})}, "axis -3 is out of range for rank 2"},
                  {{}, {sample::truths({2})}, "cast first"}},
  });
  return op;
}

const TypedOp<ReduceArgs>& any_op() {
  static const TypedOp<ReduceArgs> op({
      .name = "any",
      .doc = "Whether any element of a bool tensor is true along axes; false over nothing.",
      .shape = truth_rule,
      .forward = [](const ReduceArgs& args, Inputs in,
                    Output out) { reduce<bool, bool>(Either(), fold(in[0], args.axes), out.data<bool>(), Plain()); },
      .rows = rows_apart<ReduceArgs>,
      .scratch = folded_scratch<ReduceArgs>,
      .samples = {{{{1}, false}, {sample::truths({3, 2})}}},
      .examples = {{{{1}, false}, {tensor({{true, false}, {false, false}})}, tensor({true, false})}},
      .refuses = {{{}, {sample::uniform({2})}, "only bool"}},
  });
  return op;
}

const TypedOp<ReduceArgs>& all_op() {
  static const TypedOp<ReduceArgs> op({
      .name = "all",
      .doc = "Whether all elements of a bool tensor are true along axes; true over nothing.",
      .shape = truth_rule,
      .forward = [](const ReduceArgs& args, Inputs in,
                    Output out) { reduce<bool, bool>(Both(), fold(in[0], args.axes), out.data<bool>(), Plain()); },
      .rows = rows_apart<ReduceArgs>,
      .scratch = folded_scratch<ReduceArgs>,
      .samples = {{{{0}, true}, {sample::truths({3, 2})}}},
      .examples = {{{{1}, false}, {tensor({{true, false}, {true, true}})}, tensor({false, true})}},
      .refuses = {{{}, {sample::uniform({2})}, "only bool"}},
  });
  return op;
}

}  // namespace

Tensor sum(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return apply(sum_op(), ReduceArgs{axes.list(), keep == keep_axis}, {x});
}
Tensor prod(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return apply(prod_op(), ReduceArgs{axes.list(), keep == keep_axis}, {x});
}
Tensor any(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return apply(any_op(), ReduceArgs{axes.list(), keep == keep_axis}, {x});
}
Tensor all(const Tensor& x, const Axes& axes, KeepAxis keep) {
  return apply(all_op(), ReduceArgs{axes.list(), keep == keep_axis}, {x});
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  return named("sum_to", {&x}, [&] {
    if (x.shape() == shape) return x;
    const int extra = x.rank() - shape.rank();
    if (!(broadcast(x.shape(), shape) == x.shape()))
      throw Error("sum_to" + x.shape().text() + ": " + shape.text() + " does not broadcast to it");
    std::vector<std::int64_t> leading, ones;
    for (int axis = 0; axis < x.rank(); ++axis)
      if (axis < extra)
        leading.push_back(axis);
      else if (shape[axis - extra] == 1 && x.shape()[axis] != 1)
        ones.push_back(axis);
    if (ones.empty()) return sum(x, leading);
    const Tensor summed = sum(x, ones, keep_axis);
    return leading.empty() ? summed : sum(summed, leading);
  });
}

std::vector<const Op*> reduction_ops() {
  std::vector<const Op*> ops{&sum_op(), &prod_op(), &any_op(), &all_op()};
  for (const auto& more :
       {reduction::extreme_ops(), reduction::moment_ops(), reduction::partial_sum_ops(), norm_ops(), scan_ops()})
    ops.insert(ops.end(), more.begin(), more.end());
  return ops;
}

}  // namespace twopass
