#include <twopass/ops/partial_sums.h>

#include <fmt/format.h>

#include <twopass/ops/kernels.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/rules.h>

namespace twopass::reduction {
namespace {

Spec partial_sums_rule(const NoArgs&, const Specs& in) {
  if (in.size() < 1 || in.size() > 2)
    throw Error(fmt::format("partial_sums takes x and perhaps c, not {} tensors", in.size()));
  const Shape& x = in.shape(0);
  if (!is_floating(in.dtype(0))) rules::refuse_dtype(in.dtype(0), "f32 and f64");
  if (x.rank() < 1) throw Error("x needs rows");
  if (x[0] == kOpen) throw Error("the number of rows must be known");
  const Shape sums = x.with(0, (x[0] + kLeafRows - 1) / kLeafRows);
  if (in.size() == 2 && (!(in.shape(1) == sums) || in.dtype(1) != in.dtype(0)))
    throw Error(fmt::format("c is {} {} but the sums are {} {}", name_of(in.dtype(1)), in.shape(1).text(),
                            name_of(in.dtype(0)), sums.text()));
  return {sums, in.dtype(0)};
}

void partial_sums_forward(const NoArgs&, Inputs in, Output out) {
  const std::int64_t count = in[0].shape()[0], inner = count ? in[0].elements() / count : 0;
  dispatch_floating(out.dtype, [&]<typename T>() {
    const T *x = in[0].data<T>(), *before = in.size() == 2 ? in[1].data<T>() : nullptr;
    T* const sums = out.data<T>();
    for_units((count + kLeafRows - 1) / kLeafRows, kLeafRows * inner, [&](std::int64_t unit) {
      T* const to = sums + unit * inner;
      if (!before)
        std::fill_n(to, inner, T{0});
      else if (before != sums)
        std::copy_n(before + unit * inner, inner, to);
      const std::int64_t first = unit * kLeafRows;
      join_rows(Adding<T>(), x + first * inner, std::min(kLeafRows, count - first), inner, inner, 0, to);
    });
  });
}

}  // namespace

const Op& partial_sums_op() {
  static const TypedOp<NoArgs> op({
      .name = "partial_sums",
      .doc = "Sums over the first axis, of 16 rows each, added one after another to c where it is given: what plans "
             "begin a sum over rows with.",
      .shape = partial_sums_rule,
      .forward = partial_sums_forward,
      .in_place = 1,
      .work = [](const NoArgs&, const Specs& in) { return static_cast<double>(in.shape(0).elements()); },
      .gathers = kLeafRows,
      .samples = {{{}, {sample::uniform({35, 3})}}, {{}, {sample::uniform({4, 2, 3}), sample::uniform({1, 2, 3})}}},
      .examples = {{{}, {{{1, 2}, {3, 4}}, {{10, 20}}}, {{14, 26}}}},
      .refuses = {{{}, {sample::integers({2, 2}, 0, 5)}, "f32 and f64"},
                  {{}, {sample::uniform({})}, "x needs rows"},
                  {{}, {sample::uniform({17, 2}), sample::uniform({1, 2})}, "(1, 2) but the sums are"},
                  {{}, {sample::uniform({2}), sample::uniform({1}), sample::uniform({1})}, "not 3 tensors"}},
  });
  return op;
}

std::vector<const Op*> partial_sum_ops() { return {&partial_sums_op()}; }

}  // namespace twopass::reduction
