// The objectives of the ADBench suite (Šrajer, Kukelova and Fitzgibbon, 2018) as functions of tensors, and the programs
// around them.
#pragma once
#include <twopass/twopass.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace adbench {

/// What is differentiated: an objective of one element, the parameters at which, all f64, and their names. Data lie in
/// the objective.
struct Problem {
  std::vector<std::string> names;
  twopass::Tensors parameters;
  std::function<twopass::Tensor(const twopass::Tensors&)> objective;
};

/// Both passes: recorded parameters to the objective and its gradient for each.
twopass::PlanFunction both_passes(const Problem& problem);

using Reader = Problem (*)(std::string_view text, std::string_view name);
/// The main function of a program `NAME FILE`: prints objective and gradient with 17 digits, and what both passes take.
int run(int argc, char** argv, const char* name, Reader read);

}  // namespace adbench
