#include <twopass/graph/autodiff/many_function.h>

#include <fmt/format.h>

#include <utility>

#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

namespace twopass {

Tensors as_variables(const Tensors& tensors) {
  Tensors variables;
  for (const Tensor& x : tensors) variables.push_back(is_floating(x.dtype()) ? variable(detach(x)) : x);
  return variables;
}

Tensor weighted_sum(const Tensors& outputs, std::uint64_t seed) {
  Tensor total;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Tensor& y = outputs[k];
    if (!is_floating(y.dtype())) continue;
    Random random(seed_of(seed, fmt::format("projection {}", k)));
    const Tensor part = sum(y * random.uniform(y.shape(), y.dtype(), 0.5, 1.5));
    total = total.defined() ? total + part : part;
  }
  return total;
}

ManyFunction gradient_of(ManyFunction f, std::uint64_t seed) {
  return [f = std::move(f), seed](const Tensors& at) {
    const RecordingScope on(true);
    bool record = false;
    Tensors points = at, of;
    for (Tensor& x : points) {
      if (!is_floating(x.dtype())) continue;
      record = record || x.recorded();
      x = x.recorded() ? identity(x) : variable(x);
      of.push_back(x);
    }
    const Tensor total = weighted_sum(f(points), seed);
    if (total.defined() && total.recorded()) return gradients(total, of, {.record = record});
    Tensors none;
    for (const Tensor& x : of) none.push_back(zeros(x.shape(), x.dtype()));
    return none;
  };
}

}  // namespace twopass
