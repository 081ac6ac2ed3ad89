#include <twopass/ops/shaping.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>

#include <twopass/core/counted.h>
#include <twopass/ops/families.h>
#include <twopass/ops/joining.h>
#include <twopass/ops/shaping_kernels.h>
#include <twopass/ops/slicing.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

struct ReshapeArgs {
  Shape shape{};
  static constexpr auto fields = std::tuple{field("shape", &ReshapeArgs::shape)};
};
struct AxisArgs {
  std::int64_t axis = 0;
  static constexpr auto fields = std::tuple{field("axis", &AxisArgs::axis)};
};
struct OrderArgs {
  std::vector<std::int64_t> order{};
  static constexpr auto fields = std::tuple{field("order", &OrderArgs::order)};
};

std::int64_t whole(const auto&, const Shape&) { return 0; }

// The shape asked for with its -1 filled in, or left open where the input's open axis flows into it.
Shape resolved(const Shape& from, const Shape& asked) {
  std::int64_t known = 1, product = 1;
  int opens = 0, asks = 0, place = 0;
  for (const std::int64_t size : from) (size == kOpen ? opens += 1 : known *= size);
  for (int axis = 0; axis < asked.rank(); ++axis)
    if (asked[axis] == kOpen)
      ++asks, place = axis;
    else
      product *= asked[axis];
  if (asks > 1) throw Error(fmt::format("only one size may be -1, not {}", asks));
  if (opens > 1 || (opens == 1 && asks == 0)) static_cast<void>(from.elements());  // refuses
  if (asks == 0) {
    if (product != known)
      throw Error(fmt::format("{} {} not fill {}, which has {}", counted(known, "element"), known == 1 ? "does" : "do",
                              asked.text(), product));
    return asked;
  }
  if (product == 0) throw Error("a -1 beside a size of 0 is ambiguous");
  if (known % product != 0)
    throw Error(
        fmt::format("{} {} not divide into {} each", counted(known, "element"), known == 1 ? "does" : "do", product));
  return opens ? asked : asked.with(place, known / product);
}

Shape flattened(const Shape& shape, std::int64_t from) {
  const std::int64_t first = from < 0 ? from + shape.rank() : from;
  if (first < 0 || first > shape.rank())
    throw Error(fmt::format("axis {} is out of range for rank {}", from, shape.rank()));
  std::vector<std::int64_t> sizes(shape.begin(), shape.begin() + first);
  const std::vector<std::int64_t> joined(shape.begin() + first, shape.end());
  sizes.push_back(Shape(joined).elements());
  return Shape(sizes);
}

std::vector<int> full_order(const Shape& shape, const std::vector<std::int64_t>& order) {
  std::vector<int> full;
  if (order.empty())
    for (int axis = shape.rank() - 1; axis >= 0; --axis) full.push_back(axis);
  else if (static_cast<int>(order.size()) != shape.rank())
    throw Error(fmt::format("an order of {} axes does not fit rank {}", order.size(), shape.rank()));
  std::uint32_t seen = 0;
  for (const std::int64_t named : order) {
    const int axis = shape.axis(named);
    if (seen >> axis & 1) throw Error(fmt::format("axis {} is named twice", axis));
    seen |= 1U << axis;
    full.push_back(axis);
  }
  return full;
}

const TypedOp<ReshapeArgs>& reshape_op() {
  static const TypedOp<ReshapeArgs> op({
      .name = "reshape",
      .doc = "The same elements in another shape; one size may be -1: what is left.",
      .shape = [](const ReshapeArgs& args, const Specs& in) -> Spec {
        return {resolved(in.shape(0), args.shape), in.dtype(0)};
      },
      .alias = whole,
      // dx = g in x's shape
      .gradient = [](const ReshapeArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {reshape(g, call.shape(0))};
      },
      .linear = Linear::jointly,
      .stacked = [](const ReshapeArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        return reshape(in[0], args.shape.inserted(0, in[0].shape()[0]));
      },
      .samples = {{{{3, 2}}, {sample::uniform({2, 3})}}, {{{-1}}, {sample::uniform({2, 2})}}},
      .examples = {{{{2, -1}}, {tensor({1.0, 2.0, 3.0, 4.0}, f64)}, tensor({{1.0, 2.0}, {3.0, 4.0}}, f64)}},
      .refuses = {{{{4}}, {sample::uniform({2, 3})}, "6 elements do not fill (4,), which has 4"},
                  {{{-1, -1}}, {sample::uniform({2, 3})}, "only one size may be -1"},
                  {{{-1, 0}}, {sample::uniform({0, 3})}, "ambiguous"},
                  {{{-1, 4}}, {sample::uniform({2, 3})}, "6 elements do not divide into 4 each"}},
  });
  return op;
}

const TypedOp<AxisArgs>& flatten_op() {
  static const TypedOp<AxisArgs> op({
      .name = "flatten",
      .doc = "Axes from one on joined into one.",
      .shape = [](const AxisArgs& args, const Specs& in) -> Spec {
        return {flattened(in.shape(0), args.axis), in.dtype(0)};
      },
      .alias = whole,
      // dx = g in x's shape
      .gradient = [](const AxisArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {reshape(g, call.shape(0))};
      },
      .linear = Linear::jointly,
      .stacked = [](const AxisArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        return flatten(in[0], static_cast<int>(behind_first(args.axis)));
      },
      .samples = {{{1}, {sample::uniform({2, 3, 2})}}},
      .examples = {{{0}, {tensor({{1.0, 2.0}, {3.0, 4.0}}, f64)}, tensor({1.0, 2.0, 3.0, 4.0}, f64)}},
      .refuses = {{{3}, {sample::uniform({2, 3})}, "axis 3 is out of range for rank 2"}},
  });
  return op;
}

const TypedOp<AxisArgs>& expand_dims_op() {
  static const TypedOp<AxisArgs> op({
      .name = "expand_dims",
      .doc = "An axis of size 1 put in before an axis.",
      .shape = [](const AxisArgs& args, const Specs& in) -> Spec {
        return {in.shape(0).inserted(static_cast<int>(args.axis), 1), in.dtype(0)};
      },
      .alias = whole,
      // dx = g without the axis
      .gradient = [](const AxisArgs& args, const Call&, const Tensor& g) -> Tensors {
        return {squeeze(g, static_cast<int>(args.axis))};
      },
      .linear = Linear::jointly,
      .stacked = [](const AxisArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        return expand_dims(in[0], static_cast<int>(behind_first(args.axis)));
      },
      .samples = {{{1}, {sample::uniform({2, 3})}}, {{-1}, {sample::uniform({2})}}},
      .examples = {{{0}, {tensor({1.0, 2.0}, f64)}, tensor({{1.0, 2.0}}, f64)}},
      .refuses = {{{4}, {sample::uniform({2, 3})}, "axis 4 is out of range for rank 3"}},
  });
  return op;
}

const TypedOp<AxisArgs>& squeeze_op() {
  static const TypedOp<AxisArgs> op({
      .name = "squeeze",
      .doc = "An axis of size 1 taken away.",
      .shape = [](const AxisArgs& args, const Specs& in) -> Spec {
        const int axis = in.shape(0).axis(args.axis);
        const std::int64_t size = in.shape(0)[axis];
        if (size != 1)
          throw Error(fmt::format("axis {} has {} and not size 1", axis,
                                  size == kOpen ? "an open size" : fmt::format("size {}", size)));
        return {in.shape(0).without(axis), in.dtype(0)};
      },
      .alias = whole,
      // dx = g with the axis
      .gradient = [](const AxisArgs& args, const Call&, const Tensor& g) -> Tensors {
        return {expand_dims(g, static_cast<int>(args.axis))};
      },
      .linear = Linear::jointly,
      .stacked = [](const AxisArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        return squeeze(in[0], static_cast<int>(behind_first(args.axis)));
      },
      .samples = {{{1}, {sample::uniform({2, 1, 3})}}, {{-2}, {sample::uniform({2, 1, 3})}}},
      .examples = {{{0}, {tensor({{1.0, 2.0}}, f64)}, tensor({1.0, 2.0}, f64)}},
      .refuses = {{{0}, {sample::uniform({2, 3})}, "axis 0 has size 2 and not size 1"}},
  });
  return op;
}

const TypedOp<OrderArgs>& transpose_op() {
  static const TypedOp<OrderArgs> op({
      .name = "transpose",
      .doc = "Axes in another order; none given reverses them.",
      .shape = [](const OrderArgs& args, const Specs& in) -> Spec {
        std::vector<std::int64_t> sizes;
        for (const int axis : full_order(in.shape(0), args.order)) sizes.push_back(in.shape(0)[axis]);
        return {Shape(sizes), in.dtype(0)};
      },
      .forward =
          [](const OrderArgs& args, Inputs in, Output out) {
            shaping::permute(in[0].bytes, in[0].shape(), full_order(in[0].shape(), args.order), size_of(out.dtype),
                             out.bytes);
          },
      .repeats = [](const OrderArgs&, const Specs&, std::size_t) { return true; },
      // dx = g with the axes put back
      .gradient = [](const OrderArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const auto order = full_order(call.shape(0), args.order);
        std::vector<std::int64_t> back(order.size());
        for (std::size_t k = 0; k < order.size(); ++k)
          back[static_cast<std::size_t>(order[k])] = static_cast<std::int64_t>(k);
        return {transpose(g, back)};
      },
      .linear = Linear::jointly,
      .stacked = [](const OrderArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        std::vector<std::int64_t> order{0};
        for (const int axis : full_order(in[0].shape().without(0), args.order)) order.push_back(axis + 1);
        return transpose(in[0], order);
      },
      .samples = {{{}, {sample::uniform({2, 3})}}, {{{1, 2, 0}}, {sample::uniform({2, 3, 4})}}},
      .examples = {{{},
                    {tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}}, f64)},
                    tensor({{1.0, 4.0}, {2.0, 5.0}, {3.0, 6.0}}, f64)}},
      .refuses = {{{{0, 0}}, {sample::uniform({2, 3})}, "axis 0 is named twice"},
                  {{{0}}, {sample::uniform({2, 3})}, "an order of 1 axes does not fit rank 2"}},
  });
  return op;
}

const TypedOp<ReshapeArgs>& broadcast_to_op() {
  static const TypedOp<ReshapeArgs> op({
      .name = "broadcast_to",
      .doc = "The elements repeated to a shape by NumPy's rule; a size of -1 keeps the input's.",
      .shape = [](const ReshapeArgs& args, const Specs& in) -> Spec {
        const Shape& from = in.shape(0);
        const int extra = args.shape.rank() - from.rank();
        std::vector<std::int64_t> sizes = args.shape.sizes();
        bool fits = extra >= 0;
        for (int axis = 0; fits && axis < from.rank(); ++axis) {
          std::int64_t& size = sizes[static_cast<std::size_t>(axis + extra)];
          if (size == kOpen && from[axis] != 1) size = from[axis];
          fits = from[axis] == size || from[axis] == 1;
        }
        if (!fits) throw Error(fmt::format("{} does not broadcast to {}", from.text(), args.shape.text()));
        return {Shape(sizes), in.dtype(0)};
      },
      .forward =
          [](const ReshapeArgs&, Inputs in, Output out) {
            const Shape& from = in[0].shape();
            const int extra = out.shape().rank() - from.rank();
            std::vector<std::int64_t> strides(static_cast<std::size_t>(out.shape().rank()), 0);
            std::int64_t step = 1;
            for (int axis = from.rank() - 1; axis >= 0; step *= from[axis--])
              if (from[axis] != 1) strides[static_cast<std::size_t>(axis + extra)] = step;
            shaping::copy_strided(in[0].bytes, out.shape().sizes(), strides, size_of(out.dtype), out.bytes);
          },
      .broadcasts = true,
      .rows = [](const ReshapeArgs& args, const Specs& in) -> unsigned {
        const Shape &from = in.shape(0), &to = args.shape;
        const bool by_rows = from.rank() > 0 && from.rank() == to.rank() && from[0] != 1;
        return by_rows ? 1 : kRowsOfWhole;
      },
      // dx = g, which the engine sums back
      .gradient = [](const ReshapeArgs&, const Call&, const Tensor& g) -> Tensors { return {g}; },
      .linear = Linear::jointly,
      .stacked = [](const ReshapeArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        Shape from = in[0].shape();
        while (from.rank() <= args.shape.rank()) from = from.inserted(1, 1);
        return broadcast_to(reshape(in[0], from), args.shape.inserted(0, from[0]));
      },
      .samples = {{{{2, 3}}, {sample::uniform({3})}},
                  {{{2, 3, 2}}, {sample::uniform({2, 1, 2})}},
                  {{{2, 2}}, {sample::uniform({})}}},
      .examples = {{{{2, 2}}, {tensor({{1.0}, {2.0}}, f64)}, tensor({{1.0, 1.0}, {2.0, 2.0}}, f64)}},
      .refuses = {{{{3, 2}}, {sample::uniform({3})}, "(3,) does not broadcast to (3, 2)"}},
  });
  return op;
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) { return apply(reshape_op(), ReshapeArgs{shape}, {x}); }
Tensor flatten(const Tensor& x, int axis) { return apply(flatten_op(), AxisArgs{axis}, {x}); }
Tensor transpose(const Tensor& x, const std::vector<std::int64_t>& order) {
  return apply(transpose_op(), OrderArgs{order}, {x});
}
Tensor expand_dims(const Tensor& x, int axis) { return apply(expand_dims_op(), AxisArgs{axis}, {x}); }
Tensor squeeze(const Tensor& x, int axis) { return apply(squeeze_op(), AxisArgs{axis}, {x}); }
Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  return apply(broadcast_to_op(), ReshapeArgs{shape}, {x});
}

std::vector<const Op*> shaping_ops() {
  std::vector<const Op*> ops{&reshape_op(),     &flatten_op(), &transpose_op(),
                             &expand_dims_op(), &squeeze_op(), &broadcast_to_op()};
  for (const auto& more : {shaping::slicing_ops(), shaping::joining_ops()})
    ops.insert(ops.end(), more.begin(), more.end());
  return ops;
}

}  // namespace twopass
