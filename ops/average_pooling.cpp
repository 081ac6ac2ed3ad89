#include <fmt/format.h>

#include <algorithm>

#include <twopass/ops/convolution.h>
#include <twopass/ops/pooling.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/stacking.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

using Numbers = std::vector<std::int64_t>;
using windows::Axis;
using windows::Pool;

struct AverageArgs {
  Numbers window = {2, 2};
  Numbers strides = {2, 2};
  Numbers padding = {0, 0, 0, 0};
  bool same = false;
  bool count_padding = false;
  static constexpr auto fields =
      std::tuple{field("window", &AverageArgs::window), field("strides", &AverageArgs::strides),
                 field("padding", &AverageArgs::padding), field("same", &AverageArgs::same),
                 field("count_padding", &AverageArgs::count_padding)};
  Pool pool(std::int64_t rows, std::int64_t columns) const {
    return windows::pool(window, strides, padding, same, rows, columns);
  }
};

// With the rows and columns of the images, which those of the output leave open.
struct SpreadArgs : AverageArgs {
  Numbers size = {2, 2};
  static constexpr auto fields = std::tuple_cat(AverageArgs::fields, std::tuple{field("size", &SpreadArgs::size)});
};

// How many elements of the axis output o is the mean of.
std::int64_t counted(const AverageArgs& args, const Axis& axis, std::int64_t o) {
  const std::int64_t first = o * axis.stride - axis.before;
  return args.count_padding ? axis.window
                            : std::min(axis.input, first + axis.window) - std::max<std::int64_t>(0, first);
}

template <typename T>
std::vector<T> counts(const AverageArgs& args, const Axis& axis) {
  std::vector<T> each;
  for (std::int64_t o = 0; o < axis.output; ++o) each.push_back(static_cast<T>(counted(args, axis, o)));
  return each;
}

// Calls f(place in a plane, output, outputs) for the elements that row `row` of the outputs sees: output o sees
// place + o stride.
template <typename F>
void for_runs(const Pool& pool, std::int64_t row, const F& f) {
  const auto &rows = pool.rows, &columns = pool.columns;
  for (std::int64_t i = 0; i < rows.window; ++i) {
    const std::int64_t at = row * rows.stride - rows.before + i;
    if (at < 0 || at >= rows.input) continue;
    for (std::int64_t j = 0; j < columns.window; ++j) {
      const std::int64_t first = columns.first(j), end = columns.end(j);
      if (first < end) f(at * columns.input + first * columns.stride + j - columns.before, first, end - first);
    }
  }
}

void average_forward(const AverageArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const Shape& x = in[0].shape();
  const Pool pool = args.pool(x[2], x[3]);
  const std::int64_t inputs = x[2] * x[3], width = pool.columns.output, stride = pool.columns.stride;
  dispatch_floating(out.dtype, [&]<typename T>() {
    const std::vector<T> high = counts<T>(args, pool.rows), wide = counts<T>(args, pool.columns);
    reduction::for_units(x[0] * x[1], inputs, [&](std::int64_t plane) {
      const T* const from = in[0].data<T>() + plane * inputs;
      T* y = out.data<T>() + plane * pool.rows.output * width;
      for (std::int64_t row = 0; row < pool.rows.output; ++row, y += width) {
        std::fill_n(y, width, T{0});
        for_runs(pool, row, [&](std::int64_t place, std::int64_t first, std::int64_t n) {
          for (std::int64_t o = 0; o < n; ++o) y[first + o] += from[place + o * stride];
        });
        for (std::int64_t o = 0; o < width; ++o)
          y[o] /= high[static_cast<std::size_t>(row)] * wide[static_cast<std::size_t>(o)];
      }
    });
  });
}

void spread_forward(const SpreadArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const Shape& x = out.shape();
  const Pool pool = args.pool(x[2], x[3]);
  const std::int64_t inputs = x[2] * x[3], width = pool.columns.output, stride = pool.columns.stride;
  dispatch_floating(out.dtype, [&]<typename T>() {
    const std::vector<T> high = counts<T>(args, pool.rows), wide = counts<T>(args, pool.columns);
    reduction::for_units(x[0] * x[1], inputs, [&](std::int64_t plane) {
      const T* g = in[0].data<T>() + plane * pool.rows.output * width;
      T* const to = out.data<T>() + plane * inputs;
      std::vector<T> share(static_cast<std::size_t>(width));
      std::fill_n(to, inputs, T{0});
      for (std::int64_t row = 0; row < pool.rows.output; ++row, g += width) {
        for (std::size_t o = 0; o < share.size(); ++o)
          share[o] = g[o] / (high[static_cast<std::size_t>(row)] * wide[o]);
        for_runs(pool, row, [&](std::int64_t place, std::int64_t first, std::int64_t n) {
          for (std::int64_t o = 0; o < n; ++o) to[place + o * stride] += share[static_cast<std::size_t>(first + o)];
        });
      }
    });
  });
}

Tensor image(std::initializer_list<std::initializer_list<double>> rows) {
  const Tensor plane = tensor(rows, f64);
  return from_values(plane.values<double>(), {1, 1, plane.shape()[0], plane.shape()[1]}, f64);
}

const TypedOp<SpreadArgs>& spread_op();

const TypedOp<AverageArgs>& average_op() {
  static const TypedOp<AverageArgs> op({
      .name = "average_pool2d",
      .doc = "The mean of each window of x [n, c, h, w]; padding is left out, or counted as zeros.",
      .shape = [](const AverageArgs& args, const Specs& in) -> Spec {
        windows::check_images(in, 0, "x");
        const Shape& x = in.shape(0);
        const Pool pool = args.pool(x[2], x[3]);
        return {{x[0], x[1], pool.rows.output, pool.columns.output}, in.dtype(0)};
      },
      .forward = average_forward,
      // each element that a window sees takes its part of g
      .gradient = [](const AverageArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {apply(spread_op(), SpreadArgs{args, {call.shape(0)[2], call.shape(0)[3]}}, {g})};
      },
      .linear = Linear::jointly,
      .stacked = [](const AverageArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return as_one_batch(average_op(), boxed(args), in, which);
      },
      .samples = {{{}, {sample::uniform({2, 2, 4, 5})}},
                  {{.window = {3, 2}, .strides = {1, 2}, .padding = {1, 0, 0, 1}}, {sample::uniform({1, 2, 3, 4})}},
                  {{.padding = {1, 1, 1, 1}, .count_padding = true}, {sample::uniform({1, 1, 2, 4})}},
                  {{.window = {2, 3}, .same = true}, {sample::uniform({1, 1, 3, 5})}}},
      // The picture of Zhang and others, "Dive into Deep Learning", section 7.5.
      .examples = {{{.strides = {1, 1}}, {image({{0, 1, 2}, {3, 4, 5}, {6, 7, 8}})}, image({{2, 3}, {5, 6}})},
                   {{.same = true}, {image({{1, 2, 3}})}, image({{1.5, 3}})},
                   {{.padding = {0, 1, 0, 1}, .count_padding = true}, {image({{4, 8, 3}})}, image({{3, 0.75}})}},
      .refuses = {{{.padding = {2, 0, 0, 0}},
                   {sample::uniform({1, 1, 4, 4})},
                   "padding of 2 is more than half the window of 2"},
                  {{.window = {3, 3}}, {sample::uniform({1, 1, 2, 4})}, "the window reaches over 3 rows"},
                  {{.window = {3}}, {sample::uniform({1, 1, 4, 4})}, "the window must be 2 numbers, not 1"},
                  {{}, {sample::uniform({4, 4})}, "x must have four axes, not 2"}},
  });
  return op;
}

const TypedOp<SpreadArgs>& spread_op() {
  static const TypedOp<SpreadArgs> op({
      .name = "average_pool2d_gradient",
      .doc = "What average_pool2d passes back to images of this size from g, the gradient of its output.",
      .shape = [](const SpreadArgs& args, const Specs& in) -> Spec {
        windows::check_images(in, 0, "g");
        if (args.size.size() != 2) throw Error(fmt::format("the size must be 2 numbers, not {}", args.size.size()));
        const Shape& g = in.shape(0);
        const Pool pool = args.pool(args.size[0], args.size[1]);
        const Shape expected{g[0], g[1], pool.rows.output, pool.columns.output};
        if (g != expected) throw Error(fmt::format("g must be {}, not {}", expected.text(), g.text()));
        return {{g[0], g[1], args.size[0], args.size[1]}, in.dtype(0)};
      },
      .forward = spread_forward,
      .gradient = [](const SpreadArgs& args, const Call&, const Tensor& h) -> Tensors {
        return {apply(average_op(), AverageArgs(args), {h})};
      },
      .linear = Linear::jointly,
      .stacked = [](const SpreadArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return as_one_batch(spread_op(), boxed(args), in, which);
      },
      .samples = {{{}, {sample::uniform({2, 1, 1, 1})}},
                  {{{.window = {3, 2}, .strides = {1, 2}, .padding = {1, 0, 0, 1}}, {3, 4}},
                   {sample::uniform({1, 2, 2, 2})}},
                  {{{.window = {1, 1}, .strides = {1, 1}}, {1, 1}}, {sample::uniform({1, 1, 1, 1})}}},
      .examples = {{{}, {image({{8}})}, image({{2, 2}, {2, 2}})},
                   {{{.window = {1, 2}, .strides = {1, 1}}, {1, 3}}, {image({{2, 6}})}, image({{1, 4, 3}})}},
      .refuses = {{{{}, {4, 4}}, {sample::uniform({1, 1, 4, 4})}, "g must be (1, 1, 2, 2), not (1, 1, 4, 4)"},
                  {{{}, {4}}, {sample::uniform({1, 1, 2, 2})}, "the size must be 2 numbers, not 1"}},
  });
  return op;
}

}  // namespace

Tensor average_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const Numbers window = options.window.list();
  const Numbers strides = options.strides.rows == 0 && options.strides.columns == 0 ? window : options.strides.list();
  const AverageArgs args{window, strides, options.padding.widths(), options.padding.same(), options.count_padding};
  return windows::channels_first(x, options.channels_last,
                                 [&](const Tensor& images) { return apply(average_op(), args, {images}); });
}

std::vector<const Op*> average_pooling_ops() { return {&average_op(), &spread_op()}; }

}  // namespace twopass
