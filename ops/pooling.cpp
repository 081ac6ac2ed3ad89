#include <twopass/ops/pooling.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/ops/convolution.h>
#include <twopass/ops/pooling_kernels.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/stacking.h>
#include <twopass/ops/windows.h>

namespace twopass {
namespace {

using Numbers = std::vector<std::int64_t>;

struct PoolArgs {
  Numbers window = {2, 2};
  Numbers strides = {2, 2};
  Numbers padding = {0, 0, 0, 0};
  bool same = false;
  static constexpr auto fields = std::tuple{field("window", &PoolArgs::window), field("strides", &PoolArgs::strides),
                                            field("padding", &PoolArgs::padding), field("same", &PoolArgs::same)};
};

using pooling::quarters;
using pooling::stays;
using windows::Pool;

Pool pool_of(const PoolArgs& args, const Shape& x) {
  if (x[2] > 0 && x[3] > windows::kMost / x[2])
    throw Error(fmt::format("an image may have 2^31 - 1 places at most, not {} by {}", x[2], x[3]));
  return windows::pool(args.window, args.strides, args.padding, args.same, x[2], x[3]);
}

Spec pool_rule(const PoolArgs& args, const Specs& in) {
  windows::check_images(in, 0, "x");
  const Shape& x = in.shape(0);
  const Pool pool = pool_of(args, x);
  return {{x[0], x[1], pool.rows.output, pool.columns.output}, in.dtype(0)};
}

using Place = std::int32_t;  // in a plane: as wide as f32, so that both move in vectors

// The largest of each window of a row of outputs and, where asked, its places in the plane. A later element wins only
// if it is larger, or the first NaN. kStride is that along the row, 0 for any.
template <std::int64_t kStride, bool kPlaces, typename T>
void largest_of(const Pool& pool, const T* plane, std::int64_t row, T* best, Place* places) {
  const auto &rows = pool.rows, &columns = pool.columns;
  const std::int64_t stride = kStride ? kStride : columns.stride;
  bool begun = false;
  for (std::int64_t i = 0; i < rows.window; ++i) {
    const std::int64_t at_row = row * rows.stride - rows.before + i;
    if (at_row < 0 || at_row >= rows.input) continue;
    const T* const line = plane + at_row * columns.input;
    const auto line_place = static_cast<Place>(at_row * columns.input);
    if (!begun)  // each window's first column that is inside
      for (std::int64_t o = 0; o < columns.output; ++o) {
        const std::int64_t at = std::max<std::int64_t>(0, o * stride - columns.before);
        best[o] = line[at];
        if (kPlaces) places[o] = line_place + static_cast<Place>(at);
      }
    begun = true;
    for (std::int64_t j = 0; j < columns.window; ++j) {
      const std::int64_t first = columns.first(j), count = columns.end(j) - first;
      const T* const from = line + first * stride + j - columns.before;
      T* const to = best + first;
      Place* const at = places + first;
      const Place place = line_place + static_cast<Place>(from - line);
      for (std::int64_t o = 0; o < count; ++o) {
        const T value = from[o * stride];
        if (kPlaces) at[o] = stays(to[o], value, at[o], place + static_cast<Place>(o * stride));
        to[o] = stays(to[o], value, to[o], value);
      }
    }
  }
}

template <bool kPlaces, typename T>
void largest(const Pool& pool, const T* plane, std::int64_t row, T* best, Place* places) {
  if (pool.columns.stride == 1) return largest_of<1, kPlaces>(pool, plane, row, best, places);
  if (pool.columns.stride == 2) return largest_of<2, kPlaces>(pool, plane, row, best, places);
  largest_of<0, kPlaces>(pool, plane, row, best, places);
}

// The largest of n quarters in two rows of x.
template <typename T>
void largest_quarters(const T* upper, const T* lower, std::int64_t n, T* y) {
  for (std::int64_t o = 0; o < n; ++o) {
    const T a = upper[2 * o], b = upper[2 * o + 1], c = lower[2 * o], d = lower[2 * o + 1];
    const T ab = stays(a, b, a, b), abc = stays(ab, c, ab, c);
    y[o] = stays(abc, d, abc, d);
  }
}

// Puts n elements of g where the quarters have their largest.
template <typename T>
void spread_quarters(const T* upper, const T* lower, const T* g, std::int64_t n, T* to_upper, T* to_lower) {
  const T none = 0;
  for (std::int64_t o = 0; o < n; ++o) {
    const T a = upper[2 * o], b = upper[2 * o + 1], c = lower[2 * o], d = lower[2 * o + 1];
    const T ab = stays(a, b, a, b), abc = stays(ab, c, ab, c);
    const T for_abc = stays(abc, d, g[o], none), for_ab = stays(ab, c, for_abc, none);
    to_upper[2 * o] = stays(a, b, for_ab, none);
    to_upper[2 * o + 1] = stays(a, b, none, for_ab);
    to_lower[2 * o] = stays(ab, c, none, for_abc);
    to_lower[2 * o + 1] = stays(abc, d, none, g[o]);
  }
}

// The same for a plane of quarters; short rows are brought together, as vectors want many elements.
template <typename T>
void spread_plane(const T* x, const T* g, std::int64_t rows, std::int64_t width, T* dx) {
  constexpr std::int64_t kLong = 32;
  T from[2][2 * kLong], to[2][2 * kLong];
  const std::int64_t together = width < kLong ? kLong / width : 1, line = 2 * width;
  for (std::int64_t row = 0; row < rows; row += together, x += 2 * together * line, dx += 2 * together * line) {
    const std::int64_t count = std::min(together, rows - row);
    if (together == 1) {
      spread_quarters(x, x + line, g + row * width, width, dx, dx + line);
      continue;
    }
    for (std::int64_t r = 0; r < 2 * count; ++r) std::copy_n(x + r * line, line, from[r % 2] + r / 2 * line);
    spread_quarters(from[0], from[1], g + row * width, count * width, to[0], to[1]);
    for (std::int64_t r = 0; r < 2 * count; ++r) std::copy_n(to[r % 2] + r / 2 * line, line, dx + r * line);
  }
}

// Calls f(place in x, place in the output) for each plane.
template <typename F>
void for_planes(const Pool& pool, const Shape& x, const F& f) {
  const std::int64_t inputs = pool.rows.input * pool.columns.input, outputs = pool.rows.output * pool.columns.output;
  reduction::for_units(x[0] * x[1], std::max<std::int64_t>(1, inputs),
                       [&](std::int64_t plane) { f(plane * inputs, plane * outputs); });
}

void pool_forward(const PoolArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const Pool pool = pool_of(args, in[0].shape());
  dispatch_floating(out.dtype, [&]<typename T>() {
    for_planes(pool, in[0].shape(), [&](std::int64_t from, std::int64_t to) {
      const std::int64_t width = pool.columns.output;
      const T* const plane = in[0].data<T>() + from;
      T* const y = out.data<T>() + to;
      for (std::int64_t row = 0; row < pool.rows.output; ++row)
        if (quarters(pool))
          largest_quarters(plane + 4 * row * width, plane + (4 * row + 2) * width, width, y + row * width);
        else
          largest<false>(pool, plane, row, y + row * width, nullptr);
    });
  });
}

// Calls f(place in x, place in the output) for the largest of each window, in order.
template <typename T, typename F>
void for_largest(const Pool& pool, const View& x, const F& f) {
  const std::int64_t width = pool.columns.output;
  for_planes(pool, x.shape(), [&](std::int64_t from, std::int64_t to) {
    const Buffer memory(static_cast<std::size_t>(width) * (sizeof(T) + sizeof(Place)));
    T* const best = reinterpret_cast<T*>(memory.data());
    Place* const places = reinterpret_cast<Place*>(best + width);
    for (std::int64_t row = 0; row < pool.rows.output; ++row) {
      largest<true>(pool, x.data<T>() + from, row, best, places);
      for (std::int64_t o = 0; o < width; ++o) f(from + places[o], to + row * width + o);
    }
  });
}

Spec pool_gradient_rule(const PoolArgs& args, const Specs& in) {
  const Spec pooled = pool_rule(args, in);
  windows::check_images(in, 1, "g");
  if (in.shape(1) != pooled.shape)
    throw Error(fmt::format("g must be {}, not {}", pooled.shape.text(), in.shape(1).text()));
  return in[0];
}

template <bool kGate>
void pool_gradient_forward(const PoolArgs& args, Inputs in, Output out) {
  const Pool pool = pool_of(args, out.shape());
  dispatch_floating(out.dtype, [&]<typename T>() {
    T* const dx = out.data<T>();
    if (quarters(pool))
      return for_planes(pool, out.shape(), [&](std::int64_t from, std::int64_t to) {
        const std::int64_t width = pool.columns.output;
        const T *const x = in[0].data<T>() + from, *const g = in[1].data<T>() + to;
        spread_plane(x, g, pool.rows.output, width, dx + from);
        if (kGate)
          for (std::int64_t k = 0; k < pool.rows.input * pool.columns.input; ++k)
            dx[from + k] = x[k] > 0 ? dx[from + k] : T{0};
      });
    std::fill_n(dx, out.elements(), T{0});
    if (in[1].elements() == 0) return;
    for_largest<T>(pool, in[0],
                   [dx, x = in[0].data<T>(), g = in[1].data<T>()](std::int64_t place, std::int64_t output) {
                     if (!kGate || x[place] > 0) dx[place] += g[output];
                   });
  });
}

Spec pick_rule(const PoolArgs& args, const Specs& in) {
  const Spec pooled = pool_rule(args, in);
  windows::check_images(in, 1, "h");
  if (in.shape(1) != in.shape(0))
    throw Error(fmt::format("h must be {}, not {}", in.shape(0).text(), in.shape(1).text()));
  return pooled;
}

void pick_forward(const PoolArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  dispatch_floating(out.dtype, [&]<typename T>() {
    for_largest<T>(
        pool_of(args, in[0].shape()), in[0],
        [y = out.data<T>(), h = in[1].data<T>()](std::int64_t place, std::int64_t output) { y[output] = h[place]; });
  });
}

// The place in its window that each output came from.
Branches pool_branches(const PoolArgs& args, const Tensors& in, const Tensor& y) {
  const Tensor& x = in[0];
  const Pool pool = pool_of(args, x.shape());
  const auto &rows = pool.rows, &columns = pool.columns;
  Branches found{.count = rows.window * columns.window,
                 .taken = std::vector<std::int64_t>(static_cast<std::size_t>(y.elements()))};
  const std::int64_t plane = rows.input * columns.input;
  dispatch_floating(x.dtype(), [&]<typename T>() {
    for_largest<T>(pool, View{x.node().data, &x.shape(), x.dtype()}, [&](std::int64_t place, std::int64_t output) {
      const std::int64_t row = place % plane / columns.input, column = place % columns.input;
      const std::int64_t to_row = output / columns.output % rows.output, to_column = output % columns.output;
      found.taken[static_cast<std::size_t>(output)] = (row + rows.before - to_row * rows.stride) * columns.window +
                                                      column + columns.before - to_column * columns.stride;
    });
  });
  return found;
}

template <pooling::Quarters kWhat>
std::optional<InBlocks> pool_in_blocks(const PoolArgs& args, const Specs& in, const ChannelBlocks& wanted) {
  const Shape& x = in.shape(0);
  if (x.open() || x.elements() == 0 || !quarters(pool_of(args, x))) return std::nullopt;
  return pooling::quarters_in_blocks(x, kWhat, wanted);
}

Tensor image(std::initializer_list<std::initializer_list<double>> rows) {
  const Tensor plane = tensor(rows, f64);
  return from_values(plane.values<double>(), {1, 1, plane.shape()[0], plane.shape()[1]}, f64);
}

const TypedOp<PoolArgs>& pool_gradient_op();
const TypedOp<PoolArgs>& gated_gradient_op();

// y takes h from where x is largest, and its gradient goes back there; x itself only chooses.
const TypedOp<PoolArgs>& pick_op() {
  static const TypedOp<PoolArgs> op({
      .name = "max_pool2d_pick",
      .doc = "The elements of h, of x's shape, where each window of x has its largest.",
      .shape = pick_rule,
      .forward = pick_forward,
      .keeps = Keep::first,
      .gradient = [](const PoolArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {Tensor(), call.wants(1) ? apply(pool_gradient_op(), args, {call.input(0), g}) : Tensor()};
      },
      .tangent = [](const PoolArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return t[1].defined() ? apply(pick_op(), args, {call.input(0), t[1]}) : Tensor();
      },
      .stacked = [](const PoolArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return all_as_one_batch(pick_op(), boxed(args), in, which);
      },
      .samples = {{{}, {sample::distinct({2, 1, 4, 4}), sample::uniform({2, 1, 4, 4})}}},
      .examples = {{{}, {image({{1, 4}, {3, 2}}), image({{5, 6}, {7, 8}})}, image({{6}})}},
      .refuses = {{{},
                   {sample::uniform({1, 1, 4, 4}), sample::uniform({1, 1, 2, 2})},
                   "h must be (1, 1, 4, 4), not (1, 1, 2, 2)"}},
  });
  return op;
}

// What plans make of relu's gradient behind that of max_pool2d.
const TypedOp<PoolArgs>& gated_gradient_op() {
  static const TypedOp<PoolArgs> op({
      .name = "max_pool2d_relu_gradient",
      .doc = "g, of max_pool2d's output, put where each window of x has its largest if that is above 0, x being a "
             "relu's output; zeros elsewhere: what plans make of both gradients.",
      .shape = pool_gradient_rule,
      .forward = pool_gradient_forward<true>,
      .in_blocks = pool_in_blocks<pooling::Quarters::relu_gradient>,
      .samples = {{{.window = {3, 2}, .strides = {1, 2}, .padding = {1, 0, 0, 1}},
                   {sample::distinct({1, 2, 3, 4}), sample::uniform({1, 2, 2, 2})}}},
      .examples = {{{}, {image({{1, 4, 0, -1}, {3, 2, -1, 0}}), image({{5, 6}})}, image({{0, 5, 0, 0}, {0, 0, 0, 0}})},
                   {{.strides = {1, 1}},
                    {image({{0, -1, -2}, {3, -9, -5}, {6, 7, 8}}), image({{1, 2}, {3, 4}})},
                    image({{0, 0, 0}, {1, 0, 0}, {0, 3, 4}})}},
      .refuses = {{{},
                   {sample::uniform({1, 1, 4, 4}), sample::uniform({1, 1, 4, 4})},
                   "g must be (1, 1, 2, 2), not (1, 1, 4, 4)"}},
  });
  return op;
}

const TypedOp<PoolArgs>& pool_gradient_op() {
  static const TypedOp<PoolArgs> op({
      .name = "max_pool2d_gradient",
      .doc =
          "g, of max_pool2d's output, put where each window of x has its largest, the first of ties; zeros elsewhere.",
      .shape = pool_gradient_rule,
      .forward = pool_gradient_forward<false>,
      .absorb = [](const PoolArgs& args, const Consumer& consumer) -> std::optional<Absorbed> {
        const bool relu = consumer.op.name() == "gate" && consumer.at == 0 && consumer.same == 0;
        return relu ? std::optional(Absorbed{&gated_gradient_op(), boxed(args), {0, 1}}) : std::nullopt;
      },
      .in_blocks = pool_in_blocks<pooling::Quarters::gradient>,
      .keeps = Keep::first,
      .gradient = [](const PoolArgs& args, const Call& call, const Tensor& h) -> Tensors {
        return {Tensor(), call.wants(1) ? apply(pick_op(), args, {call.input(0), h}) : Tensor()};
      },
      .tangent = [](const PoolArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return t[1].defined() ? apply(pool_gradient_op(), args, {call.input(0), t[1]}) : Tensor();
      },
      .stacked = [](const PoolArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return all_as_one_batch(pool_gradient_op(), boxed(args), in, which);
      },
      .samples = {{{.window = {3, 2}, .strides = {1, 2}, .padding = {1, 0, 0, 1}},
                   {sample::distinct({1, 2, 3, 4}), sample::uniform({1, 2, 2, 2})}},
                  {{.window = {3, 2}}, {sample::distinct({1, 1, 3, 2}), sample::uniform({1, 1, 1, 1})}}},
      .examples = {{{}, {image({{1, 4}, {3, 2}}), image({{5}})}, image({{0, 5}, {0, 0}})},
                   {{.strides = {1, 1}},
                    {image({{0, 1, 2}, {3, 9, 5}, {6, 7, 8}}), image({{1, 2}, {3, 4}})},
                    image({{0, 0, 0}, {0, 10, 0}, {0, 0, 0}})}},
      .refuses = {{{},
                   {sample::uniform({1, 1, 4, 4}), sample::uniform({1, 1, 4, 4})},
                   "g must be (1, 1, 2, 2), not (1, 1, 4, 4)"}},
  });
  return op;
}

const TypedOp<PoolArgs>& pool_op() {
  static const TypedOp<PoolArgs> op({
      .name = "max_pool2d",
      .doc = "The largest of each window of x [n, c, h, w]; of ties the first takes the gradient, NaN wins.",
      .shape = pool_rule,
      .forward = pool_forward,
      .in_blocks = pool_in_blocks<pooling::Quarters::largest>,
      .branches = pool_branches,
      .keeps = Keep::first,
      // dx = g where each window has its largest
      .gradient = [](const PoolArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {apply(pool_gradient_op(), args, {call.input(0), g})};
      },
      // dy = dx where each window has its largest
      .tangent = [](const PoolArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return apply(pick_op(), args, {call.input(0), t[0]});
      },
      .samples = {{{}, {sample::distinct({2, 2, 4, 5})}},
                  {{.window = {3, 2}, .strides = {1, 2}, .padding = {1, 0, 0, 1}}, {sample::distinct({1, 2, 3, 4})}},
                  {{.window = {2, 3}, .same = true}, {sample::distinct({1, 1, 3, 5})}}},
      // The picture of Zhang and others, "Dive into Deep Learning", section 7.5.
      .examples = {{{.strides = {1, 1}}, {image({{0, 1, 2}, {3, 4, 5}, {6, 7, 8}})}, image({{4, 5}, {7, 8}})},
                   {{.same = true}, {image({{-1, -2, -3}})}, image({{-1, -3}})}},
      .refuses = {{{.padding = {2, 0, 0, 0}},
                   {sample::uniform({1, 1, 4, 4})},
                   "padding of 2 is more than half the window of 2"},
                  {{.window = {3, 3}}, {sample::uniform({1, 1, 2, 4})}, "the window reaches over 3 rows"},
                  {{.strides = {0, 1}}, {sample::uniform({1, 1, 4, 4})}, "the strides must be from 1 to 2^31"},
                  {{}, {sample::uniform({4, 4})}, "x must have four axes, not 2"}},
  });
  return op;
}

}  // namespace

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const Numbers window = options.window.list();
  const Numbers strides = options.strides.rows == 0 && options.strides.columns == 0 ? window : options.strides.list();
  const PoolArgs args{window, strides, options.padding.widths(), options.padding.same()};
  return windows::channels_first(x, options.channels_last,
                                 [&](const Tensor& images) { return apply(pool_op(), args, {images}); });
}

std::vector<const Op*> pooling_ops() {
  std::vector<const Op*> ops{&pool_op(), &pool_gradient_op(), &gated_gradient_op(), &pick_op()};
  for (const Op* op : pooling::blocked_pooling_ops()) ops.push_back(op);
  return ops;
}

}  // namespace twopass
