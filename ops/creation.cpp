#include <twopass/ops/creation.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <twopass/ops/families.h>

namespace twopass {
namespace {

struct FullArgs {
  Shape shape{};
  double value = 0;
  DType dtype = f32;
  static constexpr auto fields =
      std::tuple{field("shape", &FullArgs::shape), field("value", &FullArgs::value), field("dtype", &FullArgs::dtype)};
};
struct RangeArgs {
  double start = 0;
  double stop = 0;
  double step = 1;
  DType dtype = f32;
  static constexpr auto fields = std::tuple{field("start", &RangeArgs::start), field("stop", &RangeArgs::stop),
                                            field("step", &RangeArgs::step), field("dtype", &RangeArgs::dtype)};
};
struct EyeArgs {
  std::int64_t n = 0;
  DType dtype = f32;
  static constexpr auto fields = std::tuple{field("n", &EyeArgs::n), field("dtype", &EyeArgs::dtype)};
};

void check_holds(double value, DType dtype) {
  if (dtype == i64 && !(value == std::floor(value) && std::abs(value) < 0x1p63))
    throw Error(fmt::format("{} is not an i64 number", value));
}

Spec range_rule(const RangeArgs& args, const Specs&) {
  if (args.step == 0) throw Error("a step of 0 goes nowhere");
  for (const double number : {args.start, args.stop, args.step}) {
    if (!std::isfinite(number)) throw Error(fmt::format("{} is not finite", number));
    check_holds(number, args.dtype);
  }
  if (args.dtype == boolean) throw Error("bool has no ranges");
  const double count = std::ceil((args.stop - args.start) / args.step);
  if (!(count < 0x1p62)) throw Error(fmt::format("{} elements are too many", count));
  return {{std::max<std::int64_t>(0, static_cast<std::int64_t>(std::max(count, 0.0)))}, args.dtype};
}

const TypedOp<FullArgs>& full_op() {
  static const TypedOp<FullArgs> op({
      .name = "full",
      .doc = "A tensor whose elements are all one value.",
      .shape = [](const FullArgs& args, const Specs&) -> Spec {
        static_cast<void>(args.shape.elements());  // refuses open axes
        check_holds(args.value, args.dtype);
        return {args.shape, args.dtype};
      },
      .forward =
          [](const FullArgs& args, Inputs, Output out) {
            dispatch(out.dtype,
                     [&]<typename T>() { std::fill_n(out.data<T>(), out.elements(), static_cast<T>(args.value)); });
          },
      .samples = {{{{2, 3}, 1.5, f64}, {}}},
      .examples = {{{{2}, 1.5, f64}, {}, tensor({1.5, 1.5}, f64)}},
      .refuses = {{{{2}, 1.5, i64}, {}, "1.5 is not an i64 number"}},
  });
  return op;
}

const TypedOp<RangeArgs>& arange_op() {
  static const TypedOp<RangeArgs> op({
      .name = "arange",
      .doc = "start, start + step, … below stop (above, for a negative step).",
      .shape = range_rule,
      .forward =
          [](const RangeArgs& args, Inputs, Output out) {
            dispatch(out.dtype, [&]<typename T>() {
              for (std::int64_t k = 0; k < out.elements(); ++k)
                out.data<T>()[k] = static_cast<T>(args.start + static_cast<double>(k) * args.step);
            });
          },
      .samples = {{{0, 1, 0.25, f64}, {}}},
      .examples = {{{1, 3, 0.5, f64}, {}, tensor({1.0, 1.5, 2.0, 2.5}, f64)}, {{3, 0, -2, i64}, {}, tensor({3, 1})}},
      .refuses = {{{0, 1, 0, f32}, {}, "step of 0"}, {{0, 1, 0.5, i64}, {}, "0.5 is not an i64 number"}},
  });
  return op;
}

const TypedOp<EyeArgs>& eye_op() {
  static const TypedOp<EyeArgs> op({
      .name = "eye",
      .doc = "The n × n identity matrix.",
      .shape = [](const EyeArgs& args, const Specs&) -> Spec {
        if (args.n < 0) throw Error(fmt::format("a matrix cannot have {} rows", args.n));
        return {{args.n, args.n}, args.dtype};
      },
      .forward =
          [](const EyeArgs& args, Inputs, Output out) {
            dispatch(out.dtype, [&]<typename T>() {
              std::fill_n(out.data<T>(), out.elements(), static_cast<T>(0));
              for (std::int64_t k = 0; k < args.n; ++k) out.data<T>()[k * args.n + k] = static_cast<T>(1);
            });
          },
      .samples = {{{3, f64}, {}}},
      .examples = {{{2, f64}, {}, tensor({{1.0, 0.0}, {0.0, 1.0}}, f64)}},
      .refuses = {{{-1, f32}, {}, "a matrix cannot have -1 rows"}},
  });
  return op;
}

}  // namespace

Tensor full(const Shape& shape, double value, DType dtype) {
  return apply(full_op(), FullArgs{shape, value, dtype}, {});
}
Tensor zeros(const Shape& shape, DType dtype) { return full(shape, 0, dtype); }
Tensor ones(const Shape& shape, DType dtype) { return full(shape, 1, dtype); }
Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.dtype()); }
Tensor ones_like(const Tensor& x) { return ones(x.shape(), x.dtype()); }
Tensor arange(double start, double stop, double step, DType dtype) {
  return apply(arange_op(), RangeArgs{start, stop, step, dtype}, {});
}
Tensor eye(std::int64_t n, DType dtype) { return apply(eye_op(), EyeArgs{n, dtype}, {}); }

std::vector<const Op*> creation_ops() { return {&full_op(), &arange_op(), &eye_op()}; }

}  // namespace twopass
