#include <twopass/ops/joining.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include <twopass/ops/named.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/shaping_kernels.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

struct ConcatArgs {
  std::int64_t axis = 0;
  static constexpr auto fields = std::tuple{field("axis", &ConcatArgs::axis)};
};
struct PadArgs {
  std::vector<std::int64_t> widths{};
  double value = 0;
  static constexpr auto fields = std::tuple{field("widths", &PadArgs::widths), field("value", &PadArgs::value)};
};

Spec concat_rule(const ConcatArgs& args, const Specs& in) {
  if (in.size() == 0) throw Error("there is nothing to join");
  const Shape& first = in.shape(0);
  const int axis = first.axis(args.axis);
  std::vector<std::int64_t> sizes = first.sizes();
  std::int64_t& total = sizes[static_cast<std::size_t>(axis)];
  for (std::size_t k = 1; k < in.size(); ++k) {
    const Shape& part = in.shape(k);
    if (in.dtype(k) != in.dtype(0))
      throw Error(fmt::format("part {} is {} but the first is {}", k, name_of(in.dtype(k)), name_of(in.dtype(0))));
    if (part.rank() != first.rank())
      throw Error(fmt::format("part {} has {} axes but the first has {}", k, part.rank(), first.rank()));
    for (int other = 0; other < first.rank(); ++other) {
      std::int64_t& size = sizes[static_cast<std::size_t>(other)];
      if (other == axis || part[other] == size || part[other] == kOpen) continue;
      if (size != kOpen)
        throw Error(
            fmt::format("axis {} of part {} has size {} but that of the first has {}", other, k, part[other], size));
      size = part[other];
    }
    if (total == kOpen || part[axis] == kOpen)
      total = kOpen;
    else if (__builtin_add_overflow(total, part[axis], &total))
      throw Error("the joined axis is longer than 2^63");
  }
  return {Shape(sizes), in.dtype(0)};
}

unsigned concat_rows(const ConcatArgs& args, const Specs& in) {
  constexpr std::size_t kMost = 16;  // a wider concat is no part of a tile
  return in.shape(0).axis(args.axis) > 0 && in.size() <= kMost ? (1U << in.size()) - 1 : 0;
}

const TypedOp<ConcatArgs>& concat_op() {
  static const TypedOp<ConcatArgs> op({
      .name = "concat",
      .doc = "Tensors joined along an axis.",
      .shape = concat_rule,
      .forward =
          [](const ConcatArgs& args, Inputs in, Output out) {
            const int axis = out.shape().axis(args.axis);
            const auto y = shaping::around(out.shape(), axis);
            const auto run = static_cast<std::size_t>(y.inner) * size_of(out.dtype);
            std::byte* to = out.bytes;
            for (std::int64_t o = 0; o < y.outer; ++o)
              for (const View& part : in) {
                const std::size_t bytes = static_cast<std::size_t>(part.shape()[axis]) * run;
                if (bytes == 0) continue;
                std::memcpy(to, part.bytes + static_cast<std::size_t>(o) * bytes, bytes);
                to += bytes;
              }
          },
      .rows = concat_rows,
      // dx_k = g's slice at part k
      .gradient = [](const ConcatArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const int axis = g.shape().axis(args.axis);
        Tensors parts;
        std::int64_t start = 0;
        for (std::size_t k = 0; k < call.size(); ++k) {
          const std::int64_t size = call.shape(k)[axis];
          parts.push_back(call.wants(k) ? slice(g, axis, start, start + size) : Tensor());
          start += size;
        }
        return parts;
      },
      .linear = Linear::jointly,
      .stacked = [](const ConcatArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return concat(all_stacked(in, which), static_cast<int>(behind_first(args.axis)));
      },
      .samples = {{{0}, {sample::uniform({2, 3}), sample::uniform({1, 3})}},
                  {{-1}, {sample::uniform({2, 2}), sample::uniform({2, 0}), sample::uniform({2, 1})}}},
      .examples = {{{0}, {tensor({1.0}, f64), tensor({2.0, 3.0}, f64)}, tensor({1.0, 2.0, 3.0}, f64)}},
      .refuses = {{{0}, {sample::uniform({2, 3}), sample::uniform({3})}, "part 1 has 1 axes but the first has 2"},
                  {{0},
                   {sample::uniform({2, 3}), sample::uniform({2, 4})},
                   "axis 1 of part 1 has size 4 but that of the first has 3"}},
  });
  return op;
}

Spec pad_rule(const PadArgs& args, const Specs& in) {
  std::vector<std::int64_t> sizes = in.shape(0).sizes();
  if (args.widths.size() != 2 * sizes.size())
    throw Error(fmt::format("{} widths do not fit {} axes: each needs two", args.widths.size(), sizes.size()));
  for (std::size_t k = 0; k < args.widths.size(); ++k) {
    const std::int64_t width = args.widths[k];
    if (width < 0) throw Error(fmt::format("axis {} has the negative width {}", k / 2, width));
    if (width == 0) continue;
    if (sizes[k / 2] == kOpen)
      throw Error(fmt::format("axis {} of {} is open: it cannot be padded", k / 2, in.shape(0).text()));
    if (__builtin_add_overflow(sizes[k / 2], width, &sizes[k / 2])) throw Error("a padded axis is longer than 2^63");
  }
  return {Shape(sizes), in.dtype(0)};
}

template <typename T>
void pad_into(const PadArgs& args, const View& x, const Output& out) {
  const int rank = x.shape().rank();
  std::fill_n(out.data<T>(), out.elements(), static_cast<T>(args.value));
  if (x.elements() == 0) return;
  const std::int64_t run = rank ? x.shape()[-1] : 1;
  const T* from = x.data<T>();
  for (std::int64_t row = 0; row < x.elements() / run; ++row) {
    std::int64_t left = row, place = rank ? args.widths[args.widths.size() - 2] : 0, step = rank ? out.shape()[-1] : 1;
    for (int axis = rank - 2; axis >= 0; left /= x.shape()[axis], step *= out.shape()[axis--])
      place += (left % x.shape()[axis] + args.widths[static_cast<std::size_t>(2 * axis)]) * step;
    std::copy_n(from + row * run, run, out.data<T>() + place);
  }
}

const TypedOp<PadArgs>& pad_op() {
  static const TypedOp<PadArgs> op({
      .name = "pad",
      .doc = "A value put before and after the elements of each axis.",
      .shape = pad_rule,
      .forward = [](const PadArgs& args, Inputs in,
                    Output out) { dispatch(out.dtype, [&]<typename T>() { pad_into<T>(args, in[0], out); }); },
      .repeats =
          [](const PadArgs& args, const Specs& in, std::size_t) {
            for (std::size_t k = 0; k < args.widths.size(); ++k)
              if (args.widths[k] != 0 && in.shape(0)[static_cast<int>(k / 2)] == 1) return false;
            return true;
          },
      // dx = g without the border
      .gradient = [](const PadArgs& args, const Call& call, const Tensor& g) -> Tensors {
        Tensor inside = g;
        for (int axis = 0; axis < g.rank(); ++axis) {
          const std::int64_t before = args.widths[static_cast<std::size_t>(2 * axis)];
          if (before || args.widths[static_cast<std::size_t>(2 * axis + 1)])
            inside = slice(inside, axis, before, before + call.shape(0)[axis]);
        }
        return {inside};
      },
      // dy = dx in a border of zeros
      .tangent = [](const PadArgs& args, const Call&, const Tensors& t) -> Tensor {
        return apply(pad_op(), PadArgs{args.widths, 0}, {t[0]});
      },
      .stacked = [](const PadArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        std::vector<std::int64_t> widths{0, 0};
        widths.insert(widths.end(), args.widths.begin(), args.widths.end());
        return apply(pad_op(), PadArgs{std::move(widths), args.value}, {in[0]});
      },
      .samples = {{{{1, 2}, 0}, {sample::uniform({3})}}, {{{0, 1, 2, 0, 1, 1}, 0.5}, {sample::uniform({2, 2, 3})}}},
      .examples = {{{{1, 0, 0, 1}, 9}, {tensor({{1.0, 2.0}}, f64)}, tensor({{9.0, 9.0, 9.0}, {1.0, 2.0, 9.0}}, f64)}},
      .refuses = {{{{1, 1}, 0}, {sample::uniform({2, 3})}, "2 widths do not fit 2 axes"},
                  {{{-1, 1}, 0}, {sample::uniform({2})}, "axis 0 has the negative width -1"}},
  });
  return op;
}

}  // namespace

Tensor concat(const Tensors& parts, int axis) { return apply(concat_op(), ConcatArgs{axis}, parts); }

Tensor stack(const Tensors& parts, int axis) {
  return named("stack", {}, [&] {
    Tensors rows;
    for (const Tensor& part : parts) {
      if (!(part.shape() == parts[0].shape()))
        throw Error(fmt::format("part {} has shape {} but the first has {}", rows.size(), part.shape().text(),
                                parts[0].shape().text()));
      rows.push_back(expand_dims(part, axis));
    }
    return concat(rows, axis);
  });
}

Tensor pad(const Tensor& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& widths, double value) {
  return named("pad", {&x}, [&] {
    PadArgs args{{}, value};
    for (const auto& [before, after] : widths) args.widths.insert(args.widths.end(), {before, after});
    return apply(pad_op(), std::move(args), {x});
  });
}

namespace shaping {

std::vector<const Op*> joining_ops() { return {&concat_op(), &pad_op()}; }

}  // namespace shaping
}  // namespace twopass
