#include <twopass/ops/indexing.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include <twopass/ops/families.h>
#include <twopass/ops/shaping_kernels.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

struct GatherArgs {
  std::int64_t axis = 0;
  static constexpr auto fields = std::tuple{field("axis", &GatherArgs::axis)};
};
struct ScatterArgs {
  std::int64_t axis = 0;
  std::int64_t size = 0;
  static constexpr auto fields = std::tuple{field("axis", &ScatterArgs::axis), field("size", &ScatterArgs::size)};
};
struct OneHotArgs {
  std::int64_t classes = 0;
  DType dtype = f32;
  static constexpr auto fields = std::tuple{field("classes", &OneHotArgs::classes), field("dtype", &OneHotArgs::dtype)};
};

void check_indices(DType dtype) {
  if (dtype != i64) throw Error(fmt::format("indices must be i64, not {}", name_of(dtype)));
}

void check_range(const View& indices, std::int64_t low, std::int64_t size, const char* what) {
  const std::int64_t* index = indices.data<std::int64_t>();
  for (std::int64_t k = 0; k < indices.elements(); ++k)
    if (index[k] < low || index[k] >= size)
      throw Error(fmt::format("{} {} at place {} is outside {}…{}", what, index[k], k, low, size - 1));
}

// In a scatter the axis stands where gather put the axes of the indices.
Spec scatter_rule(const ScatterArgs& args, const Specs& in) {
  check_indices(in.dtype(1));
  const Shape &g = in.shape(0), &indices = in.shape(1);
  if (args.size < 0) throw Error(fmt::format("an axis cannot have the size {}", args.size));
  if (in.dtype(0) == boolean) throw Error("bool elements do not add up: cast first");
  const int rank = g.rank() - indices.rank() + 1;
  if (args.axis < 0 || args.axis >= rank)
    throw Error(fmt::format("axis {} is out of range for rank {}", args.axis, rank));
  std::vector<std::int64_t> sizes(g.begin(), g.begin() + args.axis);
  if (!std::equal(indices.begin(), indices.end(), g.begin() + args.axis))
    throw Error(fmt::format("axes from {} on are not those of the indices", args.axis));
  sizes.push_back(args.size);
  sizes.insert(sizes.end(), g.begin() + args.axis + indices.rank(), g.end());
  return {Shape(sizes), in.dtype(0)};
}

const TypedOp<GatherArgs>& gather_op() {
  static const TypedOp<GatherArgs> op({
      .name = "gather",
      .doc = "The slices along an axis at i64 indices, which take its place; negative ones count from the end.",
      .shape = [](const GatherArgs& args, const Specs& in) -> Spec {
        check_indices(in.dtype(1));
        const Shape &x = in.shape(0), &indices = in.shape(1);
        const int axis = x.axis(args.axis);
        std::vector<std::int64_t> sizes(x.begin(), x.begin() + axis);
        sizes.insert(sizes.end(), indices.begin(), indices.end());
        sizes.insert(sizes.end(), x.begin() + axis + 1, x.end());
        return {Shape(sizes), in.dtype(0)};
      },
      .forward =
          [](const GatherArgs& args, Inputs in, Output out) {
            const auto x = shaping::around(in[0].shape(), in[0].shape().axis(args.axis));
            check_range(in[1], -x.size, x.size, "index");
            const auto run = x.inner * static_cast<std::int64_t>(size_of(out.dtype));
            const std::int64_t count = in[1].elements();
            const std::int64_t* index = in[1].data<std::int64_t>();
            if (run == 0) return;
            if (x.inner == 1)
              return dispatch(out.dtype, [&]<typename T>() {
                for (std::int64_t o = 0; o < x.outer; ++o)
                  for (std::int64_t k = 0; k < count; ++k)
                    out.data<T>()[o * count + k] = in[0].data<T>()[o * x.size + index[k] + (index[k] < 0 ? x.size : 0)];
              });
            for (std::int64_t o = 0; o < x.outer; ++o)
              for (std::int64_t k = 0; k < count; ++k)
                std::memcpy(out.bytes + (o * count + k) * run,
                            in[0].bytes + (o * x.size + index[k] + (index[k] < 0 ? x.size : 0)) * run,
                            static_cast<std::size_t>(run));
          },
      .keeps = Keep::second,
      // dx_i = Σ g over the places whose index is i
      .gradient = [](const GatherArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const int axis = call.shape(0).axis(args.axis);
        return {scatter_add(g, call.input(1), call.shape(0)[axis], axis), Tensor()};
      },
      .linear = Linear::jointly,
      .stacked = [](const GatherArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return which[1] ? Tensor() : gather(in[0], in[1], static_cast<int>(behind_first(args.axis)));
      },
      .samples = {{{0}, {sample::uniform({4, 2}), sample::integers({5}, -4, 4)}},
                  {{-1}, {sample::uniform({2, 3}), sample::integers({2, 2}, 0, 3)}},
                  {{-1}, {sample::uniform({2, 3}), sample::integers({4}, 0, 3)}}},
      .examples = {{{0}, {tensor({1.0, 2.0, 3.0}, f64), tensor({2, 0, -1, 2})}, tensor({3.0, 1.0, 3.0, 3.0}, f64)}},
      .refuses = {{{0}, {sample::uniform({3}), tensor({0, 3})}, "index 3 at place 1 is outside -3…2"},
                  {{0}, {sample::uniform({3}), sample::uniform({2})}, "indices must be i64"}},
  });
  return op;
}

const TypedOp<ScatterArgs>& scatter_add_op() {
  static const TypedOp<ScatterArgs> op({
      .name = "scatter_add",
      .doc = "Zeros into which slices are added at i64 indices along an axis: the transpose of gather.",
      .shape = scatter_rule,
      .forward =
          [](const ScatterArgs& args, Inputs in, Output out) {
            check_range(in[1], -args.size, args.size, "index");
            const auto y = shaping::around(out.shape(), static_cast<int>(args.axis));
            const std::int64_t count = in[1].elements();
            const std::int64_t* index = in[1].data<std::int64_t>();
            dispatch(out.dtype, [&]<typename T>() {
              if constexpr (!std::is_same_v<T, bool>) {
                std::fill_n(out.data<T>(), out.elements(), T(0));
                for (std::int64_t o = 0; o < y.outer; ++o)
                  for (std::int64_t k = 0; k < count; ++k) {
                    const T* from = in[0].data<T>() + (o * count + k) * y.inner;
                    T* to = out.data<T>() + (o * y.size + index[k] + (index[k] < 0 ? y.size : 0)) * y.inner;
                    for (std::int64_t i = 0; i < y.inner; ++i) to[i] += from[i];
                  }
              }
            });
          },
      .keeps = Keep::second,
      // dx = g at the indices
      .gradient = [](const ScatterArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {gather(g, call.input(1), static_cast<int>(args.axis)), Tensor()};
      },
      .linear = Linear::jointly,
      .stacked = [](const ScatterArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return which[1] ? Tensor() : scatter_add(in[0], in[1], args.size, static_cast<int>(args.axis + 1));
      },
      .samples = {{{0, 4}, {sample::uniform({5, 2}), sample::integers({5}, 0, 4)}}},
      .examples = {{{0, 3}, {tensor({1.0, 2.0, 4.0}, f64), tensor({0, 2, 0})}, tensor({5.0, 0.0, 2.0}, f64)}},
      .refuses = {{{0, 2}, {sample::uniform({2}), tensor({0, 2})}, "index 2 at place 1 is outside -2…1"},
                  {{0, 2}, {sample::uniform({3}), tensor({0, 1})}, "axes from 0 on are not those of the indices"}},
  });
  return op;
}

const TypedOp<OneHotArgs>& one_hot_op() {
  static const TypedOp<OneHotArgs> op({
      .name = "one_hot",
      .doc = "1 at the label, 0 elsewhere, along a new last axis.",
      .shape = [](const OneHotArgs& args, const Specs& in) -> Spec {
        if (in.dtype(0) != i64) throw Error(fmt::format("labels must be i64, not {}", name_of(in.dtype(0))));
        if (args.classes < 1)
          throw Error(fmt::format("the number of classes must be at least 1, not {}", args.classes));
        return {in.shape(0).inserted(-1, args.classes), args.dtype};
      },
      .forward =
          [](const OneHotArgs& args, Inputs in, Output out) {
            check_range(in[0], 0, args.classes, "label");
            dispatch(out.dtype, [&]<typename T>() {
              std::fill_n(out.data<T>(), out.elements(), static_cast<T>(0));
              const std::int64_t* label = in[0].data<std::int64_t>();
              for (std::int64_t k = 0; k < in[0].elements(); ++k)
                out.data<T>()[k * args.classes + label[k]] = static_cast<T>(1);
            });
          },
      .samples = {{{3, f64}, {sample::integers({4}, 0, 3)}}},
      .examples = {{{3, f64}, {tensor({2, 0})}, tensor({{0.0, 0.0, 1.0}, {1.0, 0.0, 0.0}}, f64)}},
      .refuses = {{{10, f32}, {tensor({0, 1, 2, 12})}, "label 12 at place 3 is outside 0…9"},
                  {{10, f32}, {sample::uniform({2})}, "labels must be i64"}},
  });
  return op;
}

}  // namespace

Tensor gather(const Tensor& x, const Tensor& indices, int axis) {
  return apply(gather_op(), GatherArgs{axis}, {x, indices});
}
Tensor scatter_add(const Tensor& g, const Tensor& indices, std::int64_t size, int axis) {
  const int from_end = axis < 0 ? g.rank() - indices.rank() + 1 : 0;
  return apply(scatter_add_op(), ScatterArgs{axis + from_end, size}, {g, indices});
}
Tensor one_hot(const Tensor& indices, std::int64_t classes, DType dtype) {
  return apply(one_hot_op(), OneHotArgs{classes, dtype}, {indices});
}

std::vector<const Op*> indexing_ops() {
  std::vector<const Op*> ops{&gather_op(), &scatter_add_op(), &one_hot_op()};
  for (const auto& more : {along_axis_ops(), sorting_ops()}) ops.insert(ops.end(), more.begin(), more.end());
  return ops;
}

}  // namespace twopass
