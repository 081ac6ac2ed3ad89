// A range that values must keep, as an op: so that a plan looks at them too.
#include <fmt/format.h>

#include <cstring>
#include <string>
#include <type_traits>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/rules.h>

namespace twopass {
namespace {

struct WithinArgs {
  double low = 0;
  double high = 1;
  std::string advice = {};
  static constexpr auto fields = std::tuple{field("low", &WithinArgs::low), field("high", &WithinArgs::high),
                                            field("advice", &WithinArgs::advice)};
};

// Integers are compared as doubles, which are as large as a bound can be.
template <typename T>
using Compared = std::conditional_t<is_floating(dtype_of<T>()), T, double>;

void within_forward(const WithinArgs& args, Inputs in, Output out) {
  dispatch(out.dtype, [&]<typename T>() {
    const T* const x = in[0].data<T>();
    const auto low = static_cast<Compared<T>>(args.low), high = static_cast<Compared<T>>(args.high);
    for (std::int64_t k = 0, n = out.elements(); k < n; ++k)
      if (static_cast<Compared<T>>(x[k]) < low || static_cast<Compared<T>>(x[k]) > high)
        throw Error(fmt::format("{} at flat index {} is outside [{}, {}]{}{}", x[k], k, args.low, args.high,
                                args.advice.empty() ? "" : ": ", args.advice));
    if (out.elements() > 0 && out.bytes != in[0].bytes)
      std::memcpy(out.bytes, in[0].bytes, static_cast<std::size_t>(out.elements()) * sizeof(T));
  });
}

const TypedOp<WithinArgs>& within_op() {
  static const TypedOp<WithinArgs> op({
      .name = "within",
      .doc = "x itself, refused where an element lies outside [low, high]; NaN passes.",
      .shape = rules::number,
      .forward = within_forward,
      .in_place = 0,
      // dx = g
      .gradient = [](const WithinArgs&, const Call&, const Tensor& g) -> Tensors { return {g}; },
      .samples = {{{-10, 10, ""}, {sample::uniform({2, 3})}}},
      .examples = {{{0, 1, ""}, {{0.0, 0.5, 1.0}}, {0.0, 0.5, 1.0}}, {{0, 2, ""}, {tensor({2, 0})}, tensor({2, 0})}},
      .refuses = {{{0, 1, "no probability"},
                   {tensor({0.5, 1.5}, f64)},
                   "1.5 at flat index 1 is outside [0, 1]: no probability"},
                  {{0, 2, ""}, {tensor({2, 0, -1})}, "-1 at flat index 2 is outside [0, 2]"},
                  {{0, 1, ""}, {sample::truths({3})}, "only f32, f64 and i64 have this, not bool"}},
  });
  return op;
}

}  // namespace

Tensor within(const Tensor& x, double low, double high, const std::string& advice) {
  return apply(within_op(), WithinArgs{low, high, advice}, {x});
}

std::vector<const Op*> guard_ops() { return {&within_op()}; }

}  // namespace twopass
