#include <twopass/ops/norm.h>

#include <fmt/format.h>

#include <cmath>

#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/named.h>
#include <twopass/ops/reduction_kernels.h>

namespace twopass {
namespace {

using namespace reduction;

struct NormArgs {
  std::vector<std::int64_t> axes{};
  bool keep = false;
  double p = 2;
  static constexpr auto fields =
      std::tuple{field("axes", &NormArgs::axes), field("keep", &NormArgs::keep), field("p", &NormArgs::p)};
};

template <typename T>
struct LargestSize : Adding<T> {
  T load(T x, std::int64_t) const { return std::abs(x); }
  T join(T a, T b) const { return a > b || a != a ? a : b; }
};

// Powers of the elements relative to the largest, so that they neither overflow nor vanish.
template <typename T>
struct RelativePowers : Adding<double> {
  const T* largest;
  double p;
  double load(T x, std::int64_t to) const {
    const double ratio = static_cast<double>(std::abs(x)) / static_cast<double>(largest[to]);
    return p == 2 ? ratio * ratio : std::pow(ratio, p);
  }
};

// Above it powers of |x| / y make too much of y's rounding.
constexpr double kSteep = 16;

// y = (Σ |x|^p)^(1/p):  dx = sign(x) (|x| / y)^(p-1) g; 0 where y is 0. With r = |x| / max |x| it is
// sign(x) r^(p-1) (Σ r^p)^(1/p-1) g.
Tensors norm_gradient(const NormArgs& args, const Call& call, const Tensor& g) {
  const Tensor x = call.input(0), y = kept(call.output(), x.shape(), args.axes);
  const Tensor none = scalar_like(0, y), flat = equal(y, none), length = where(flat, scalar_like(1, y), y);
  const Tensor each = kept(g, x.shape(), args.axes);
  if (args.p == 2) return {x * where(flat, none, each / length)};
  if (args.p > kSteep) {
    const Tensor size = abs(x), largest = stop_gradient(max(size, args.axes, keep_axis));
    const Tensor ratio = size / where(flat, scalar_like(1, y), largest);
    const Tensor total = where(flat, scalar_like(1, y), sum(pow(ratio, args.p), args.axes, keep_axis));
    return {where(flat, none, each) * sign(x) * pow(ratio, args.p - 1) * pow(total, 1 / args.p - 1)};
  }
  const Tensor share = abs(x) / length, lone = args.p < 1 ? where(equal(x, none), scalar_like(1, x), share) : share;
  return {where(flat, none, each) * sign(x) * pow(lone, args.p - 1)};
}

const TypedOp<NormArgs>& norm_op() {
  static const TypedOp<NormArgs> op({
      .name = "norm",
      .doc = "(Σ |x|^p)^(1/p) over axes (all where none is named), without overflow; the gradient at 0 is 0.",
      .shape = [](const NormArgs& args, const Specs& in) -> Spec {
        if (!(args.p > 0)) throw Error(fmt::format("p must be positive, not {}", args.p));
        return {reduced_shape(in.shape(0), args.axes, args.keep), same_floating(args, in).dtype};
      },
      .forward =
          [](const NormArgs& args, Inputs in, Output out) {
            const Fold x = fold(in[0], args.axes);
            dispatch_floating(out.dtype, [&]<typename T>() {
              const Buffer memory(static_cast<std::size_t>(x.outer * x.inner) * sizeof(T));
              T* const largest = reinterpret_cast<T*>(memory.data());
              reduce<T, T>(LargestSize<T>(), x, largest, Plain());
              reduce<double, T>(RelativePowers<T>{{}, largest, args.p}, x, out.data<T>(),
                                [&](double total, std::int64_t to) {
                                  const T most = largest[to];
                                  if (most == 0 || !std::isfinite(most)) return most;
                                  const double root = args.p == 2 ? std::sqrt(total) : std::pow(total, 1 / args.p);
                                  return static_cast<T>(static_cast<double>(most) * root);
                                });
            });
          },
      .rows = rows_apart<NormArgs>,
      .scratch = folded_scratch<NormArgs, 0, 1>,
      .keeps = Keep::first | Keep::output,
      .gradient = norm_gradient,
      .samples = {{{}, {sample::uniform({2, 3})}},
                  {{{1}, true}, {sample::uniform({2, 3})}},
                  {{{0, 2}, false, 3}, {sample::away_from({2, 2, 3}, {0})}},
                  {{{1}, false, 20}, {sample::uniform({2, 3}, 1, 1.25)}},
                  {{{}, false, 1.5}, {sample::away_from({4}, {0})}},
                  {{{1}, false, 0.5}, {sample::away_from({2, 3}, {0})}}},
      .examples = {{{}, {{3, -4}}, tensor(5.0, f64)},
                   {{}, {{3e200, 4e200}}, tensor(5e200, f64)},
                   {{{}, false, 3}, {{3, 4, 5}}, tensor(6.0, f64)},
                   {{{}, false, 0.5}, {{4, -9, 0}}, tensor(25.0, f64)},
                   {{{1}, true}, {{{0, 0}, {5, 12}}}, tensor({{0.0}, {13.0}}, f64)}},
      .refuses = {{{{}, false, -0.5}, {sample::uniform({2})}, "p must be positive, not -0.5"},
                  {{{1}, false}, {sample::uniform({2})}, "axis 1 is out of range for rank 1"},
                  {{}, {sample::integers({2}, 0, 3)}, "only f32 and f64"}},
  });
  return op;
}

}  // namespace

Tensor norm(const Tensor& x, double p, const Axes& axes, KeepAxis keep) {
  return named("norm", {&x}, [&] {
    if (p == 1) return sum(abs(x), axes, keep);
    if (p == 0) return sum(abs(sign(x)), axes, keep);
    if (p == INFINITY) return max(abs(x), axes, keep);
    if (p == -INFINITY) return min(abs(x), axes, keep);
    return apply(norm_op(), NormArgs{axes.list(), keep == keep_axis, p}, {x});
  });
}

Tensor normalize(const Tensor& x, const Axes& axes, double epsilon) {
  return named("normalize", {&x}, [&] {
    const Tensor length = norm(x, 2, axes, keep_axis);
    return x / maximum(length, scalar_like(epsilon, x));
  });
}

Tensor cosine_similarity(const Tensor& a, const Tensor& b, int axis) {
  return named("cosine_similarity", {&a, &b}, [&] { return sum(normalize(a, axis) * normalize(b, axis), axis); });
}

std::vector<const Op*> norm_ops() { return {&norm_op()}; }

}  // namespace twopass
