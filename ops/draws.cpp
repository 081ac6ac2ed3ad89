#include <twopass/ops/draws.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include <twopass/core/random.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/normal_quantile.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/sorting.h>

namespace twopass {
namespace {

struct DrawArgs {
  Shape shape{};
  DType dtype = f32;
  std::int64_t key = 0;
  static constexpr auto fields =
      std::tuple{field("shape", &DrawArgs::shape), field("dtype", &DrawArgs::dtype), field("key", &DrawArgs::key)};
};
struct IntegerArgs {
  Shape shape{};
  std::int64_t low = 0;
  std::int64_t high = 1;
  std::int64_t key = 0;
  static constexpr auto fields = std::tuple{field("shape", &IntegerArgs::shape), field("low", &IntegerArgs::low),
                                            field("high", &IntegerArgs::high), field("key", &IntegerArgs::key)};
};

void check_draw(const Shape& shape, const Specs& in) {
  if (in.dtype(0) != i64 || in.shape(0).rank() != 0)
    throw Error(fmt::format("step must be an i64 scalar, not {} {}", name_of(in.dtype(0)), in.shape(0).text()));
  if (shape.open()) throw Error(fmt::format("the shape {} has an open axis", shape.text()));
}

Spec draw_rule(const DrawArgs& args, const Specs& in) {
  check_draw(args.shape, in);
  if (!is_floating(args.dtype)) throw Error(fmt::format("only f32 and f64 have this, not {}", name_of(args.dtype)));
  return {args.shape, args.dtype};
}

// to[k] = f(64 bits): two words of the Philox blocks of (k / 2, step) under the key.
template <typename T, typename F>
void fill(T* to, std::int64_t n, std::int64_t key, std::int64_t step, const F& f) {
  constexpr std::int64_t kGroup = 2 * kPhiloxBlocks;  // elements that are drawn together
  const auto whole = static_cast<std::uint64_t>(key);
  const std::array<std::uint32_t, 2> words_of_key{static_cast<std::uint32_t>(whole),
                                                  static_cast<std::uint32_t>(whole >> 32)};
  reduction::for_units((n + kGroup - 1) / kGroup, 8 * kGroup, [&](std::int64_t group) {
    std::array<std::uint32_t, 2 * kGroup> words;
    philox_blocks(static_cast<std::uint64_t>(group) * kPhiloxBlocks, static_cast<std::uint64_t>(step), words_of_key,
                  words);
    const std::int64_t count = std::min(kGroup, n - group * kGroup);
    for (std::int64_t k = 0; k < count; ++k) {
      const auto at = static_cast<std::size_t>(2 * k);
      to[group * kGroup + k] = static_cast<T>(f(words[at] | std::uint64_t{words[at + 1]} << 32));
    }
  });
}

// In (0, 1), never at an end.
double inside(std::uint64_t bits) { return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52; }

double normal_of(std::uint64_t bits) { return kernels::normal_quantile(inside(bits)); }
double truncated_normal_of(std::uint64_t bits) {
  constexpr double kBelow = 0.022750131948179209;  // Φ(-2)
  return kernels::normal_quantile(kBelow + inside(bits) * (1 - 2 * kBelow));
}

template <double (*of)(std::uint64_t)>
void normal_forward(const DrawArgs& args, Inputs in, Output out) {
  dispatch_floating(
      out.dtype, [&]<typename T>() { fill(out.data<T>(), out.elements(), args.key, *in[0].data<std::int64_t>(), of); });
}

Tensor no_step() { return tensor(std::int64_t{0}); }

const TypedOp<DrawArgs>& draw_uniform_op() {
  static const TypedOp<DrawArgs> op({
      .name = "draw_uniform",
      .doc = "Elements uniform in [0, 1), from a key and a step.",
      .shape = draw_rule,
      .forward =
          [](const DrawArgs& args, Inputs in, Output out) {
            const std::int64_t step = *in[0].data<std::int64_t>();
            if (out.dtype == f32)  // as many bits as it has, or it would round up to 1
              fill(out.data<float>(), out.elements(), args.key, step,
                   [](std::uint64_t bits) { return static_cast<float>(bits >> 40) * 0x1p-24F; });
            else
              fill(out.data<double>(), out.elements(), args.key, step,
                   [](std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; });
          },
      .samples = {{{{2, 3}, f64, 7}, {tensor(std::int64_t{3})}}},
      // The block of counter 0 and key 0 is 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (kat_vectors of Random123).
      .examples = {{{{2}, f64, 0}, {no_step()}, {0.8805201978886142, 0.6054818538799213}}},
      .refuses = {{{{2}, f64, 0}, {sample::integers({2}, 0, 3)}, "step must be an i64 scalar, not i64 (2,)"},
                  {{{2}, i64, 0}, {no_step()}, "only f32 and f64 have this, not i64"}},
  });
  return op;
}

const TypedOp<DrawArgs>& draw_normal_op() {
  static const TypedOp<DrawArgs> op({
      .name = "draw_normal",
      .doc = "Standard normal elements, from a key and a step.",
      .shape = draw_rule,
      .forward = normal_forward<normal_of>,
      .samples = {{{{2, 3}, f64, 7}, {tensor(std::int64_t{3})}}},
      // SciPy's norm.ppf of the uniform numbers
      .examples = {{{{2}, f64, 0}, {no_step()}, {1.1775912390542733, 0.26756224953309987}}},
      .refuses = {{{{2}, f64, 0}, {sample::uniform({})}, "step must be an i64 scalar, not f64 ()"},
                  {{{2}, boolean, 0}, {no_step()}, "only f32 and f64 have this, not bool"}},
  });
  return op;
}

const TypedOp<DrawArgs>& draw_truncated_normal_op() {
  static const TypedOp<DrawArgs> op({
      .name = "draw_truncated_normal",
      .doc = "Standard normal elements of at most two standard deviations, from a key and a step.",
      .shape = draw_rule,
      .forward = normal_forward<truncated_normal_of>,
      .samples = {{{{2, 3}, f64, 7}, {tensor(std::int64_t{3})}}},
      // SciPy's truncnorm.ppf of the uniform numbers
      .examples = {{{{2}, f64, 0}, {no_step()}, {1.094839077665341, 0.25511381199551597}}},
      .refuses = {{{{2}, f64, 0}, {sample::uniform({})}, "step must be an i64 scalar, not f64 ()"},
                  {{{2}, i64, 0}, {no_step()}, "only f32 and f64 have this, not i64"}},
  });
  return op;
}

const TypedOp<IntegerArgs>& draw_integers_op() {
  static const TypedOp<IntegerArgs> op({
      .name = "draw_integers",
      .doc = "i64 elements uniform in low … high-1, from a key and a step.",
      .shape = [](const IntegerArgs& args, const Specs& in) -> Spec {
        check_draw(args.shape, in);
        if (args.low >= args.high)
          throw Error(fmt::format("there is no integer from {} to below {}", args.low, args.high));
        return {args.shape, i64};
      },
      .forward =
          [](const IntegerArgs& args, Inputs in, Output out) {
            __extension__ using Wide = unsigned __int128;
            const std::uint64_t low = static_cast<std::uint64_t>(args.low);
            const std::uint64_t range = static_cast<std::uint64_t>(args.high) - low;
            // Lemire's multiplication; the bias of at most range / 2^64 is far below what can be seen.
            fill(out.data<std::int64_t>(), out.elements(), args.key, *in[0].data<std::int64_t>(),
                 [=](std::uint64_t bits) { return low + static_cast<std::uint64_t>((Wide{bits} * range) >> 64); });
          },
      .samples = {{{{2, 3}, -3, 9, 7}, {tensor(std::int64_t{3})}}},
      .examples = {{{{2}, -5, 5, 0}, {no_step()}, tensor({3, 1})}},
      .refuses = {{{{2}, 3, 3, 0}, {no_step()}, "there is no integer from 3 to below 3"},
                  {{{2}, 0, 3, 0}, {sample::uniform({})}, "step must be an i64 scalar"}},
  });
  return op;
}

DrawArgs args_of(const Shape& shape, const Draw& draw, DType dtype) {
  return {shape, dtype, static_cast<std::int64_t>(draw.key)};
}

}  // namespace

Tensor draw_uniform(const Shape& shape, const Draw& draw, DType dtype) {
  return apply(draw_uniform_op(), args_of(shape, draw, dtype), {draw.step});
}
Tensor draw_normal(const Shape& shape, const Draw& draw, DType dtype) {
  return apply(draw_normal_op(), args_of(shape, draw, dtype), {draw.step});
}
Tensor draw_truncated_normal(const Shape& shape, const Draw& draw, DType dtype) {
  return apply(draw_truncated_normal_op(), args_of(shape, draw, dtype), {draw.step});
}
Tensor draw_gumbel(const Shape& shape, const Draw& draw, DType dtype) {
  return neg(log(neg(log(draw_uniform(shape, draw, dtype)))));
}
Tensor draw_integers(const Shape& shape, std::int64_t low, std::int64_t high, const Draw& draw) {
  return apply(draw_integers_op(), IntegerArgs{shape, low, high, static_cast<std::int64_t>(draw.key)}, {draw.step});
}
Tensor draw_permutation(std::int64_t n, const Draw& draw) { return argsort(draw_uniform({n}, draw, f64)); }

Tensor sample_uniform(const Tensor& low, const Tensor& high, const Draw& draw) {
  return low + (high - low) * draw_uniform(broadcast(low.shape(), high.shape()), draw, low.dtype());
}
Tensor sample_normal(const Tensor& mean, const Tensor& stddev, const Draw& draw) {
  return mean + stddev * draw_normal(broadcast(mean.shape(), stddev.shape()), draw, mean.dtype());
}
Tensor sample_bernoulli(const Tensor& probability, const Draw& draw) {
  return cast(draw_uniform(probability.shape(), draw, probability.dtype()) < probability, probability.dtype());
}
// The largest of logits with Gumbel noise has the softmax's distribution (Gumbel, 1954).
Tensor sample_categorical(const Tensor& logits, const Draw& draw) {
  return argmax(logits + draw_gumbel(logits.shape(), draw, logits.dtype()), -1);
}

std::vector<const Op*> draw_ops() {
  return {&draw_uniform_op(), &draw_normal_op(), &draw_truncated_normal_op(), &draw_integers_op()};
}

}  // namespace twopass
