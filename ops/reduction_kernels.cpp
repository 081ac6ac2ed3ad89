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

namespace {

// The first and the last axis that is reduced, and whether kept ones lie between them, where they are longer than 1.
struct Span {
  int first = -1, last = -1;
  bool apart = false;

  Span(const Shape& shape, const std::array<bool, kMaxRank>& reduced) {
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (reduced[static_cast<std::size_t>(axis)] && shape[axis] != 1) {
        if (first < 0) first = axis;
        last = axis;
      }
    for (int axis = first + 1; axis < last; ++axis)
      apart = apart || (shape[axis] != 1 && !reduced[static_cast<std::size_t>(axis)]);
  }
};

}  // namespace

std::int64_t folded_bytes(const Spec& x, const std::vector<std::int64_t>& axes) {
  if (x.shape.open() || !Span(x.shape, reduced_axes(x.shape, axes)).apart) return 0;
  return x.shape.elements() * static_cast<std::int64_t>(size_of(x.dtype));
}

Behind behind_kept(const Shape& shape, const std::vector<std::int64_t>& axes) {
  const auto reduced = reduced_axes(shape, axes);
  if (!Span(shape, reduced).apart) return {};
  Behind behind;
  int end = shape.rank(), first = end;
  for (; !reduced[static_cast<std::size_t>(end) - 1]; --end) behind.inner *= shape[end - 1];
  for (first = end; first > 0 && reduced[static_cast<std::size_t>(first) - 1]; --first)
    behind.count *= shape[first - 1];
  if (behind.count < kLanes || behind.inner == 0) return {};
  std::vector<std::int64_t> before(shape.begin(), shape.begin() + first);
  before.insert(before.end(), shape.begin() + end, shape.end());
  behind.before = Shape(before);
  for (int axis = 0; axis < first; ++axis)
    if (reduced[static_cast<std::size_t>(axis)]) behind.axes.push_back(axis);
  return behind;
}

std::optional<InBlocks> sums_in_blocks(const Op& op, const ReduceArgs& args, const Specs& in,
                                       const ChannelBlocks& wanted) {
  const Shape& x = in.shape(0);
  if (wanted.size == 0 || x.rank() != 4 || x.open() || x[1] % wanted.size != 0) return std::nullopt;
  const auto reduced = reduced_axes(x, args.axes);
  if (!reduced[1] && !(reduced[2] && reduced[3])) return std::nullopt;
  ReduceArgs with;
  for (int axis = 0; axis < 4; ++axis)
    if (reduced[static_cast<std::size_t>(axis)]) with.axes.push_back(axis);
  if (reduced[1]) with.axes.push_back(4);
  return InBlocks{&op, boxed(std::move(with)), {wanted.size, 1, false}};
}

std::int64_t added_bytes(const Spec& x, const std::vector<std::int64_t>& axes) {
  const Behind behind = x.shape.open() ? Behind() : behind_kept(x.shape, axes);
  if (behind.count == 1) return folded_bytes(x, axes);
  const DType sums = x.dtype == boolean ? i64 : x.dtype;
  const std::int64_t tiles = tiles_of(behind.count, behind.inner), results = behind.before.elements();
  return results * (tiles > 1 ? tiles + 1 : 1) * static_cast<std::int64_t>(size_of(sums)) +
         added_bytes({behind.before, sums}, behind.axes);
}

Fold fold(const View& x, const std::vector<std::int64_t>& axes) {
  const Shape& shape = x.shape();
  const auto reduced = reduced_axes(shape, axes);
  const Span span(shape, reduced);
  Fold result;
  result.bytes = x.bytes;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (reduced[static_cast<std::size_t>(axis)])
      result.count *= shape[axis];
    else if (axis < span.first)
      result.outer *= shape[axis];
    else
      result.inner *= shape[axis];
  }
  if (span.first < 0) {  // nothing to reduce: one contiguous sweep
    result.outer = result.inner;
    result.inner = 1;
  }
  if (!span.apart) return result;
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
