// The elementwise family's list, and its ops that convert or hold elements.
#include <twopass/ops/elementwise.h>

#include <fmt/format.h>

#include <cmath>

#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/families.h>
#include <twopass/ops/kernels.h>
#include <twopass/ops/rules.h>

namespace twopass {

using namespace kernels;

struct CastArgs {
  DType dtype = f32;
  static constexpr auto fields = std::tuple{field("dtype", &CastArgs::dtype)};
};
const TypedOp<CastArgs>& cast_op() {
  static const TypedOp<CastArgs> op({
      .name = "cast",
      .doc = "x in another dtype; floating to i64 drops the fraction, to bool is x != 0.",
      .shape = [](const CastArgs& args, const Specs& in) -> Spec {
        return {in.shape(0), args.dtype};
      },
      .forward =
          [](const CastArgs&, Inputs in, Output out) {
            dispatch(in[0].dtype, [&]<typename From>() {
              dispatch(out.dtype, [&]<typename To>() {
                const From* from = in[0].data<From>();
                To* to = out.data<To>();
                for (std::int64_t k = 0; k < out.elements(); ++k) {
                  if constexpr (std::is_floating_point_v<From>)
                    if constexpr (std::is_same_v<To, std::int64_t>)
                      if (!(std::abs(from[k]) < From(9.2e18)))
                        throw Error(fmt::format("{} at place {} is no i64", from[k], k));
                  if constexpr (std::is_same_v<To, bool>)
                    to[k] = from[k] != From(0);
                  else
                    to[k] = static_cast<To>(from[k]);
                }
              });
            });
          },
      // dx = g in x's dtype
      .gradient = [](const CastArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {is_floating(call.dtype(0)) ? cast(g, call.dtype(0)) : Tensor()};
      },
      .linear = Linear::jointly,
      .stacked = [](const CastArgs& args, const Tensors& in, const std::vector<bool>&) -> Tensor {
        return cast(in[0], args.dtype);
      },
      .samples = {{.args = {.dtype = f64}, .inputs = {sample::uniform({2, 3})}}},
      .examples = {{.args = {.dtype = i64}, .inputs = {{1.75, -1.75}}, .output = tensor({1, -1})}},
      .refuses = {{.args = {.dtype = i64}, .inputs = {tensor({1e30})}, .message = "is no i64"}},
  });
  return op;
}
Tensor cast(const Tensor& x, DType dtype) { return x.dtype() == dtype ? x : apply(cast_op(), CastArgs{dtype}, {x}); }

struct ClipArgs {
  double low = 0, high = 1;
  static constexpr auto fields = std::tuple{field("low", &ClipArgs::low), field("high", &ClipArgs::high)};
};
// A bound that no number reaches is none.
Branches clip_branches(const ClipArgs& args, const Tensors& in, const Tensor&) {
  Branches found{.count = 1, .taken = {}, .names = {"between its bounds"}};
  const bool low = std::isfinite(args.low), high = std::isfinite(args.high);
  if (low) found.names.push_back("below its bounds");
  if (high) found.names.push_back("above its bounds");
  found.count = static_cast<std::int64_t>(found.names.size());
  for (const double x : in[0].values<double>())
    found.taken.push_back(low && x < args.low ? 1 : high && x > args.high ? found.count - 1 : 0);
  return found;
}

const TypedOp<ClipArgs>& clip_op() {
  static const TypedOp<ClipArgs> op({
      .name = "clip",
      .doc = "x held to [low, high]; high everywhere where low > high.",
      .shape = rules::number,
      .run =
          [](const ClipArgs& args, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            by_elements<1>(
                in, out, n, dtype, [&]<typename T>(T x) requires(!std::is_same_v<T, bool>) {
                  const auto low = static_cast<T>(args.low), high = static_cast<T>(args.high);
                  const T raised = x < low ? low : x;
                  return raised > high ? high : raised;
                });
          },
      .branches = clip_branches,
      .keeps = Keep::first,
      // dx = g where low <= x <= high, else 0
      .gradient = [](const ClipArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const Tensor x = call.input(0);
        return {where(logical_and(x >= args.low, x <= args.high), g, scalar_like(0, g))};
      },
      .samples = {{.args = {.low = -1, .high = 1}, .inputs = {sample::away_from({2, 3}, {-1, 1})}}},
      .examples = {{.args = {.low = -1, .high = 1}, .inputs = {{-3.0, 0.5, 2.0}}, .output = {-1.0, 0.5, 1.0}}},
      .refuses = {{.inputs = {sample::truths({2})}, .message = "not bool"}},
  });
  return op;
}
Tensor clip(const Tensor& x, double low, double high) { return apply(clip_op(), ClipArgs{low, high}, {x}); }

constexpr auto whole = [](const NoArgs&, const Shape&) -> std::int64_t { return 0; };

const TypedOp<>& identity_op() {
  static const TypedOp<> op({
      .name = "identity",
      .doc = "x itself, as a node of its own.",
      .shape = same_shape,
      .alias = whole,
      // dx = g
      .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {g}; },
      .linear = Linear::jointly,
      .stacked = [](const NoArgs&, const Tensors& in, const std::vector<bool>&) -> Tensor { return identity(in[0]); },
      .samples = {{.inputs = {sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{1.0, 2.0}}, .output = {1.0, 2.0}}},
      .refuses = {{.inputs = {sample::Input(Tensor())}, .message = "undefined"}},
  });
  return op;
}
Tensor identity(const Tensor& x) { return apply(identity_op(), {x}); }

const TypedOp<>& stop_gradient_op() {
  static const TypedOp<> op({
      .name = "stop_gradient",
      .doc = "x, through which no derivative passes.",
      .shape = same_shape,
      .alias = whole,
      // dx = 0, by definition
      .gradient = [](const NoArgs&, const Call&, const Tensor&) -> Tensors { return {Tensor()}; },
      .samples = {},
      .examples = {{.inputs = {{1.0, 2.0}}, .output = {1.0, 2.0}}},
      .refuses = {{.inputs = {sample::Input(Tensor())}, .message = "undefined"}},
  });
  return op;
}
Tensor stop_gradient(const Tensor& x) { return x.symbolic() ? apply(stop_gradient_op(), {x}) : detach(x); }

Tensor scalar_like(double value, const Tensor& like) {
  if (like.dtype() == boolean) throw Error("a number and a bool tensor do not go together: cast the tensor");
  if (like.dtype() == i64 && value != std::trunc(value))
    throw Error(fmt::format("the number {} and an i64 tensor do not go together: cast the tensor", value));
  constexpr double kBeyond = 9223372036854775808.0;  // 2⁶³
  if (like.dtype() == i64 && (value < -kBeyond || value >= kBeyond))
    throw Error(
        fmt::format("the number {} and an i64 tensor do not go together, as no i64 is that large: cast the "
                    "tensor",
                    value));
  Tensor made = uninitialised({}, like.dtype());
  dispatch(like.dtype(), [&]<typename T>() { *writable<T>(made) = static_cast<T>(value); });
  return made;
}

std::vector<const Op*> elementwise_ops() {
  std::vector<const Op*> ops = unary_ops();
  for (const auto& part : {activation_ops(), binary_ops(), comparison_ops(), conversion_ops(), guard_ops(),
                           update_ops(), trigonometric_ops(), special_ops(), rounding_ops(), smooth_ops()})
    ops.insert(ops.end(), part.begin(), part.end());
  return ops;
}

std::vector<const Op*> conversion_ops() { return {&clip_op(), &cast_op(), &identity_op(), &stop_gradient_op()}; }

}  // namespace twopass
