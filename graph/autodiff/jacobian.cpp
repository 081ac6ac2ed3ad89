// Whole Jacobians and Hessians: one record, and a pass over it for each unit vector.
#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/point.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/anomaly.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

// A linear function of one tensor; an undefined result says that it cannot be computed.
using LinearMap = std::function<Tensors(const Tensor&)>;

// From how many unit vectors on tracing a pass once costs less than its plan saves, measured over records of 30 to
// 30,000 calls: plans of large graphs take long to make.
std::int64_t worth_planning(const Tensors& outputs, const Tensors& of) {
  std::uint64_t oldest = ~std::uint64_t{0};
  for (const Tensor& x : of) oldest = std::min(oldest, x.node().number);
  std::vector<Node*> roots;
  for (const Tensor& y : outputs) roots.push_back(&y.node());
  return std::min<std::int64_t>(10 + static_cast<std::int64_t>(recorded_behind(roots, oldest).size()) / 20, 130);
}

Tensor unit(const Shape& shape, DType dtype, std::int64_t at) {
  const Tensor vector = zeros(shape, dtype);
  dispatch(dtype, [&]<typename T>() { writable<T>(vector)[at] = static_cast<T>(1); });
  return vector;
}

bool plain(const Tensors& tensors) {
  for (const Tensor& x : tensors)
    if (x.symbolic() || x.recorded()) return false;
  return true;
}

// The map as a plan. A rule that reads its gradient's elements cannot be traced.
std::optional<Plan> planned(const LinearMap& map, const Tensor& like) {
  if (AnomalyScope::current()) return std::nullopt;  // looks at every value
  try {
    return plan([&](const Tensors& in) { return map(in[0]); }, {like});
  } catch (const Error&) {
    return std::nullopt;
  }
}

Shape beside(std::int64_t count, const Shape& shape) { return shape.inserted(0, count); }

// What the map makes of each unit vector like a tensor of n elements, for each of its results along a new first axis of
// n. Nothing where it cannot be computed.
Tensors at_units(const LinearMap& map, const Tensor& like, std::int64_t worth_planning) {
  const Shape& shape = like.shape();
  const DType dtype = like.dtype();
  const std::int64_t count = shape.elements();
  const Tensors first = map(count ? unit(shape, dtype, 0) : zeros(shape, dtype));
  for (const Tensor& each : first)
    if (!each.defined()) return {};
  if (count > 0 && !plain(first)) {
    std::vector<Tensors> rows(first.size());
    for (std::int64_t at = 0; at < count; ++at) {
      const Tensors found = at == 0 ? first : map(unit(shape, dtype, at));
      for (std::size_t k = 0; k < found.size(); ++k) rows[k].push_back(found[k]);
    }
    Tensors stacked;
    for (const Tensors& each : rows) stacked.push_back(stack(each));
    return stacked;
  }
  Tensors all;
  for (const Tensor& each : first) all.push_back(uninitialised(beside(count, each.shape()), each.dtype()));
  std::optional<Plan> plan;
  if (count >= worth_planning) plan = planned(map, unit(shape, dtype, 0));
  for (std::int64_t at = 0; at < count; ++at) {
    const Tensor v = unit(shape, dtype, at);
    const Tensors found = at == 0 ? first : plan ? (*plan)({v}) : map(v);
    for (std::size_t k = 0; k < found.size(); ++k)
      std::memcpy(all[k].node().data + static_cast<std::size_t>(at) * found[k].node().bytes(), found[k].node().data,
                  found[k].node().bytes());
  }
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
  const Recorded record = recorded(f, x);
  const Tensor& y = record.y;
  std::int64_t columns = 0;
  for (const Tensor& at : record.at) columns += at.elements();
  Tensors blocks;
  if (y.elements() == 0 || columns == 0 || !y.recorded()) {
    for (const Tensor& at : record.at) blocks.push_back(zeros(joined(y.shape(), at.shape()), at.dtype()));
    return blocks;
  }
  const std::int64_t worth = worth_planning({y}, record.at);
  if (columns <= y.elements()) {
    for (const Tensor& at : record.at) {
      const LinearMap forward = [&](const Tensor& v) {
        return tangents({y}, {at}, {v}, {.record = record.nested, .missing = Missing::undefined});
      };
      const Tensors found = at_units(forward, at, worth);
      if (found.empty()) break;
      blocks.push_back(turned(found[0], y.shape(), at.shape()));
    }
    if (blocks.size() == record.at.size()) return blocks;
  }
  blocks = at_units([&](const Tensor& v) { return record.pull(v, record.nested); }, y, worth);
  for (std::size_t k = 0; k < blocks.size(); ++k)
    blocks[k] = reshape(blocks[k], joined(y.shape(), record.at[k].shape()));
  return blocks;
}

template <std::same_as<Tensors> T>
std::vector<Tensors> hessian(const FunctionOf<T>& f, const T& x) {
  const RecordingScope on(true);
  const Recorded record = recorded(f, x);
  check_single("hessian", record.y);
  const Tensors slopes = record.pull({}, true);
  const std::int64_t worth = worth_planning(slopes, record.at);
  std::vector<Tensors> blocks;
  for (std::size_t k = 0; k < slopes.size(); ++k) {
    const Tensor& at = record.at[k];
    // H is symmetric: what it makes of a unit vector is a column, and a row.
    Tensors rows = at_units(
        [&](const Tensor& v) {
          return tangents(slopes, {at}, {v}, {.record = record.nested, .missing = Missing::undefined});
        },
        at, worth);
    if (rows.empty())
      rows = at_units([&](const Tensor& v) { return pull(slopes[k], record.at, v, record.nested); }, at, worth);
    for (std::size_t other = 0; other < rows.size(); ++other)
      rows[other] = reshape(rows[other], joined(at.shape(), record.at[other].shape()));
    blocks.push_back(std::move(rows));
  }
  return blocks;
}

template Tensors jacobian(const FunctionOfMany& f, const Tensors& x);
template std::vector<Tensors> hessian(const FunctionOfMany& f, const Tensors& x);

}  // namespace twopass
