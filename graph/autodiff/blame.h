// Which op a wrong gradient comes from. For the files of this folder.
#pragma once
#include <twopass/graph/autodiff/comparison.h>

namespace twopass {

/// Computes f again, keeping every value, and checks each recorded call alone with the inputs that it really had: for
/// order 1 the calls of f, for higher orders those of its gradients too. Adds the culprits, or a note that says what
/// it means that there is none, which may excuse pairs that fail at a kink. Where options do not ask for blame, that is
/// all that it does.
/// `epsilon` and `bound` are those of compare and check_exactly.
void blame(const ManyFunction& f, const Tensors& inputs, int order, double epsilon, double bound,
           const GradcheckOptions& options, GradcheckReport& report);

}  // namespace twopass
