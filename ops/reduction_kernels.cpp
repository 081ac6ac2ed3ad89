#include <twopass/ops/reduction_kernels.h>

#include <fmt/format.h>

#include <twopass/ops/shaping.h>
#include <twopass/ops/shaping_kernels.h>

namespace twopass::reduction {

std::array<bool, kMaxRank> reduced_axes(const Shape& shape, const std::vector<std::int64_t>& axes) {
  std::array<bool, kMaxRank> reduced{};
  if (axes.empty()) std::fill_n(reduced.begin(), shape.rank(), true);
  for (const std::int64_t named : axes) {
    const int axis = shape.axis(named);
    bool& flag = reduced[static_cast<std::size_t>(axis)];
    if (flag) throw Error(fmt::format("axis {} is named twice", axis));
    flag = true;
  }
  return reduced;
}

Shape reduced_shape(const Shape& shape, const std::vector<std::int64_t>& axes, bool keep) {
  const auto reduced = reduced_axes(shape, axes);
  std::array<std::int64_t, kMaxRank> sizes;
  std::size_t rank = 0;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (!reduced[static_cast<std::size_t>(axis)])
      sizes[rank++] = shape[axis];
    else if (keep)
      sizes[rank++] = 1;
  return Shape(sizes.data(), rank);
}

bool whole_rows(const Shape& shape, const std::vector<std::int64_t>& axes) {
  const auto reduced = reduced_axes(shape, axes);
  return shape.rank() > 1 && !reduced[0] &&
         std::all_of(reduced.begin() + 1, reduced.begin() + shape.rank(), [](bool each) { return each; });
}

std::int64_t reduced_count(const Shape& shape, const std::vector<std::int64_t>& axes) {
  const auto reduced = reduced_axes(shape, axes);
  std::int64_t count = 1;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (!reduced[static_cast<std::size_t>(axis)]) continue;
    if (shape[axis] == kOpen) return shape.elements();
    count *= shape[axis];
  }
  return count;
}

Tensor kept(const Tensor& g, const Shape& shape, const std::vector<std::int64_t>& axes) {
  const Shape wanted = reduced_shape(shape, axes, true);
  if (g.rank() == shape.rank()) return g;
  if (!wanted.open()) return reshape(g, wanted);
  const auto reduced = reduced_axes(shape, axes);
  Tensor result = g;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (reduced[static_cast<std::size_t>(axis)]) result = expand_dims(result, axis);
  return result;
}

Tensor spread(const Tensor& g, const Shape& shape, const std::vector<std::int64_t>& axes) {
  return broadcast_to(kept(g, shape, axes), shape);
}

std::pair<ReduceArgs, Tensor> behind_first(const ReduceArgs& args, const Tensor& x) {
  if (x.rank() == 1) return {{.axes = {1}, .keep = false}, expand_dims(x, 1)};  // none named would be all
  ReduceArgs behind{.axes = {}, .keep = args.keep};
  const auto reduced = reduced_axes(x.shape().without(0), args.axes);
  for (int axis = 1; axis < x.rank(); ++axis)
    if (reduced[static_cast<std::size_t>(axis) - 1]) behind.axes.push_back(axis);
  return {std::move(behind), x};
}

Fold fold(const View& x, const std::vector<std::int64_t>& axes) {
  const Shape& shape = x.shape();
  const auto reduced = reduced_axes(shape, axes);
  int first = -1, last = -1;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (reduced[static_cast<std::size_t>(axis)] && shape[axis] != 1) {
      if (first < 0) first = axis;
      last = axis;
    }
  Fold result;
  result.bytes = x.bytes;
  bool apart = false;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (reduced[static_cast<std::size_t>(axis)])
      result.count *= shape[axis];
    else if (axis < first)
      result.outer *= shape[axis];
    else
      result.inner *= shape[axis];
    apart = apart || (axis > first && axis < last && shape[axis] != 1 && !reduced[static_cast<std::size_t>(axis)]);
  }
  if (first < 0) {  // nothing to reduce: one contiguous sweep
    result.outer = result.inner;
    result.inner = 1;
  }
  if (!apart) return result;
  std::vector<int> order;
  for (const bool pass : {false, true})
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (reduced[static_cast<std::size_t>(axis)] == pass) order.push_back(axis);
  result.copy = Buffer(static_cast<std::size_t>(x.elements()) * size_of(x.dtype));
  shaping::permute(x.bytes, shape, order, size_of(x.dtype), result.copy.data());
  result.bytes = result.copy.data();
  result.outer *= result.inner;
  result.inner = 1;
  return result;
}

}  // namespace twopass::reduction
