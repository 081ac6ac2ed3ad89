#include <twopass/graph/autodiff/transforms.h>

#include <fmt/format.h>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/op.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

// What f is differentiated for: a node of its own, so that what else led to x does not count; recorded through to x
// where x is recorded, so that derivatives nest.
Tensor point(const Tensor& x) { return x.recorded() ? identity(x) : variable(x); }

// The gradient of y for x; zeros where y does not depend on it.
Tensor pull(const Tensor& y, const Tensor& x, const Tensor& seed, bool record) {
  if (!y.recorded()) return zeros(x.shape(), x.dtype());
  return gradients(y, {x}, {.seed = seed, .record = record})[0];
}

void check_like(const char* call, const char* what, const Tensor& v, const Tensor& x) {
  if (v.shape() != x.shape() || v.dtype() != x.dtype())
    throw Error(fmt::format("{}: v is {} {} but {} is {} {}", call, name_of(v.dtype()), v.shape().text(), what,
                            name_of(x.dtype()), x.shape().text()));
}

void check_single(const char* call, const Tensor& y) {
  if (y.elements() != 1)
    throw Error(fmt::format("{}: the function must return one element, not shape {}", call, y.shape().text()));
}

// J of shape y.shape + (columns,): u -> uᵀ J is linear, and its transpose applied to a unit vector is a column.
// Undefined where an op on the way has no second derivative.
Tensor by_columns(const Tensor& y, const Tensor& x, bool record) {
  const Tensor u = variable(zeros(y.shape(), y.dtype()));
  const Tensor g = pull(y, x, u, true);
  for (const Node* node : nodes_behind({g}))
    if (node->op && !node->is(Node::kLeaf) && node->is(Node::kRecorded) && !node->op->differentiable()) return {};
  const Tensor unit = eye(x.elements(), x.dtype());
  Tensors each;
  for (std::int64_t column = 0; column < x.elements(); ++column)
    each.push_back(pull(g, u, reshape(slice(unit, 0, column, column + 1), x.shape()), record));
  return stack(each, -1);
}

}  // namespace

std::pair<Tensor, Tensor> value_and_gradient(const Function& f, const Tensor& x) {
  const RecordingScope on(true);
  const Tensor at = point(x);
  const Tensor y = f(at);
  check_single("grad", y);
  Tensor g = pull(y, at, {}, x.recorded());
  return {x.recorded() ? y : detach(y), std::move(g)};
}

std::pair<Tensor, Tensors> value_and_gradients(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs) {
  const RecordingScope on(true);
  bool recorded = false;
  Tensors at;
  for (const Tensor& x : inputs) {
    recorded = recorded || x.recorded();
    at.push_back(point(x));
  }
  const Tensor y = f(at);
  check_single("grad", y);
  Tensors found;
  if (y.recorded())
    found = gradients(y, at, {.record = recorded});
  else
    for (const Tensor& x : at) found.push_back(zeros(x.shape(), x.dtype()));
  return {recorded ? y : detach(y), std::move(found)};
}

std::pair<Tensor, Tensor> vjp(const Function& f, const Tensor& x, const Tensor& v) {
  const RecordingScope on(true);
  const Tensor at = point(x);
  const Tensor y = f(at);
  check_like("vjp", "f(x)", v, y);
  Tensor g = pull(y, at, v, x.recorded() || v.recorded());
  return {x.recorded() ? y : detach(y), std::move(g)};
}

Tensor jvp(const Function& f, const Tensor& x, const Tensor& v) {
  check_like("jvp", "x", v, x);
  const RecordingScope on(true);
  const Tensor at = point(x);
  const Tensor y = f(at);
  if (!y.recorded()) return zeros(y.shape(), y.dtype());
  // u -> uᵀ J is linear: its transpose applied to v is J v, wherever u stands.
  const Tensor u = variable(zeros(y.shape(), y.dtype()));
  const Tensor g = pull(y, at, u, true);
  return pull(g, u, v, x.recorded() || v.recorded());
}

Tensor hvp(const Function& f, const Tensor& x, const Tensor& v) {
  check_like("hvp", "x", v, x);
  const RecordingScope on(true);
  const Tensor at = point(x);
  const Tensor y = f(at);
  check_single("hvp", y);
  return pull(pull(y, at, {}, true), at, v, x.recorded() || v.recorded());
}

Tensor jacobian(const Function& f, const Tensor& x) {
  const RecordingScope on(true);
  const Tensor at = point(x);
  const Tensor y = f(at);
  const std::int64_t rows = y.elements();
  std::vector<std::int64_t> sizes = y.shape().sizes();
  sizes.insert(sizes.end(), x.shape().begin(), x.shape().end());
  if (rows == 0 || !y.recorded()) return zeros(Shape(sizes), x.dtype());
  // A column takes a pass over the record of a pass, which is twice as long as a row's.
  const std::int64_t columns = x.elements();
  if (2 * columns < rows)
    if (const Tensor found = by_columns(y, at, x.recorded()); found.defined()) return reshape(found, Shape(sizes));
  const Tensor unit = eye(rows, y.dtype());
  Tensors each;
  for (std::int64_t row = 0; row < rows; ++row)
    each.push_back(pull(y, at, reshape(slice(unit, 0, row, row + 1), y.shape()), x.recorded()));
  return reshape(stack(each), Shape(sizes));
}

Tensor hessian(const Function& f, const Tensor& x) {
  return jacobian([&](const Tensor& at) { return grad(f)(at); }, x);
}

}  // namespace twopass
