// Jacobians from backward passes compared with those from differences. For the files of this folder.
#pragma once
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/many_function.h>
#include <twopass/graph/autodiff/report.h>

namespace twopass {

/// Compares f's Jacobian for its floating inputs with differences, pair by pair of input and output. `order` is what
/// the report says; `epsilon` is the relative rounding error of f.
void compare(const ManyFunction& f, const Tensors& inputs, int order, double epsilon, const GradcheckOptions& options,
             GradcheckReport& report);

}  // namespace twopass
