#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <type_traits>

#include <twopass/core/random.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/random.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

struct DropoutArgs {
  double rate = 0;
  std::int64_t key = 0;
  static constexpr auto fields = std::tuple{field("rate", &DropoutArgs::rate), field("key", &DropoutArgs::key)};
};

Spec dropout_rule(const DropoutArgs& args, const Specs& in) {
  if (!(args.rate >= 0 && args.rate <= 1)) throw Error(fmt::format("rate {} is outside [0, 1]", args.rate));
  if (in.dtype(1) != i64 || in.shape(1).rank() != 0)
    throw Error(fmt::format("step must be an i64 scalar, not {} {}", name_of(in.dtype(1)), in.shape(1).text()));
  return same_floating(args, in);
}

std::uint32_t low_word(std::int64_t x) { return static_cast<std::uint32_t>(static_cast<std::uint64_t>(x)); }
std::uint32_t high_word(std::int64_t x) { return static_cast<std::uint32_t>(static_cast<std::uint64_t>(x) >> 32); }

// Word w of the Philox block of (block, step) under the key decides about element 4 block + w: kept where the word is
// at least rate 2^32. Dropped elements are masked, not multiplied: 0 inf would be NaN; and not branched upon.
template <typename T>
void drop(const DropoutArgs& args, std::int64_t step, const T* x, T* y, std::int64_t n) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  const T scale = static_cast<T>(1 / (1 - args.rate));
  if (args.rate == 1) {
    std::fill_n(y, n, T{0});
    return;
  }
  const auto threshold = static_cast<std::uint32_t>(std::min(args.rate * 0x1p32 + 0.5, 0x1p32 - 1));
  const std::array<std::uint32_t, 2> key{low_word(args.key), high_word(args.key)};
  constexpr std::int64_t kGroup = 4 * kPhiloxBlocks;  // elements that are decided together
  reduction::for_units((n + kGroup - 1) / kGroup, 4 * kGroup, [&](std::int64_t group) {
    std::array<std::uint32_t, kGroup> words;
    philox_blocks(static_cast<std::uint64_t>(group * kGroup / 4), static_cast<std::uint64_t>(step), key, words);
    const T* const from = x + group * kGroup;
    T* const to = y + group * kGroup;
    const std::int64_t count = std::min(kGroup, n - group * kGroup);
    for (std::int64_t k = 0; k < count; ++k) {
      const Bits kept = Bits{0} - static_cast<Bits>(words[static_cast<std::size_t>(k)] >= threshold);
      to[k] = std::bit_cast<T>(std::bit_cast<Bits>(from[k] * scale) & kept);
    }
  });
}

const TypedOp<DropoutArgs>& dropout_op();

// Linear in x:  dx = dropout(g) with the same mask
Tensors dropout_gradient(const DropoutArgs& args, const Call& call, const Tensor& g) {
  return {apply(dropout_op(), args, {g, call.input(1)}), {}};
}

const TypedOp<DropoutArgs>& dropout_op() {
  static const TypedOp<DropoutArgs> op({
      .name = "dropout",
      .doc = "x / (1 - rate) where the mask of (key, step) keeps it, which it does with probability 1 - rate, else 0.",
      .shape = dropout_rule,
      .forward =
          [](const DropoutArgs& args, Inputs in, Output out) {
            const std::int64_t step = *in[1].data<std::int64_t>();
            if (out.dtype == f32)
              drop(args, step, in[0].data<float>(), out.data<float>(), out.elements());
            else
              drop(args, step, in[0].data<double>(), out.data<double>(), out.elements());
          },
      .keeps = Keep::second,
      .gradient = dropout_gradient,
      .linear = Linear::jointly,
      // one mask for all
      .stacked = [](const DropoutArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        if (which[1]) return {};
        const Tensor mask = apply(dropout_op(), args, {ones(in[0].shape().without(0), in[0].dtype()), in[1]});
        return gate(in[0] * mask, mask);
      },
      .samples = {{{0.5, 7}, {sample::uniform({3, 5}), tensor(std::int64_t{3})}},
                  {{0, 7}, {sample::uniform({5}), tensor(std::int64_t{0})}}},
      // The block of counter 0 and key 0 is 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (kat_vectors of Random123).
      .examples = {{{0.5, 0}, {{1, 2, 3, 4}, tensor(std::int64_t{0})}, {0, 4, 6, 8}},
                   {{0.75, 0}, {{1, 2, 3, 4}, tensor(std::int64_t{0})}, {0, 8, 0, 0}},
                   {{1, 0}, {{1, 2}, tensor(std::int64_t{0})}, {0, 0}},
                   {{0, 0}, {{1, 2}, tensor(std::int64_t{0})}, {1, 2}}},
      .refuses = {{{1.5, 0}, {sample::uniform({2}), tensor(std::int64_t{0})}, "rate 1.5 is outside [0, 1]"},
                  {{0.5, 0},
                   {sample::uniform({2}), sample::integers({2}, 0, 3)},
                   "step must be an i64 scalar, not i64 (2,)"},
                  {{0.5, 0}, {sample::integers({2}, 0, 3), tensor(std::int64_t{0})}, "not i64"}},
  });
  return op;
}

// As x, which may have open axes.
Tensor ones_as(const Tensor& x) { return where(equal(x, x), scalar_like(1, x), scalar_like(1, x)); }

}  // namespace

Tensor dropout(const Tensor& x, double rate, std::uint64_t key, const Tensor& step) {
  return apply(dropout_op(), DropoutArgs{rate, static_cast<std::int64_t>(key)}, {x, step});
}

Tensor alpha_dropout(const Tensor& x, double rate, std::uint64_t key, const Tensor& step) {
  constexpr double kLimit = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717;
  const Tensor kept = dropout(ones_as(x), rate, key, step) > 0.0;
  if (rate == 1) return dropout(x, rate, key, step);
  const double scale = 1 / std::sqrt((1 - rate) * (1 + rate * kLimit * kLimit));
  return where(kept, x, scalar_like(kLimit, x)) * scale - scale * rate * kLimit;
}

Tensor channel_dropout(const Tensor& x, double rate, std::uint64_t key, const Tensor& step, int axis) {
  if (x.rank() < 2 || x.shape().axis(axis) == 0)
    throw Error(
        fmt::format("channel_dropout{}: axis {} is not one of channels behind the batch", x.shape().text(), axis));
  Tensor each = x;
  for (int other = 1; other < x.rank(); ++other)
    if (other != x.shape().axis(axis)) each = slice(each, other, 0, 1);
  const Tensor mask = dropout(ones_as(stop_gradient(each)), rate, key, step);
  return gate(x * mask, mask);
}

std::vector<const Op*> random_ops() {
  std::vector<const Op*> ops{&dropout_op()};
  const auto draws = draw_ops();
  ops.insert(ops.end(), draws.begin(), draws.end());
  return ops;
}

}  // namespace twopass
