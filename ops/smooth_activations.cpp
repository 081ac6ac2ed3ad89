#include <twopass/ops/activations.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <vector>

#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/named.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rules.h>
#include <twopass/ops/scalar_kernels.h>
#include <twopass/ops/scans.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/sorting.h>
#include <twopass/ops/trigonometric.h>

namespace twopass {

using namespace kernels;

namespace {

// tanh(softplus(x)) = w / (w + 2) with w = n (n + 2), n = e^x: no digits cancel.
template <typename T>
T mish_of(T x) {
  if (x == -std::numeric_limits<T>::infinity()) return 0;
  if (x > 20) return x;
  const T n = std::exp(x), w = n * (n + 2);
  return x * (w / (w + 2));
}

const TypedOp<>& mish_op() {
  static const TypedOp<> op({
      .name = "mish",
      .doc = "x tanh(softplus(x)).",
      .shape = same_floating,
      .run = of_one<[](const auto x) { return mish_of(x); }>,
      .keeps = Keep::input,
      // with t = tanh(softplus(x)):  dx = (t + x σ(x) (1 - t²)) g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = clip(call.input(0), -1e30, 1e30);  // at ±inf the product below would be inf times 0
        const Tensor t = tanh(softplus(x));
        return {strong_mul(g, t + x * sigmoid(x) * (1.0 - square(t)))};
      },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{0, 1, -1, -20, -INFINITY}},
                    .output = {0, 0.865098388267310346, -0.303401461374108918, -4.12230724062876138e-8, 0}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

const TypedOp<>& softsign_op() {
  static const TypedOp<> op({
      .name = "softsign",
      .doc = "x / (1 + |x|).",
      .shape = same_floating,
      .run = of_one<[](const auto x) {
        return std::isinf(x) ? std::copysign(decltype(x + x)(1), x) : x / (1 + std::abs(x));
      }>,
      .keeps = Keep::input,
      // dx = g / (1 + |x|)²
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {strong_mul(g, square(reciprocal(1.0 + abs(call.input(0)))))};
      },
      .samples = {{.inputs = {sample::away_from({2, 3}, {0})}}},
      .examples = {{.inputs = {{0, 3, -1, INFINITY}}, .output = {0, 0.75, -0.5, 1}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}},
  });
  return op;
}

void check_bound(const char* name, const Tensor& x, double bound) {
  if (!(bound >= 0))
    throw Error(fmt::format("{}{}: the bound must be 0 or more, not {}", name, x.shape().text(), bound));
}
void check_positive(const char* name, const Tensor& x, const char* what, double value) {
  if (!(value > 0)) throw Error(fmt::format("{}{}: {} must be positive, not {}", name, x.shape().text(), what, value));
}

}  // namespace

Tensor mish(const Tensor& x) { return apply(mish_op(), {x}); }
Tensor softsign(const Tensor& x) { return apply(softsign_op(), {x}); }

Tensor selu(const Tensor& x) {
  return named("selu", {&x},
               [&] { return elu(x, 1.6732632423543772848170429916717) * 1.0507009873554804934193349852946; });
}
Tensor relu6(const Tensor& x) {
  return named("relu6", {&x}, [&] { return clip(relu(x), 0, 6); });
}
Tensor hard_sigmoid(const Tensor& x) {
  return named("hard_sigmoid", {&x}, [&] { return clip(x / 6.0 + 0.5, 0, 1); });
}
Tensor hard_silu(const Tensor& x) {
  return named("hard_silu", {&x}, [&] { return x * hard_sigmoid(x); });
}
Tensor hard_tanh(const Tensor& x) {
  return named("hard_tanh", {&x}, [&] { return clip(x, -1, 1); });
}
Tensor log_sigmoid(const Tensor& x) {
  return named("log_sigmoid", {&x}, [&] { return neg(softplus(neg(x))); });
}
Tensor prelu(const Tensor& x, const Tensor& slope) {
  return named("prelu", {&x, &slope}, [&] { return where(x > 0.0, x, slope * x); });
}

Tensor celu(const Tensor& x, double alpha) {
  return named("celu", {&x}, [&] {
    check_positive("celu", x, "alpha", alpha);
    // e^x of what is above is not taken, and may be infinite.
    const Tensor above = x > 0.0, held = where(above, scalar_like(0, x), x);
    // Where the dtype has no such alpha it is the limit.
    const double most =
        x.dtype() == f32 ? double{std::numeric_limits<float>::max()} : std::numeric_limits<double>::max();
    if (is_floating(x.dtype()) && alpha > most) return identity(x);
    return where(above, x, expm1(held / alpha) * alpha);
  });
}

Tensor hard_shrink(const Tensor& x, double bound) {
  return named("hard_shrink", {&x}, [&] {
    check_bound("hard_shrink", x, bound);
    return where(abs(x) <= bound, scalar_like(0, x), x);
  });
}
Tensor soft_shrink(const Tensor& x, double bound) {
  return named("soft_shrink", {&x}, [&] {
    check_bound("soft_shrink", x, bound);
    return where(abs(x) <= bound, scalar_like(0, x), x - where(x < 0.0, scalar_like(-bound, x), scalar_like(bound, x)));
  });
}
Tensor tanh_shrink(const Tensor& x) {
  return named("tanh_shrink", {&x}, [&] { return x - tanh(x); });
}
Tensor threshold(const Tensor& x, double bound, double value) {
  return named("threshold", {&x}, [&] { return where(x <= bound, scalar_like(value, x), x); });
}

Tensor squareplus(const Tensor& x, double b) {
  return named("squareplus", {&x}, [&] {
    check_positive("squareplus", x, "b", b);
    // From 2^27 √b on √(x² + b) is |x|, also where x is infinite, where hypot has no slope.
    const double far = std::ldexp(std::sqrt(b), 27);
    const Tensor root = where(abs(x) > far, abs(x), hypot(clip(x, -far, far), scalar_like(std::sqrt(b), x)));
    const Tensor below = x < 0.0, twice = root + where(below, neg(x), x);
    return where(below, b / 2 / twice, twice / 2.0);
  });
}

Tensor sparse_sigmoid(const Tensor& x) {
  return named("sparse_sigmoid", {&x}, [&] { return clip((x + 1.0) / 2.0, 0, 1); });
}
Tensor sparse_plus(const Tensor& x) {
  return named("sparse_plus", {&x}, [&] { return where(x < 1.0, square(relu(x + 1.0) / 2.0), x); });
}

// max(x - t, 0) with the t that makes the sum 1: (Σ - 1) / k over the k largest, as many as are above it.
Tensor sparsemax(const Tensor& x, int axis) {
  return named("sparsemax", {&x}, [&] {
    const std::int64_t size = rules::known_size(x.shape(), axis);
    const Tensor held = x - stop_gradient(max(x, axis, keep_axis)), sorted = sort(held, axis, Order::descending);
    const Tensor above = cumsum(sorted, axis) - 1.0;
    const int at = x.shape().axis(axis);
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.rank() - at), 1);
    sizes[0] = size;
    const Tensor rank = reshape(arange(1, static_cast<double>(sizes[0] + 1), 1, x.dtype()), sizes);
    const Tensor count = sum(cast(sorted * rank > above, i64), axis, keep_axis);
    return relu(held - take_along_axis(above, count - 1.0, axis) / cast(count, x.dtype()));
  });
}

Tensor glu(const Tensor& x, int axis) {
  return named("glu", {&x}, [&] {
    const std::int64_t size = x.shape()[axis];
    if (size < 0 || size % 2 != 0)
      throw Error(fmt::format("glu{}: axis {} does not fall into two halves", x.shape().text(), axis));
    const Tensors halves = split(x, {size / 2, size / 2}, axis);
    return halves[0] * sigmoid(halves[1]);
  });
}

std::vector<const Op*> smooth_ops() { return {&mish_op(), &softsign_op()}; }

}  // namespace twopass
