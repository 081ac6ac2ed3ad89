// Which parameters a function reads.
#pragma once
#include <utility>
#include <vector>

#include <twopass/core/parameter.h>

namespace twopass {

/// While it lives, notes which parameters this thread reads and what the first read of each gave. Scopes nest; each
/// sees all reads.
class ParameterReads {
 public:
  ParameterReads();
  ~ParameterReads();
  ParameterReads(const ParameterReads&) = delete;
  ParameterReads& operator=(const ParameterReads&) = delete;
  const Parameters& parameters() const { return parameters_; }
  const Tensors& tensors() const { return tensors_; }

 private:
  friend class Parameter;
  static void note(const Parameter& parameter, const Tensor& given);
  Parameters parameters_;
  Tensors tensors_;
  ParameterReads* before_;
};

}  // namespace twopass
