// What is said of a derivative and its differences. For the files of this folder.
#pragma once
#include <vector>

#include <twopass/graph/autodiff/differences.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/report.h>

namespace twopass {

struct Judgement {
  Verdict verdict;
  double numerical, bound, off;
  bool sure;  // more steps would not change it
};

/// `size` is that of the row's values and derivatives, at most 1: what is absolute to one function is not to another.
/// Along a direction through many elements subgradients may add up to what lies between no slopes: a kink is no mistake
/// there.
Judgement judge(double analytic, const Slope& slope, double size, bool direction, const GradcheckOptions& options);

/// Whether nothing that was tried changes a value, and its derivative is so small beside the inputs that it may be that
/// of what is lost in a sum, as the small terms of a softmax are beside 1. Denormal ones are reckoned elsewhere.
bool is_lost(double analytic, const Slope& slope, const std::vector<std::vector<double>>& inputs);

}  // namespace twopass
