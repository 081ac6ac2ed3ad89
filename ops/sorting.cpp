#include <twopass/ops/sorting.h>

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include <twopass/ops/families.h>
#include <twopass/ops/named.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping_kernels.h>

namespace twopass {
namespace {

struct SortArgs {
  std::int64_t axis = -1;
  bool descending = false;
  static constexpr auto fields = std::tuple{field("axis", &SortArgs::axis), field("descending", &SortArgs::descending)};
};
struct TopArgs {
  std::int64_t k = 1;
  std::int64_t axis = -1;
  static constexpr auto fields = std::tuple{field("k", &TopArgs::k), field("axis", &TopArgs::axis)};
};

int sorted_axis(const Shape& shape, std::int64_t axis) {
  if (shape.rank() == 0) throw Error("a scalar has no axis to sort along");
  return shape.axis(axis);
}

template <typename Args>
unsigned lines_apart(const Args& args, const Specs& in) {
  return in.shape(0).axis(args.axis) > 0 ? 1 : 0;
}

// NaN counts as largest.
template <typename T>
bool below(T a, T b) {
  return a < b || (b != b && a == a);
}

// For every line of x along the axis: its first `k` indices in order go to the output. Elements are sorted beside their
// indices, so that comparing them reads what lies together.
template <typename T>
void order_lines(const T* x, const shaping::Around& along, std::int64_t k, bool descending, std::int64_t* to) {
  struct Place {
    T value;
    std::int64_t index;
  };
  const auto sort_line = [k](std::vector<Place>& places, const auto& earlier) {
    if (k == static_cast<std::int64_t>(places.size()))
      std::sort(places.begin(), places.end(), earlier);
    else
      std::partial_sort(places.begin(), places.begin() + k, places.end(), earlier);
  };
  reduction::for_units(along.outer * along.inner, along.size, [&](std::int64_t line) {
    const std::int64_t first = line / along.inner * along.size * along.inner + line % along.inner;
    std::vector<Place> places(static_cast<std::size_t>(along.size));
    for (std::int64_t index = 0; index < along.size; ++index)
      places[static_cast<std::size_t>(index)] = {x[first + index * along.inner], index};
    if (descending)
      sort_line(places, [](const Place& a, const Place& b) {
        return below(b.value, a.value) || (a.index < b.index && !below(a.value, b.value));
      });
    else
      sort_line(places, [](const Place& a, const Place& b) {
        return below(a.value, b.value) || (a.index < b.index && !below(b.value, a.value));
      });
    const std::int64_t start = line / along.inner * k * along.inner + line % along.inner;
    for (std::int64_t rank = 0; rank < k; ++rank)
      to[start + rank * along.inner] = places[static_cast<std::size_t>(rank)].index;
  });
}

void order(const View& x, int axis, std::int64_t k, bool descending, const Output& out) {
  dispatch(x.dtype, [&]<typename T>() {
    order_lines(x.data<T>(), shaping::around(x.shape(), axis), k, descending, out.data<std::int64_t>());
  });
}

const TypedOp<SortArgs>& argsort_op() {
  static const TypedOp<SortArgs> op({
      .name = "argsort",
      .doc = "The i64 indices that put x in order along an axis; equal elements keep theirs, NaN counts as largest.",
      .shape = [](const SortArgs& args, const Specs& in) -> Spec {
        sorted_axis(in.shape(0), args.axis);
        return {in.shape(0), i64};
      },
      .forward =
          [](const SortArgs& args, Inputs in, Output out) {
            const int axis = in[0].shape().axis(args.axis);
            order(in[0], axis, in[0].shape()[axis], args.descending, out);
          },
      .rows = lines_apart<SortArgs>,
      .samples = {{{1, false}, {sample::distinct({3, 4})}}, {{0, true}, {sample::distinct({3, 4})}}},
      .examples = {{{}, {{3, 1, NAN, 1}}, tensor({1, 3, 0, 2})},
                   {{-1, true}, {{3, 1, NAN, 1}}, tensor({2, 0, 1, 3})},
                   {{0, false}, {{{2, 1}, {1, 2}}}, tensor({{1, 0}, {0, 1}})}},
      .refuses = {{{1, false}, {sample::uniform({2})}, "axis 1 is out of range for rank 1"},
                  {{}, {sample::uniform({})}, "a scalar has no axis to sort along"}},
  });
  return op;
}

const TypedOp<TopArgs>& top_indices_op() {
  static const TypedOp<TopArgs> op({
      .name = "top_indices",
      .doc = "The i64 indices of the k largest along an axis, largest first; of equal ones the first, NaN is largest.",
      .shape = [](const TopArgs& args, const Specs& in) -> Spec {
        const int axis = sorted_axis(in.shape(0), args.axis);
        const std::int64_t size = in.shape(0)[axis];
        if (size == kOpen) throw Error(fmt::format("axis {} is open: how many it has is not known yet", axis));
        if (args.k < 0 || args.k > size)
          throw Error(fmt::format("k is {} but axis {} has size {}", args.k, axis, size));
        return {in.shape(0).with(axis, args.k), i64};
      },
      .forward = [](const TopArgs& args, Inputs in,
                    Output out) { order(in[0], in[0].shape().axis(args.axis), args.k, true, out); },
      .rows = lines_apart<TopArgs>,
      .samples = {{{2, 1}, {sample::distinct({3, 4})}}, {{1, 0}, {sample::distinct({3, 4})}}},
      .examples = {{{2, -1}, {{{3, 1, 4, 4}}}, tensor({{2, 3}})}},
      .refuses = {{{3, -1}, {sample::uniform({2})}, "k is 3 but axis 0 has size 2"},
                  {{-1, -1}, {sample::uniform({2})}, "k is -1 but axis 0 has size 2"}},
  });
  return op;
}

}  // namespace

Tensor argsort(const Tensor& x, int axis, Order order) {
  return apply(argsort_op(), SortArgs{axis, order == Order::descending}, {x});
}
Tensor sort(const Tensor& x, int axis, Order order) {
  return named("sort", {&x}, [&] { return take_along_axis(x, argsort(x, axis, order), axis); });
}
TopK topk(const Tensor& x, std::int64_t k, int axis) {
  return named("topk", {&x}, [&]() -> TopK {
    const Tensor indices = apply(top_indices_op(), TopArgs{k, axis}, {x});
    return {take_along_axis(x, indices, axis), indices};
  });
}

std::vector<const Op*> sorting_ops() { return {&argsort_op(), &top_indices_op()}; }

}  // namespace twopass
