// Parameters that layers set themselves in a training call. For the files of this folder.
#pragma once
#include <twopass/core/parameter.h>

namespace twopass {

/// Puts what layers have set in a call that failed, or that was only a look, back to what it was, unless `keep` is
/// called.
class StateGuard {
 public:
  explicit StateGuard(const Parameters& parameters) {
    for (const Parameter& each : parameters)
      if (!each.trainable()) states_.push_back(each);
    held_ = Parameter::held(states_);
  }
  ~StateGuard() { Parameter::put_back(states_, held_); }
  StateGuard(const StateGuard&) = delete;
  StateGuard& operator=(const StateGuard&) = delete;
  void keep() { states_.clear(); }

 private:
  Parameters states_;
  Tensors held_;
};

}  // namespace twopass
