#include <fmt/format.h>

#include <algorithm>

#include <twopass/ops/families.h>
#include <twopass/ops/shaping_kernels.h>
#include <twopass/ops/sorting.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

struct TakeArgs {
  std::int64_t axis = -1;
  static constexpr auto fields = std::tuple{field("axis", &TakeArgs::axis)};
};
struct ScatterArgs {
  std::int64_t axis = -1;
  std::int64_t size = 0;
  static constexpr auto fields = std::tuple{field("axis", &ScatterArgs::axis), field("size", &ScatterArgs::size)};
};

void check_indices(DType dtype) {
  if (dtype != i64) throw Error(fmt::format("indices must be i64, not {}", name_of(dtype)));
}

void check_range(const View& indices, std::int64_t size) {
  const std::int64_t* index = indices.data<std::int64_t>();
  for (std::int64_t k = 0; k < indices.elements(); ++k)
    if (index[k] < -size || index[k] >= size)
      throw Error(fmt::format("index {} at place {} is outside {}…{}", index[k], indices.shape().index_text(k), -size,
                              size - 1));
}

// Calls f(place among the indices, place in a tensor with `size` elements along the axis) for every index.
template <typename F>
void for_each_index(const View& indices, int axis, std::int64_t size, const F& f) {
  const auto along = shaping::around(indices.shape(), axis);
  const std::int64_t* index = indices.data<std::int64_t>();
  for (std::int64_t o = 0; o < along.outer; ++o)
    for (std::int64_t k = 0; k < along.size; ++k)
      for (std::int64_t i = 0; i < along.inner; ++i) {
        const std::int64_t place = (o * along.size + k) * along.inner + i;
        f(place, (o * size + index[place] + (index[place] < 0 ? size : 0)) * along.inner + i);
      }
}

const TypedOp<TakeArgs>& take_along_axis_op() {
  static const TypedOp<TakeArgs> op({
      .name = "take_along_axis",
      .doc = "The elements at i64 indices of the same rank along an axis; negative ones count from the end.",
      .shape = [](const TakeArgs& args, const Specs& in) -> Spec {
        check_indices(in.dtype(1));
        const Shape &x = in.shape(0), &indices = in.shape(1);
        if (x.rank() != indices.rank())
          throw Error(fmt::format("the indices have rank {} but the elements {}", indices.rank(), x.rank()));
        const int axis = x.axis(args.axis);
        for (int k = 0; k < x.rank(); ++k)
          if (k != axis && x[k] != indices[k])
            throw Error(
                fmt::format("axis {} of the indices has size {} but that of the elements {}", k, indices[k], x[k]));
        return {indices, in.dtype(0)};
      },
      .forward =
          [](const TakeArgs& args, Inputs in, Output out) {
            const int axis = in[0].shape().axis(args.axis);
            const std::int64_t size = in[0].shape()[axis];
            check_range(in[1], size);
            dispatch(out.dtype, [&]<typename T>() {
              const T* const x = in[0].data<T>();
              T* const y = out.data<T>();
              for_each_index(in[1], axis, size, [=](std::int64_t to, std::int64_t from) { y[to] = x[from]; });
            });
          },
      .keeps = Keep::second,
      // dx_i = Σ g over the places whose index is i
      .gradient = [](const TakeArgs& args, const Call& call, const Tensor& g) -> Tensors {
        const int axis = call.shape(0).axis(args.axis);
        return {scatter_along_axis(g, call.input(1), call.shape(0)[axis], axis), Tensor()};
      },
      .linear = Linear::jointly,
      .stacked = [](const TakeArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return apply(take_along_axis_op(), TakeArgs{behind_first(args.axis)}, all_stacked(in, which));
      },
      .samples = {{{1}, {sample::uniform({3, 4}), sample::integers({3, 6}, -4, 4)}},
                  {{0}, {sample::uniform({3, 2}), sample::integers({2, 2}, 0, 3)}}},
      .examples = {{{}, {{{1, 2, 3}, {4, 5, 6}}, tensor({{2, 0}, {-1, -1}})}, {{3, 1}, {6, 6}}},
                   {{0}, {{{1, 2}, {3, 4}}, tensor({{1, 0}})}, {{3, 2}}}},
      .refuses = {{{}, {sample::uniform({1, 2}), tensor({{0, 2}})}, "index 2 at place (0, 1) is outside -2…1"},
                  {{}, {sample::uniform({2, 2}), tensor({0, 1})}, "the indices have rank 1 but the elements 2"},
                  {{}, {sample::uniform({2, 2}), tensor({{0, 1}})}, "axis 0 of the indices has size 1"},
                  {{}, {sample::uniform({2}), sample::uniform({2})}, "indices must be i64, not f64"}},
  });
  return op;
}

const TypedOp<ScatterArgs>& scatter_along_axis_op() {
  static const TypedOp<ScatterArgs> op({
      .name = "scatter_along_axis",
      .doc = "Zeros into which elements are added at i64 indices along an axis: the transpose of take_along_axis.",
      .shape = [](const ScatterArgs& args, const Specs& in) -> Spec {
        check_indices(in.dtype(1));
        if (in.dtype(0) == boolean) throw Error("bool elements do not add up: cast first");
        if (args.size < 0) throw Error(fmt::format("an axis cannot have the size {}", args.size));
        if (!(in.shape(0) == in.shape(1)))
          throw Error(
              fmt::format("the indices have shape {} but the elements {}", in.shape(1).text(), in.shape(0).text()));
        return {in.shape(0).with(in.shape(0).axis(args.axis), args.size), in.dtype(0)};
      },
      .forward =
          [](const ScatterArgs& args, Inputs in, Output out) {
            check_range(in[1], args.size);
            dispatch(out.dtype, [&]<typename T>() {
              if constexpr (!std::is_same_v<T, bool>) {
                const T* const g = in[0].data<T>();
                T* const y = out.data<T>();
                std::fill_n(y, out.elements(), T(0));
                for_each_index(in[1], in[0].shape().axis(args.axis), args.size,
                               [=](std::int64_t from, std::int64_t to) { y[to] += g[from]; });
              }
            });
          },
      .keeps = Keep::second,
      // dx = g at the indices
      .gradient = [](const ScatterArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {take_along_axis(g, call.input(1), static_cast<int>(args.axis)), Tensor()};
      },
      .linear = Linear::jointly,
      .stacked = [](const ScatterArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return apply(scatter_along_axis_op(), ScatterArgs{behind_first(args.axis), args.size}, all_stacked(in, which));
      },
      .samples = {{{1, 4}, {sample::uniform({3, 6}), sample::integers({3, 6}, -4, 4)}},
                  {{0, 3}, {sample::uniform({2, 2}), sample::integers({2, 2}, 0, 3)}}},
      .examples = {{{-1, 3}, {{{1, 2, 4}}, tensor({{2, 0, -1}})}, {{2, 0, 5}}}},
      .refuses = {{{-1, 2}, {sample::uniform({2}), tensor({0, -3})}, "index -3 at place 1 is outside -2…1"},
                  {{-1, 2}, {sample::uniform({2}), tensor({0})}, "the indices have shape (1,) but the elements (2,)"},
                  {{-1, -1}, {sample::uniform({2}), tensor({0, 0})}, "an axis cannot have the size -1"}},
  });
  return op;
}

}  // namespace

Tensor take_along_axis(const Tensor& x, const Tensor& indices, int axis) {
  return apply(take_along_axis_op(), TakeArgs{axis}, {x, indices});
}
Tensor scatter_along_axis(const Tensor& g, const Tensor& indices, std::int64_t size, int axis) {
  return apply(scatter_along_axis_op(), ScatterArgs{axis, size}, {g, indices});
}

std::vector<const Op*> along_axis_ops() { return {&take_along_axis_op(), &scatter_along_axis_op()}; }

}  // namespace twopass
