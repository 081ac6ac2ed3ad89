// Max-pooling of images whose channels lie in blocks: what plans make of it between convolutions.
#include <fmt/format.h>

#include <cstring>

#include <twopass/ops/blocked.h>
#include <twopass/ops/pooling_kernels.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/vectors.h>

namespace twopass::pooling {
namespace {

void check_blocks(const Specs& in, std::size_t k, const char* name) {
  if (!is_floating(in.dtype(k))) throw Error(fmt::format("{} must be f32 or f64, not {}", name, name_of(in.dtype(k))));
  if (in.shape(k).rank() != 5) throw Error(fmt::format("{} must have five axes, not {}", name, in.shape(k).rank()));
}

Spec quarters_rule(const NoArgs&, const Specs& in) {
  check_blocks(in, 0, "x");
  const Shape& x = in.shape(0);
  if (x[2] % 2 != 0 || x[3] % 2 != 0)
    throw Error(fmt::format("images of {} by {} do not fall into quarters", x[2], x[3]));
  return {{x[0], x[1], x[2] / 2, x[3] / 2, x[4]}, in.dtype(0)};
}

Spec quarters_gradient_rule(const NoArgs& args, const Specs& in) {
  const Spec y = quarters_rule(args, in);
  check_blocks(in, 1, "g");
  if (in.shape(1) != y.shape || in.dtype(1) != y.dtype)
    throw Error(fmt::format("g must be {}, not {}", y.shape.text(), in.shape(1).text()));
  return in[0];
}

template <typename V, typename T>
V load(const T* from) {
  V made;
  std::memcpy(&made, from, sizeof made);
  return made;
}
template <typename V, typename T>
void store(const V& made, T* to) {
  std::memcpy(to, &made, sizeof made);
}

// A vector of channels, or one, of the four places of a window.
template <typename V>
struct Quarter {
  V a, b, c, d, ab, abc;

  template <typename T>
  Quarter(const T* upper, const T* lower, std::int64_t block)
      : a(load<V>(upper)),
        b(load<V>(upper + block)),
        c(load<V>(lower)),
        d(load<V>(lower + block)),
        ab(stays(a, b, a, b)),
        abc(stays(ab, c, ab, c)) {
    // The next two rows, which the processor does not guess in time: max_pool2d takes 0.58 instead of 0.71 ms in W6.
    const std::int64_t rows = 2 * (lower - upper);
    for (const T* const place : {upper, upper + block, lower, lower + block}) __builtin_prefetch(place + rows);
  }
  V best() const { return stays(abc, d, abc, d); }
  // Puts g where the window has its largest.
  template <typename T>
  void spread(const V& g, T* upper, T* lower, std::int64_t block) const {
    const V none{}, for_abc = stays(abc, d, g, none), for_ab = stays(ab, c, for_abc, none);
    store(stays(a, b, for_ab, none), upper);
    store(stays(a, b, none, for_ab), upper + block);
    store(stays(ab, c, none, for_abc), lower);
    store(stays(abc, d, none, g), lower + block);
  }
};

// Calls f(place of the upper row in x, of the lower one, place in y) for every `width` channels of each window, on
// several threads where there is much.
template <typename F>
void for_quarters(const Shape& x, std::int64_t width, const F& f) {
  const std::int64_t block = x[4], line = x[3] * block;
  reduction::for_units(x[0] * x[1] * x[2] / 2, 2 * line, [&](std::int64_t row) {
    const std::int64_t upper = 2 * row * line, lower = upper + line, y = row * line / 2;
    for (std::int64_t window = 0; window < line / 2; window += block)
      for (std::int64_t k = window; k < window + block; k += width) f(upper + window + k, lower + window + k, y + k);
  });
}

// f.operator()<T, V>() for the dtype's T and its vectors, or T again where they do not fit into a block.
template <typename F>
void with_vectors(DType dtype, std::int64_t block, const F& f) {
  dispatch_floating(dtype, [&]<typename T>() {
    using V = kernels::Vector<T>;
    if (block % kernels::kWidth<V> == 0) return f.template operator()<T, V>(kernels::kWidth<V>);
    f.template operator()<T, T>(1);
  });
}

void quarters_forward(const NoArgs&, Inputs in, Output out) {
  const Shape& x = in[0].shape();
  with_vectors(out.dtype, x[4], [&]<typename T, typename V>(std::int64_t width) {
    for_quarters(x, width,
                 [from = in[0].data<T>(), to = out.data<T>(), block = x[4]](std::int64_t upper, std::int64_t lower,
                                                                            std::int64_t y) {
                   store(Quarter<V>(from + upper, from + lower, block).best(), to + y);
                 });
  });
}

template <bool kGate>
void quarters_gradient_forward(const NoArgs&, Inputs in, Output out) {
  const Shape& x = out.shape();
  with_vectors(out.dtype, x[4], [&]<typename T, typename V>(std::int64_t width) {
    for_quarters(x, width,
                 [from = in[0].data<T>(), g = in[1].data<T>(), to = out.data<T>(), block = x[4]](
                     std::int64_t upper, std::int64_t lower, std::int64_t y) {
                   const Quarter<V> quarter(from + upper, from + lower, block);
                   const V back = load<V>(g + y);
                   quarter.spread(kGate ? (quarter.best() > 0 ? back : V{}) : back, to + upper, to + lower, block);
                 });
  });
}

// Zhang and others' numbers ("Dive into Deep Learning", section 7.5), once more tenfold as the second channel.
Tensor channels(std::initializer_list<double> values, const Shape& shape) {
  return from_values(std::vector<double>(values), shape, f64);
}

const TypedOp<NoArgs>& quarters_op() {
  static const TypedOp<NoArgs> op({
      .name = "max_pool2d_blocked",
      .doc = "max_pool2d with windows of two by two of images whose channels lie in blocks, [n, c / block, h, w, "
             "block]: what plans make of it between convolutions.",
      .shape = quarters_rule,
      .forward = quarters_forward,
      .samples = {{{}, {sample::distinct({2, 1, 4, 2, 3})}}},
      .examples = {{{}, {channels({0, 80, 1, 10, 3, 30, 4, 40}, {1, 1, 2, 2, 2})}, channels({4, 80}, {1, 1, 1, 1, 2})}},
      .refuses = {{{}, {sample::uniform({1, 1, 3, 2, 2})}, "images of 3 by 2 do not fall into quarters"},
                  {{}, {sample::uniform({1, 4, 2, 2})}, "x must have five axes, not 4"}},
  });
  return op;
}

template <bool kGate>
const TypedOp<NoArgs>& quarters_gradient_op() {
  static const TypedOp<NoArgs> op({
      .name = kGate ? "max_pool2d_blocked_relu_gradient" : "max_pool2d_blocked_gradient",
      .doc = kGate
                 ? "max_pool2d_relu_gradient of images in blocks, in windows of two by two."
                 : "g, of max_pool2d_blocked's output, put where each window of x has its largest, the first of ties.",
      .shape = quarters_gradient_rule,
      .forward = quarters_gradient_forward<kGate>,
      .samples = {{{}, {sample::distinct({2, 1, 4, 2, 3}), sample::uniform({2, 1, 2, 1, 3})}}},
      .examples = {{{},
                    {channels({0, 80, 1, 10, 3, 30, 4, 80}, {1, 1, 2, 2, 2}), channels({5, 6}, {1, 1, 1, 1, 2})},
                    channels({0, 6, 0, 0, 0, 0, 5, 0}, {1, 1, 2, 2, 2})},
                   {{},
                    {channels({0, -8, 0, -1, 0, -3, 0, -8}, {1, 1, 2, 2, 2}), channels({5, 6}, {1, 1, 1, 1, 2})},
                    kGate ? channels({0, 0, 0, 0, 0, 0, 0, 0}, {1, 1, 2, 2, 2})
                          : channels({5, 0, 0, 6, 0, 0, 0, 0}, {1, 1, 2, 2, 2})}},
      .refuses = {{{},
                   {sample::uniform({1, 1, 2, 2, 2}), sample::uniform({1, 1, 2, 2, 2})},
                   "g must be (1, 1, 1, 1, 2), not (1, 1, 2, 2, 2)"}},
  });
  return op;
}

const Op& quarters_record(Quarters what) {
  if (what == Quarters::largest) return quarters_op();
  return what == Quarters::gradient ? quarters_gradient_op<false>() : quarters_gradient_op<true>();
}

}  // namespace

std::optional<InBlocks> quarters_in_blocks(const Shape& x, Quarters what, const ChannelBlocks& wanted) {
  if (wanted.size == 0 || x[1] % wanted.size != 0 || !wanted.output) return std::nullopt;
  const unsigned all = what == Quarters::largest ? 1 : 3;
  return InBlocks{&quarters_record(what), {}, {wanted.size, all, true}, all};
}

std::vector<const Op*> blocked_pooling_ops() {
  return {&quarters_op(), &quarters_gradient_op<false>(), &quarters_gradient_op<true>()};
}

}  // namespace twopass::pooling
