#include <twopass/ops/rearranging.h>

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include <twopass/core/error.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/reduction.h>
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
  std::vector<std::int64_t> places(static_cast<std::size_t>(count));
  for (std::int64_t k = 0; k < count; ++k) places[static_cast<std::size_t>(k)] = (row + k) * columns + column + k;
  return from_values(places, {count});
}

}  // namespace

Tensor flip(const Tensor& x, int axis) { return slice(x, axis, -1, -x.shape()[axis] - 1, -1); }

Tensor roll(const Tensor& x, std::int64_t shift, int axis) {
  const std::int64_t n = x.shape()[axis];
  if (n < 0) throw Error(fmt::format("roll{}: axis {} is open: its size is not known yet", x.shape().text(), axis));
  const std::int64_t by = n == 0 ? 0 : (shift % n + n) % n;
  return by == 0 ? x : concat({slice(x, axis, n - by, n), slice(x, axis, 0, n - by)}, axis);
}

Tensor repeat(const Tensor& x, std::int64_t times, int axis) {
  check_times("repeat", x, times);
  const int at = x.shape().axis(axis);
  const Tensor apart = expand_dims(x, at + 1);
  const std::int64_t n = x.shape()[at];
  return reshape(broadcast_to(apart, apart.shape().with(at + 1, times)), x.shape().with(at, n < 0 ? n : n * times));
}

Tensor tile(const Tensor& x, const std::vector<std::int64_t>& times) {
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
}

Tensor moveaxis(const Tensor& x, int from, int to) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(x.rank()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const int source = x.shape().axis(from), target = x.shape().axis(to);
  order.erase(order.begin() + source);
  order.insert(order.begin() + target, source);
  return transpose(x, order);
}

Tensors unstack(const Tensor& x, int axis) {
  const std::int64_t n = x.shape()[axis];
  if (n < 0) throw Error(fmt::format("unstack{}: axis {} is open: its size is not known yet", x.shape().text(), axis));
  Tensors parts = split(x, std::vector<std::int64_t>(static_cast<std::size_t>(n), 1), axis);
  for (Tensor& part : parts) part = squeeze(part, axis);
  return parts;
}

Tensor diagonal(const Tensor& x, std::int64_t offset) {
  check_matrix("diagonal", x);
  const std::int64_t rows = x.shape()[-2], columns = x.shape()[-1];
  const Tensor flat = reshape(x, x.shape().without(-1).with(-1, rows * columns));
  return gather(flat, diagonal_places(rows, columns, offset), -1);
}

Tensor diag(const Tensor& x) {
  if (x.rank() < 1) throw Error("diag(): a diagonal has an axis");
  const std::int64_t n = x.shape().back();
  return reshape(scatter_add(x, diagonal_places(n, n, 0), n * n, -1), x.shape().inserted(-1, n));
}

Tensor trace(const Tensor& x) {
  check_matrix("trace", x);
  return sum(diagonal(x), -1);
}

Tensor tril(const Tensor& x, std::int64_t offset) {
  check_matrix("tril", x);
  return where(columns_minus_rows(x) <= static_cast<double>(offset), x, scalar_like(0, x));
}

Tensor triu(const Tensor& x, std::int64_t offset) {
  check_matrix("triu", x);
  return where(columns_minus_rows(x) >= static_cast<double>(offset), x, scalar_like(0, x));
}

Tensor embedding(const Tensor& table, const Tensor& indices) {
  if (table.rank() != 2)
    throw Error(fmt::format("embedding{}: a table has two axes, entries and width", table.shape().text()));
  return gather(table, indices, 0);
}

}  // namespace twopass
