// How the library's own optimizers are made. For the .cpp files of this folder.
#pragma once
#include <twopass/optim/optimizer.h>

namespace twopass {

struct OptimizerMaker {
  /// One that optimizer_from makes again.
  static Optimizer make(UpdateRule rule, LearningRate rate, const UpdateOptions& options);
};

}  // namespace twopass
