#include <twopass/ops/rearranging.h>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include <twopass/core/error.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/filled.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/named.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rules.h>
#include <twopass/ops/scans.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

void check_matrix(const char* name, const Tensor& x) {
  if (x.rank() < 2) throw Error(fmt::format("{}{}: a matrix has two axes", name, x.shape().text()));
}

void check_times(const char* name, const Tensor& x, std::int64_t times) {
  if (times < 0) throw Error(fmt::format("{}{}: nothing is there {} times", name, x.shape().text(), times));
}

// Column minus row of every element of the last two axes, i64.
Tensor columns_minus_rows(const Tensor& x) {
  const std::int64_t rows = x.shape()[-2], columns = x.shape()[-1];
  return arange(0, static_cast<double>(columns), 1, i64) - expand_dims(arange(0, static_cast<double>(rows), 1, i64), 1);
}

// The places of the diagonal in a row-major matrix.
Tensor diagonal_places(std::int64_t rows, std::int64_t columns, std::int64_t offset) {
  const std::int64_t row = std::max<std::int64_t>(0, -offset), column = std::max<std::int64_t>(0, offset);
  const std::int64_t count = std::max<std::int64_t>(0, std::min(rows - row, columns - column));
  return filled({count}, [=](std::int64_t k) { return (row + k) * columns + column + k; });
}

// [n, c, h, w] with known sizes behind the batch, and a factor that is one.
void check_pixels(const char* name, const Tensor& x, std::int64_t factor) {
  const auto head = [&] { return fmt::format("{}{}: ", name, x.shape().text()); };
  if (x.rank() != 4) throw Error(head() + "x must have four axes");
  if (std::find(x.shape().begin() + 1, x.shape().end(), kOpen) != x.shape().end())
    throw Error(head() + "all but the batch must be known");
  if (factor < 1 || factor > (std::int64_t{1} << 31))
    throw Error(head() + fmt::format("the factor must be from 1 to 2^31, not {}", factor));
}

}  // namespace

Tensor flip(const Tensor& x, int axis) {
  return named("flip", {&x}, [&] { return slice(x, axis, -1, -x.shape()[axis] - 1, -1); });
}

Tensor roll(const Tensor& x, std::int64_t shift, int axis) {
  return named("roll", {&x}, [&] {
    const std::int64_t n = rules::known_size(x.shape(), axis);
    const std::int64_t by = n == 0 ? 0 : (shift % n + n) % n;
    return by == 0 ? x : concat({slice(x, axis, n - by, n), slice(x, axis, 0, n - by)}, axis);
  });
}

Tensor repeat(const Tensor& x, std::int64_t times, int axis) {
  return named("repeat", {&x}, [&] {
    check_times("repeat", x, times);
    const int at = x.shape().axis(axis);
    const Tensor apart = expand_dims(x, at + 1);
    const std::int64_t n = x.shape()[at];
    return reshape(broadcast_to(apart, apart.shape().with(at + 1, times)), x.shape().with(at, n < 0 ? n : n * times));
  });
}

Tensor tile(const Tensor& x, const std::vector<std::int64_t>& times) {
  return named("tile", {&x}, [&] {
    if (times.size() != static_cast<std::size_t>(x.rank()))
      throw Error(fmt::format("tile{}: {} numbers for {} axes", x.shape().text(), times.size(), x.rank()));
    Tensor y = x;
    for (int axis = 0; axis < x.rank(); ++axis) {
      const std::int64_t count = times[static_cast<std::size_t>(axis)], n = y.shape()[axis];
      check_times("tile", x, count);
      if (count == 1) continue;
      const Tensor apart = expand_dims(y, axis);
      y = reshape(broadcast_to(apart, apart.shape().with(axis, count)), y.shape().with(axis, n < 0 ? n : n * count));
    }
    return y;
  });
}

Tensor moveaxis(const Tensor& x, int from, int to) {
  return named("moveaxis", {&x}, [&] {
    std::vector<std::int64_t> order(static_cast<std::size_t>(x.rank()));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    const int source = x.shape().axis(from), target = x.shape().axis(to);
    order.erase(order.begin() + source);
    order.insert(order.begin() + target, source);
    return transpose(x, order);
  });
}

Tensors unstack(const Tensor& x, int axis) {
  return named("unstack", {&x}, [&]() -> Tensors {
    const std::int64_t n = rules::known_size(x.shape(), axis);
    Tensors parts = split(x, std::vector<std::int64_t>(static_cast<std::size_t>(n), 1), axis);
    for (Tensor& part : parts) part = squeeze(part, axis);
    return parts;
  });
}

Tensor diagonal(const Tensor& x, std::int64_t offset) {
  return named("diagonal", {&x}, [&] {
    check_matrix("diagonal", x);
    const std::int64_t rows = x.shape()[-2], columns = x.shape()[-1];
    const Tensor flat = reshape(x, x.shape().without(-1).with(-1, rows * columns));
    return gather(flat, diagonal_places(rows, columns, offset), -1);
  });
}

Tensor diag(const Tensor& x) {
  return named("diag", {&x}, [&] {
    if (x.rank() < 1) throw Error("diag(): a diagonal has an axis");
    const std::int64_t n = x.shape().back();
    return reshape(scatter_add(x, diagonal_places(n, n, 0), n * n, -1), x.shape().inserted(-1, n));
  });
}

Tensor trace(const Tensor& x) {
  return named("trace", {&x}, [&] {
    check_matrix("trace", x);
    return sum(diagonal(x), -1);
  });
}

Tensor tril(const Tensor& x, std::int64_t offset) {
  return named("tril", {&x}, [&] {
    check_matrix("tril", x);
    return where(columns_minus_rows(x) <= static_cast<double>(offset), x, scalar_like(0, x));
  });
}

Tensor triu(const Tensor& x, std::int64_t offset) {
  return named("triu", {&x}, [&] {
    check_matrix("triu", x);
    return where(columns_minus_rows(x) >= static_cast<double>(offset), x, scalar_like(0, x));
  });
}

Tensor embedding(const Tensor& table, const Tensor& indices) {
  return named("embedding", {&table, &indices}, [&] {
    if (table.rank() != 2)
      throw Error(fmt::format("embedding{}: a table has two axes, entries and width", table.shape().text()));
    if (indices.dtype() != i64) throw Error(fmt::format("indices must be i64, not {}", name_of(indices.dtype())));
    const std::int64_t entries = table.shape()[0];
    const double last = entries == kOpen ? std::numeric_limits<double>::infinity() : static_cast<double>(entries - 1);
    return gather(table, within(indices, 0, last), 0);
  });
}

Tensor embedding_bag(const Tensor& table, const Tensor& indices, Bag bag) {
  return named("embedding_bag", {&table, &indices}, [&] {
    if (indices.rank() != 2)
      throw Error(fmt::format("embedding_bag{}: bags of one size have two axes of indices, not {}",
                              table.shape().text(), indices.rank()));
    const Tensor rows = embedding(table, indices);
    const std::int64_t size = indices.shape()[1];
    if (bag == Bag::max) return max(rows, 1);
    return bag == Bag::mean && size != 0 ? mean(rows, 1) : sum(rows, 1);
  });
}

Tensor embedding_bag(const Tensor& table, const Tensor& indices, const Tensor& offsets, Bag bag) {
  return named("embedding_bag", {&table, &indices, &offsets}, [&] {
    const auto refuse = [&](const char* reason) {
      throw Error(fmt::format("embedding_bag({}, {}, {}): {}", table.shape().text(), indices.shape().text(),
                              offsets.shape().text(), reason));
    };
    if (indices.rank() != 1 || offsets.rank() != 1) refuse("indices and offsets have one axis");
    if (indices.shape().open() || offsets.shape().open()) refuse("the number of indices and bags must be known");
    if (offsets.dtype() != i64) refuse("offsets must be i64");
    if (bag == Bag::max) refuse("there is no largest of bags of different sizes");
    const std::int64_t count = indices.shape()[0], bags = offsets.shape()[0];
    const Tensor steps =
        bags < 2 ? offsets
                 : concat({slice(offsets, 0, 0, 1), slice(offsets, 0, 1, bags) - slice(offsets, 0, 0, bags - 1)}, 0);
    const Tensor rising = within(cast(steps, f64), 0, std::numeric_limits<double>::infinity(),
                                 "offsets begin at 0 or later and do not fall from bag to bag");
    const Tensor begins = cast(cumsum(rising, 0), i64);
    // The bag of each place, from 1: how many begin there or before. Those of 0 are in none.
    const Tensor begun = cumsum(scatter_add(ones({bags}, i64), begins, count + 1), 0);
    const Tensor number = slice(begun, 0, 0, count);
    const auto each = [&](const Tensor& rows) { return slice(scatter_add(rows, number, bags + 1), 0, 1, bags + 1); };
    const Tensor sums = each(embedding(table, indices));
    if (bag == Bag::sum) return sums;
    const Tensor sizes = each(ones({count}, table.dtype()));
    return sums / expand_dims(maximum(sizes, scalar_like(1, sizes)), 1);
  });
}

Tensor pixel_shuffle(const Tensor& x, std::int64_t factor) {
  return named("pixel_shuffle", {&x}, [&] {
    check_pixels("pixel_shuffle", x, factor);
    const std::int64_t n = x.shape()[0], c = x.shape()[1], h = x.shape()[2], w = x.shape()[3], r = factor;
    if (c % (r * r) != 0)
      throw Error(
          fmt::format("pixel_shuffle{}: {} channels do not fall into squares of {} by {}", x.shape().text(), c, r, r));
    const Tensor apart = transpose(reshape(x, {n, c / (r * r), r, r, h, w}), {0, 1, 4, 2, 5, 3});
    return reshape(apart, {n, c / (r * r), h * r, w * r});
  });
}

Tensor pixel_unshuffle(const Tensor& x, std::int64_t factor) {
  return named("pixel_unshuffle", {&x}, [&] {
    check_pixels("pixel_unshuffle", x, factor);
    const std::int64_t n = x.shape()[0], c = x.shape()[1], h = x.shape()[2], w = x.shape()[3], r = factor;
    if (h % r != 0 || w % r != 0)
      throw Error(fmt::format("pixel_unshuffle{}: {} by {} elements do not fall into squares of {} by {}",
                              x.shape().text(), h, w, r, r));
    const Tensor apart = transpose(reshape(x, {n, c, h / r, r, w / r, r}), {0, 1, 3, 5, 2, 4});
    return reshape(apart, {n, c * r * r, h / r, w / r});
  });
}

Tensor channel_shuffle(const Tensor& x, std::int64_t groups) {
  return named("channel_shuffle", {&x}, [&] {
    const std::int64_t channels = x.rank() < 2 ? 0 : x.shape()[1];
    if (groups < 1 || channels < 0 || x.rank() < 2 || channels % groups != 0)
      throw Error(fmt::format("channel_shuffle{}: axis 1 does not fall into {} groups", x.shape().text(), groups));
    const Shape apart = x.shape().with(1, channels / groups).inserted(1, groups);
    std::vector<std::int64_t> order(static_cast<std::size_t>(apart.rank()));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::swap(order[1], order[2]);
    return reshape(transpose(reshape(x, apart), order), x.shape());
  });
}

}  // namespace twopass
