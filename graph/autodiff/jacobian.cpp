// Whole Jacobians and Hessians: one record, and a pass over it for all unit vectors side by side.
#include <algorithm>
#include <cstring>
#include <optional>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/point.h>
#include <twopass/graph/autodiff/side_by_side.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/ops/anomaly.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

bool plain(const Tensors& tensors) {
  for (const Tensor& x : tensors)
    if (x.symbolic() || x.recorded()) return false;
  return true;
}

// For how many rows at once the calls of a map are made: what they make stays in a few megabytes, but a row at least.
std::int64_t rows_at_once(std::int64_t elements) {
  constexpr std::int64_t kElements = 1 << 22;
  return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, elements));
}

Tensor units(const Shape& shape, DType dtype, std::int64_t first, std::int64_t count) {
  const Tensor vectors = zeros(shape.inserted(0, count), dtype);
  dispatch(dtype, [&]<typename T>() {
    for (std::int64_t k = 0; k < count; ++k) writable<T>(vectors)[k * shape.elements() + first + k] = static_cast<T>(1);
  });
  return vectors;
}

Tensors with_first_axis(Tensors tensors) {
  for (Tensor& x : tensors) x = expand_dims(x, 0);
  return tensors;
}

Tensors empty_rows(const Tensors& like) {
  Tensors none;
  for (const Tensor& x : like) none.push_back(zeros(x.shape().inserted(0, 0), x.dtype()));
  return none;
}

void put(const Tensor& rows, std::int64_t at, const Tensor& whole) {
  const std::size_t row = rows.node().bytes() / static_cast<std::size_t>(rows.shape()[0]);
  std::memcpy(whole.node().data + static_cast<std::size_t>(at) * row, rows.node().data, rows.node().bytes());
}

// What the map makes of each unit vector like a tensor of n elements, for each of its results along a new first axis of
// n; `record`: whether that is recorded. Nothing where it cannot be computed.
Tensors at_units(const LinearMap& map, const Tensor& like, bool record) {
  const Shape& shape = like.shape();
  const DType dtype = like.dtype();
  const std::int64_t count = shape.elements();
  const Tensors first = map(count ? reshape(units(shape, dtype, 0, 1), shape) : zeros(shape, dtype));
  for (const Tensor& each : first)
    if (!each.defined()) return {};
  if (count == 0) return empty_rows(first);
  // An anomaly scope looks at every call.
  const bool alone = count == 1 || AnomalyScope::current();
  const auto together = alone ? std::nullopt : SideBySide::trace(map, shape, dtype);
  const std::int64_t most = together ? rows_at_once(together->elements()) : 1;
  // Values go where they belong at once; what is recorded or symbolic is joined in the end.
  const bool values = plain(first);
  Tensors all;
  std::vector<Tensors> parts(first.size());
  for (const Tensor& each : first)
    if (values) all.push_back(uninitialised(each.shape().inserted(0, count), each.dtype()));
  for (std::int64_t at = 0; at < count; at += most) {
    const Tensor vectors = units(shape, dtype, at, std::min(most, count - at));
    const Tensors found = together  ? (*together)(vectors, record)
                          : at == 0 ? with_first_axis(first)
                                    : with_first_axis(map(reshape(vectors, shape)));
    for (std::size_t k = 0; k < found.size(); ++k)
      if (values)
        put(found[k], at, all[k]);
      else
        parts[k].push_back(found[k]);
  }
  for (const Tensors& each : parts)
    if (!values) all.push_back(each.size() == 1 ? each[0] : concat(each, 0));
  return all;
}

Shape joined(const Shape& a, const Shape& b) {
  std::vector<std::int64_t> sizes = a.sizes();
  sizes.insert(sizes.end(), b.begin(), b.end());
  return Shape(sizes);
}

// (n,) + y's shape, n the elements of x, as y's shape + x's shape.
Tensor turned(const Tensor& columns, const Shape& y, const Shape& x) {
  return reshape(transpose(reshape(columns, {x.elements(), y.elements()})), joined(y, x));
}

}  // namespace

template <std::same_as<Tensors> T>
Tensors jacobian(const FunctionOf<T>& f, const T& x) {
  const RecordingScope on(true);
  const Recorded record = recorded("jacobian", f, x);
  const Tensor& y = record.y;
  std::int64_t columns = 0;
  for (const Tensor& at : record.at) columns += at.elements();
  Tensors blocks;
  if (y.elements() == 0 || columns == 0 || !y.recorded()) {
    for (const Tensor& at : record.at) blocks.push_back(zeros(joined(y.shape(), at.shape()), at.dtype()));
    return blocks;
  }
  if (columns <= y.elements()) {
    for (const Tensor& at : record.at) {
      const LinearMap forward = [&](const Tensor& v) {
        return tangents({y}, {at}, {v}, {.record = record.nested, .missing = Missing::undefined});
      };
      const Tensors found = at_units(forward, at, record.nested);
      if (found.empty()) break;
      blocks.push_back(turned(found[0], y.shape(), at.shape()));
    }
    if (blocks.size() == record.at.size()) return blocks;
  }
  blocks = at_units([&](const Tensor& v) { return record.pull(v, record.nested); }, y, record.nested);
  for (std::size_t k = 0; k < blocks.size(); ++k)
    blocks[k] = reshape(blocks[k], joined(y.shape(), record.at[k].shape()));
  return blocks;
}

template <std::same_as<Tensors> T>
std::vector<Tensors> hessian(const FunctionOf<T>& f, const T& x) {
  const RecordingScope on(true);
  const Recorded record = recorded("hessian", f, x);
  check_single("hessian", record.y);
  const Tensors slopes = record.pull({}, true);
  std::vector<Tensors> blocks;
  for (std::size_t k = 0; k < slopes.size(); ++k) {
    const Tensor& at = record.at[k];
    // H is symmetric: what it makes of a unit vector is a column, and a row; blocks below the diagonal are those above,
    // turned.
    const Tensors slopes_left(slopes.begin() + static_cast<std::ptrdiff_t>(k), slopes.end());
    const Tensors left(record.at.begin() + static_cast<std::ptrdiff_t>(k), record.at.end());
    Tensors rows = at_units(
        [&](const Tensor& v) {
          return tangents(slopes_left, {at}, {v}, {.record = record.nested, .missing = Missing::undefined});
        },
        at, record.nested);
    if (rows.empty())
      rows = at_units([&](const Tensor& v) { return pull(slopes[k], left, v, record.nested); }, at, record.nested);
    Tensors& row = blocks.emplace_back();
    for (std::size_t other = 0; other < k; ++other)
      row.push_back(turned(reshape(blocks[other][k], {record.at[other].elements(), at.elements()}), at.shape(),
                           record.at[other].shape()));
    for (std::size_t other = k; other < slopes.size(); ++other)
      row.push_back(reshape(rows[other - k], joined(at.shape(), record.at[other].shape())));
  }
  return blocks;
}

template Tensors jacobian(const FunctionOfMany& f, const Tensors& x);
template std::vector<Tensors> hessian(const FunctionOfMany& f, const Tensors& x);

}  // namespace twopass
