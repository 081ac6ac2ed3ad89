// What a check says of a function where its record claims some derivative.
#pragma once
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>

#include <functional>

namespace twopass {

using Scalar = std::function<Tensor(const Tensor&)>;

// What the check says of f at x where the record claims that the derivative is `claim`.
inline GradcheckPair verdict_on(const Scalar& f, double x, double claim) {
  const auto claiming =
      custom_gradient([&](const Tensors& in) { return f(in[0]); },
                      [claim](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * claim}; });
  return gradcheck([&](const Tensors& in) { return claiming(in); }, {tensor({x}, f64)},
                   {.exact = false, .blame = false})
      .pairs()[0];
}

}  // namespace twopass
