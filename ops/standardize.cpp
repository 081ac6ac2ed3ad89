#include <fmt/format.h>

#include <cmath>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/normalization.h>
#include <twopass/ops/reduction_kernels.h>

namespace twopass {
namespace {

using namespace reduction;

struct StandardizeArgs {
  std::vector<std::int64_t> axes{};
  double epsilon = 1e-3;
  static constexpr auto fields =
      std::tuple{field("axes", &StandardizeArgs::axes), field("epsilon", &StandardizeArgs::epsilon)};
};

// Two passes, the mean corrected in between by the mean distance to it, so that a constant comes out as 0 exactly.
template <typename T>
void moments(const Fold& x, double epsilon, double* first, T* means, T* scales) {
  const auto n = static_cast<double>(x.count);
  reduce<double, T>(Adding<double>(), x, first, [n](double total, std::int64_t) { return total / n; });
  const Buffer memory(static_cast<std::size_t>(x.outer * x.inner) * sizeof(double));
  double* const exact = reinterpret_cast<double*>(memory.data());
  reduce<double, T>(Distances<T, 1>{{}, first}, x, exact,
                    [=](double total, std::int64_t to) { return first[to] + total / n; });
  reduce<double, T>(Distances<T, 2>{{}, exact}, x, scales,
                    [=](double total, std::int64_t) { return static_cast<T>(1 / std::sqrt(total / n + epsilon)); });
  for (std::int64_t k = 0; k < x.outer * x.inner; ++k) means[k] = static_cast<T>(exact[k]);
}

// y = (x - mean) scale, element by element.
template <typename T>
void center_and_scale(const void*, std::span<const Operand> in, std::byte* out, std::int64_t n, DType) {
  const T *x = in[0].data<T>(), *mean = in[1].data<T>(), *scale = in[2].data<T>();
  T* const to = reinterpret_cast<T*>(out);
  const std::int64_t by_x = !in[0].splat, by_mean = !in[1].splat, by_scale = !in[2].splat;
  if (by_x && !by_mean && !by_scale)
    for (std::int64_t k = 0; k < n; ++k) to[k] = (x[k] - *mean) * *scale;
  else
    for (std::int64_t k = 0; k < n; ++k) to[k] = (x[k * by_x] - mean[k * by_mean]) * scale[k * by_scale];
}

void standardize_forward(const StandardizeArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const Fold x = fold(in[0], args.axes);
  const Shape kept_shape = reduced_shape(in[0].shape(), args.axes, true);
  dispatch_floating(out.dtype, [&]<typename T>() {
    const auto groups = static_cast<std::size_t>(x.outer * x.inner);
    const Buffer first(groups * sizeof(double)), means(groups * sizeof(T)), scales(groups * sizeof(T));
    moments<T>(x, args.epsilon, reinterpret_cast<double*>(first.data()), reinterpret_cast<T*>(means.data()),
               reinterpret_cast<T*>(scales.data()));
    const View operands[] = {in[0], {means.data(), &kept_shape, out.dtype}, {scales.data(), &kept_shape, out.dtype}};
    run_elementwise(center_and_scale<T>, nullptr, operands, out);
  });
}

// r (g - mean(g) - y mean(g y)) with r = 1 / sqrt(variance + epsilon) and means over the axes
Tensor passed(const StandardizeArgs& args, const Call& call, const Tensor& g) {
  const Tensor x = call.input(0), y = call.output();
  if (!x.shape().open() && x.elements() == 0) return g;
  const Tensor r = rsqrt(var(x, args.axes, keep_axis) + args.epsilon);
  return r * (g - mean(g, args.axes, keep_axis) - y * mean(g * y, args.axes, keep_axis));
}

const TypedOp<StandardizeArgs>& standardize_op() {
  static const TypedOp<StandardizeArgs> op({
      .name = "standardize",
      .doc = "(x - mean) / sqrt(variance + epsilon), mean and biased variance over axes (all where none is named).",
      .shape = [](const StandardizeArgs& args, const Specs& in) -> Spec {
        if (!(args.epsilon > 0)) throw Error(fmt::format("epsilon must be positive, not {}", args.epsilon));
        reduced_axes(in.shape(0), args.axes);
        return same_floating(args, in);
      },
      .forward = standardize_forward,
      .rows = rows_apart<StandardizeArgs>,
      .scratch = folded_scratch<StandardizeArgs, 2, 2>,
      .keeps = Keep::first | Keep::output,
      .gradient = [](const StandardizeArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {passed(args, call, g)};
      },
      // the Jacobian is symmetric
      .tangent = [](const StandardizeArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return passed(args, call, t[0]);
      },
      .samples = {{{{1}, 1e-3}, {sample::uniform({3, 4})}},
                  {{{0, 2}, 1e-3}, {sample::uniform({2, 3, 2})}},
                  {{{}, 0.5}, {sample::uniform({5})}}},
      // the variance of 1, 2, 3, 6 is 3.5
      .examples = {{{{}, 0.5}, {{1, 2, 3, 6}}, {-1, -0.5, 0, 1.5}}, {{{1}, 1e-3}, {{{4, 4, 4}}}, {{0, 0, 0}}}},
      .refuses = {{{{0}, 0}, {sample::uniform({2})}, "epsilon must be positive, not 0"},
                  {{{1}, 1e-3}, {sample::uniform({2})}, "axis 1 is out of range for rank 1"},
                  {{{}, 1e-3}, {sample::integers({2}, 0, 3)}, "only f32 and f64"}},
  });
  return op;
}

}  // namespace

Tensor standardize(const Tensor& x, const Axes& axes, double epsilon) {
  return apply(standardize_op(), StandardizeArgs{axes.list(), epsilon}, {x});
}

std::vector<const Op*> normalization_ops() { return {&standardize_op()}; }

}  // namespace twopass
