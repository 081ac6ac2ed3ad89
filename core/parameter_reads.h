// What a function does with parameters: which it reads, and whether it sets any.
#pragma once
#include <cstdint>
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

/// How often this thread has given parameters new symbols in LiftScopes.
std::uint64_t lifted_sets();

/// While it lives, this thread is outside of the LiftScope that it may be in, and reads parameters by `tensor` alone:
/// what else is done to them is refused, as nobody would know of it.
class TensorReadsScope {
 public:
  TensorReadsScope();
  ~TensorReadsScope();
  TensorReadsScope(const TensorReadsScope&) = delete;
  TensorReadsScope& operator=(const TensorReadsScope&) = delete;

 private:
  LiftScope* lifted_before_;
  bool restricted_before_;
};

}  // namespace twopass
