#include <twopass/ops/slicing.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include <twopass/ops/named.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/shaping_kernels.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

struct SliceArgs {
  std::int64_t axis = 0;
  std::int64_t start = 0;
  std::int64_t stop = 0;
  std::int64_t step = 1;
  static constexpr auto fields = std::tuple{field("axis", &SliceArgs::axis), field("start", &SliceArgs::start),
                                            field("stop", &SliceArgs::stop), field("step", &SliceArgs::step)};
};
struct RowsArgs {
  std::int64_t start = 0;
  std::int64_t stop = 0;
  static constexpr auto fields = std::tuple{field("start", &RowsArgs::start), field("stop", &RowsArgs::stop)};
};
struct UnsliceArgs {
  std::int64_t axis = 0;
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::int64_t size = 0;
  static constexpr auto fields = std::tuple{field("axis", &UnsliceArgs::axis), field("start", &UnsliceArgs::start),
                                            field("step", &UnsliceArgs::step), field("size", &UnsliceArgs::size)};
};

struct Range {
  std::int64_t start;
  std::int64_t count;
};

// Python's rule for x[start:stop:step] on an axis of `size`.
Range range_of(std::int64_t size, std::int64_t start, std::int64_t stop, std::int64_t step) {
  if (step == 0) throw Error("a step of 0 goes nowhere");
  const std::int64_t low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
  const auto bound = [&](std::int64_t place) { return std::clamp(place < 0 ? place + size : place, low, high); };
  start = bound(start);
  stop = bound(stop);
  // Written so that steps at the ends of 64 bits do not overflow.
  const std::int64_t length = step > 0 ? stop - start : start - stop;
  if (length <= 0) return {0, 0};
  if (step == 1) return {start, length};
  const auto stride = step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
  return {start, static_cast<std::int64_t>((static_cast<std::uint64_t>(length) - 1) / stride) + 1};
}

std::int64_t known_size(const Shape& shape, int axis) {
  if (shape[axis] == kOpen)
    throw Error(fmt::format("axis {} of {} is open: a slice of it needs its size", axis, shape.text()));
  return shape[axis];
}

void copy_every(const std::byte* from, std::byte* to, std::int64_t count, std::size_t run, std::int64_t read,
                std::int64_t write) {
  for (std::int64_t k = 0; k < count; ++k)
    std::memcpy(to + k * write * static_cast<std::int64_t>(run), from + k * read * static_cast<std::int64_t>(run), run);
}

Tensor unslice(const Tensor& g, std::int64_t axis, std::int64_t start, std::int64_t step, std::int64_t size);

// Along other axes each element goes where all of its line go.
template <typename Args>
bool other_axes(const Args& args, const Specs& in, std::size_t) {
  return in.shape(0)[static_cast<int>(args.axis)] != 1;
}

const TypedOp<SliceArgs>& slice_op() {
  static const TypedOp<SliceArgs> op({
      .name = "slice",
      .doc = "Elements start, start + step, … below stop along one axis, by Python's rule.",
      .shape = [](const SliceArgs& args, const Specs& in) -> Spec {
        const int axis = in.shape(0).axis(args.axis);
        const Range range = range_of(known_size(in.shape(0), axis), args.start, args.stop, args.step);
        return {in.shape(0).with(axis, range.count), in.dtype(0)};
      },
      .forward =
          [](const SliceArgs& args, Inputs in, Output out) {
            const int axis = in[0].shape().axis(args.axis);
            const auto x = shaping::around(in[0].shape(), axis);
            const Range range = range_of(x.size, args.start, args.stop, args.step);
            const auto run = static_cast<std::size_t>(x.inner) * size_of(out.dtype);
            if (range.count == 0 || run == 0) return;
            for (std::int64_t o = 0; o < x.outer; ++o) {
              const std::byte* from = in[0].bytes + (o * x.size + range.start) * static_cast<std::int64_t>(run);
              std::byte* to = out.bytes + o * range.count * static_cast<std::int64_t>(run);
              if (args.step == 1)
                std::memcpy(to, from, static_cast<std::size_t>(range.count) * run);
              else
                copy_every(from, to, range.count, run, range.count == 1 ? 0 : args.step, 1);
            }
          },
      .repeats = other_axes<SliceArgs>,
      .rows = [](const SliceArgs& args, const Specs& in) { return in.shape(0).axis(args.axis) > 0 ? 1U : 0U; },
      // dx = g at its places, 0 elsewhere
      .gradient = [](const SliceArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const int axis = call.shape(0).axis(args.axis);
        const std::int64_t size = call.shape(0)[axis];
        const Range range = range_of(size, args.start, args.stop, args.step);
        return {unslice(g, axis, range.start, range.count > 1 ? args.step : 1, size)};
      },
      .linear = Linear::jointly,
      .stacked = [](const SliceArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        return slice(in[0], static_cast<int>(behind_first(args.axis)), args.start, args.stop, args.step);
      },
      .samples = {{{1, 1, 3, 1}, {sample::uniform({2, 4})}},
                  {{-1, 0, 5, 2}, {sample::uniform({2, 5})}},
                  {{0, -1, -6, -2}, {sample::uniform({5, 2})}},
                  {{0, 2, 1, 1}, {sample::uniform({3})}}},
      .examples = {{{0, -1, -4, -1}, {tensor({1.0, 2.0, 3.0}, f64)}, tensor({3.0, 2.0, 1.0}, f64)},
                   {{0, 0, 9, 2}, {tensor({1.0, 2.0, 3.0}, f64)}, tensor({1.0, 3.0}, f64)}},
      .refuses = {{{0, 0, 2, 0}, {sample::uniform({3})}, "step of 0"},
                  {{1, 0, 2, 1}, {sample::uniform({3})}, "axis 1 is out of range for rank 1"}},
  });
  return op;
}

const TypedOp<RowsArgs>& rows_op() {
  static const TypedOp<RowsArgs> op({
      .name = "rows",
      .doc = "Consecutive rows start … stop-1 of the first axis, in the same memory.",
      .shape = [](const RowsArgs& args, const Specs& in) -> Spec {
        const int axis = in.shape(0).axis(0);
        return {in.shape(0).with(0, range_of(known_size(in.shape(0), axis), args.start, args.stop, 1).count),
                in.dtype(0)};
      },
      .alias = [](const RowsArgs& args, const Shape& x) -> std::int64_t {
        return range_of(x[0], args.start, args.stop, 1).start * (x[0] ? x.elements() / x[0] : 0);
      },
      .repeats = [](const RowsArgs&, const Specs& in, std::size_t) { return in.shape(0)[0] != 1; },
      // dx = g at its rows, 0 elsewhere
      .gradient = [](const RowsArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const std::int64_t size = call.shape(0)[0];
        return {unslice(g, 0, range_of(size, args.start, args.stop, 1).start, 1, size)};
      },
      .linear = Linear::jointly,
      .stacked = [](const RowsArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        return slice(in[0], 1, args.start, args.stop);
      },
      .samples = {{{1, 3}, {sample::uniform({4, 2})}}, {{2, 2}, {sample::uniform({4, 2})}}},
      .examples = {{{-2, 9}, {tensor({1.0, 2.0, 3.0}, f64)}, tensor({2.0, 3.0}, f64)}},
      .refuses = {{{0, 1}, {sample::uniform({})}, "axis 0 is out of range for rank 0"}},
  });
  return op;
}

const TypedOp<UnsliceArgs>& unslice_op() {
  static const TypedOp<UnsliceArgs> op({
      .name = "unslice",
      .doc = "Zeros with the input at start, start + step, … along one axis of the given size: the transpose of slice.",
      .shape = [](const UnsliceArgs& args, const Specs& in) -> Spec {
        const int axis = in.shape(0).axis(args.axis);
        const std::int64_t count = known_size(in.shape(0), axis);
        const std::int64_t reach = args.size < 0 || args.step == 0 ? 0
                                   : args.step > 0                 ? args.size - args.start
                                                                   : args.start + 1;
        const std::int64_t stride = args.step < 0 ? -args.step : args.step;
        if (count > 0 && (args.start < 0 || args.start >= args.size || reach < 1 || (count - 1) > (reach - 1) / stride))
          throw Error(fmt::format("{} elements from {} in steps of {} do not lie in a size of {}", count, args.start,
                                  args.step, args.size));
        return {in.shape(0).with(axis, args.size), in.dtype(0)};
      },
      .forward =
          [](const UnsliceArgs& args, Inputs in, Output out) {
            const int axis = in[0].shape().axis(args.axis);
            const auto g = shaping::around(in[0].shape(), axis);
            const auto run = static_cast<std::size_t>(g.inner) * size_of(out.dtype);
            const std::size_t total = static_cast<std::size_t>(out.elements()) * size_of(out.dtype);
            if (total == 0) return;
            std::memset(out.bytes, 0, total);
            if (g.size == 0) return;
            for (std::int64_t o = 0; o < g.outer; ++o) {
              const std::byte* from = in[0].bytes + o * g.size * static_cast<std::int64_t>(run);
              std::byte* to = out.bytes + (o * args.size + args.start) * static_cast<std::int64_t>(run);
              if (args.step == 1)
                std::memcpy(to, from, static_cast<std::size_t>(g.size) * run);
              else
                copy_every(from, to, g.size, run, 1, g.size == 1 ? 0 : args.step);
            }
          },
      .repeats = other_axes<UnsliceArgs>,
      // dx = g at the places
      .gradient = [](const UnsliceArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const std::int64_t count = call.shape(0)[call.shape(0).axis(args.axis)];
        const std::int64_t stop = args.start + (count - 1) * args.step + (args.step > 0 ? 1 : -1);
        if (count == 0) return {slice(g, static_cast<int>(args.axis), 0, 0)};
        return {slice(g, static_cast<int>(args.axis), args.start, stop < 0 ? -args.size - 1 : stop, args.step)};
      },
      .linear = Linear::jointly,
      .stacked = [](const UnsliceArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        return unslice(in[0], behind_first(args.axis), args.start, args.step, args.size);
      },
      .samples = {{{0, 1, 2, 6}, {sample::uniform({3, 2})}},
                  {{1, 3, -1, 4}, {sample::uniform({2, 4})}},
                  {{0, 2, -1, 4}, {sample::uniform({2})}}},
      .examples = {{{0, 1, 2, 5}, {tensor({1.0, 2.0}, f64)}, tensor({0.0, 1.0, 0.0, 2.0, 0.0}, f64)}},
      .refuses = {{{0, 1, 2, 5}, {sample::uniform({3})}, "3 elements from 1 in steps of 2 do not lie in a size of 5"}},
  });
  return op;
}

Tensor unslice(const Tensor& g, std::int64_t axis, std::int64_t start, std::int64_t step, std::int64_t size) {
  return apply(unslice_op(), UnsliceArgs{axis, start, step, size}, {g});
}

}  // namespace

Tensor slice(const Tensor& x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step) {
  const bool leading = step == 1 && x.rank() > 0 && x.shape().axis(axis) == 0;
  if (leading) return apply(rows_op(), RowsArgs{start, stop}, {x});
  return apply(slice_op(), SliceArgs{axis, start, stop, step}, {x});
}

Tensors split(const Tensor& x, const std::vector<std::int64_t>& sizes, int axis) {
  return named("split", {&x}, [&]() -> Tensors {
    const int along = x.shape().axis(axis);
    std::int64_t total = 0;
    for (const std::int64_t size : sizes) {
      if (size < 0) throw Error(fmt::format("split({}): a part has the negative size {}", x.shape().text(), size));
      total += size;
    }
    if (total != x.shape()[along])
      throw Error(fmt::format("split({}): sizes {} add up to {}, not to the {} of axis {}", x.shape().text(), sizes,
                              total, x.shape()[along], along));
    Tensors parts;
    std::int64_t start = 0;
    for (const std::int64_t size : sizes) {
      parts.push_back(slice(x, along, start, start + size));
      start += size;
    }
    return parts;
  });
}

namespace shaping {

std::vector<const Op*> slicing_ops() { return {&slice_op(), &rows_op(), &unslice_op()}; }

}  // namespace shaping
}  // namespace twopass
