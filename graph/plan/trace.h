// A function of tensors, run once on symbols, as a program. For the files of this folder.
#pragma once
#include <functional>
#include <vector>

#include <twopass/graph/plan/plan.h>
#include <twopass/graph/plan/program.h>

namespace twopass {

namespace planning {

/// Runs `f` once on symbols of these shapes; `options` may name inputs and outputs. Refuses what reads elements of a
/// symbol, as the program would do so too.
Program trace(const PlanFunction& f, const std::vector<Spec>& inputs, const PlanOptions& options);

}  // namespace planning
}  // namespace twopass
