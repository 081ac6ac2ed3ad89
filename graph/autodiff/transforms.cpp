#include <twopass/graph/autodiff/transforms.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/graph/autodiff/given.h>
#include <twopass/graph/autodiff/point.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>

namespace twopass {

bool any_recorded(const Tensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return x.recorded(); });
}

void check_like(const char* call, const char* what, const Tensors& v, const Tensors& x) {
  check_defined(call, "v", v);
  check_defined(call, what, x);
  if (v.size() != x.size())
    throw Error(fmt::format("{}: v has {} but {} has {}", call, counted(v.size(), "tensor"), what, x.size()));
  for (std::size_t k = 0; k < v.size(); ++k)
    if (v[k].shape() != x[k].shape() || v[k].dtype() != x[k].dtype())
      throw Error(fmt::format("{}: {} is {} {} but {} is {} {}", call, numbered("v", k, v.size()),
                              name_of(v[k].dtype()), v[k].shape().text(), numbered(what, k, x.size()),
                              name_of(x[k].dtype()), x[k].shape().text()));
}

void check_single(const char* call, const Tensor& y) {
  if (y.elements() != 1)
    throw Error(fmt::format("{}: the function must return one element, not shape {}", call, y.shape().text()));
}

Tensors pull(const Tensor& y, const Tensors& of, const Tensor& seed, bool record) {
  if (y.recorded()) return gradients(y, of, {.seed = seed, .record = record});
  Tensors none;
  for (const Tensor& x : of) none.push_back(zeros(x.shape(), x.dtype()));
  return none;
}

Tensors Recorded::pull(const Tensor& seed, bool record) const { return twopass::pull(y, at, seed, record); }

Recorded recorded(const char* call, const FunctionOfMany& f, const Tensors& inputs) {
  check_given(call, bool(f), "function");
  check_defined(call, "x", inputs);
  for (std::size_t k = 0; k < inputs.size(); ++k)
    if (!is_floating(inputs[k].dtype()))
      throw Error(fmt::format("{}: {} is {}, which has no derivative", call, numbered("x", k, inputs.size()),
                              name_of(inputs[k].dtype())));
  const RecordingScope on(true);
  Recorded record{{}, {}, any_recorded(inputs)};
  for (const Tensor& x : inputs) record.at.push_back(x.recorded() ? identity(x) : variable(x));
  record.y = f(record.at);
  check_gives(call, {&record.y, 1});
  if (!is_floating(record.y.dtype()))
    throw Error(fmt::format("{}: the function gives {}, which has no derivative", call, name_of(record.y.dtype())));
  return record;
}

namespace {

FunctionOfMany of_many(const Function& f) {
  if (!f) return {};
  return [&f](const Tensors& x) { return f(x[0]); };
}

}  // namespace

std::pair<Tensor, Tensors> value_and_gradients(const FunctionOfMany& f, const Tensors& inputs) {
  const Recorded record = recorded("grad", f, inputs);
  check_single("grad", record.y);
  Tensors found = record.pull({}, record.nested);
  return {record.value(), std::move(found)};
}

template <std::same_as<Tensors> T>
std::pair<Tensor, Tensors> vjp(const FunctionOf<T>& f, const T& x, const Tensor& v) {
  check_defined("vjp", "v", {&v, 1});
  const Recorded record = recorded("vjp", f, x);
  check_like("vjp", "f(x)", {v}, {record.y});
  Tensors found = record.pull(v, record.nested || v.recorded());
  return {record.value(), std::move(found)};
}

template <std::same_as<Tensors> T>
Tensor jvp(const FunctionOf<T>& f, const T& x, const T& v) {
  check_given("jvp", bool(f), "function");
  check_like("jvp", "x", v, x);
  const Recorded record = recorded("jvp", f, x);
  return tangents({record.y}, record.at, v, {.record = record.nested || any_recorded(v)})[0];
}

template <std::same_as<Tensors> T>
Tensors hvp(const FunctionOf<T>& f, const T& x, const T& v) {
  check_given("hvp", bool(f), "function");
  check_like("hvp", "x", v, x);
  const Recorded record = recorded("hvp", f, x);
  check_single("hvp", record.y);
  return tangents(record.pull({}, true), record.at, v, {.record = record.nested || any_recorded(v)});
}

template std::pair<Tensor, Tensors> vjp(const FunctionOfMany& f, const Tensors& x, const Tensor& v);
template Tensor jvp(const FunctionOfMany& f, const Tensors& x, const Tensors& v);
template Tensors hvp(const FunctionOfMany& f, const Tensors& x, const Tensors& v);

std::pair<Tensor, Tensor> value_and_gradient(const Function& f, const Tensor& x) {
  auto [y, found] = value_and_gradients(of_many(f), {x});
  return {std::move(y), std::move(found[0])};
}
std::pair<Tensor, Tensor> vjp(const Function& f, const Tensor& x, const Tensor& v) {
  auto [y, found] = vjp(of_many(f), Tensors{x}, v);
  return {std::move(y), std::move(found[0])};
}
Tensor jvp(const Function& f, const Tensor& x, const Tensor& v) { return jvp(of_many(f), Tensors{x}, Tensors{v}); }
Tensor hvp(const Function& f, const Tensor& x, const Tensor& v) { return hvp(of_many(f), Tensors{x}, Tensors{v})[0]; }
Tensor jacobian(const Function& f, const Tensor& x) { return jacobian(of_many(f), Tensors{x})[0]; }
Tensor hessian(const Function& f, const Tensor& x) { return hessian(of_many(f), Tensors{x})[0][0]; }

}  // namespace twopass
