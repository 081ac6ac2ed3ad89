// The one exception type for everything that a caller can cause.
#pragma once
#include <stdexcept>
#include <string>

namespace twopass {

/// A call that could not be done. what() names the call with its shapes, what was expected and what came, and, on lines
/// of their own, the layer and the model it happened in. Whatever threw it has changed nothing.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;

  /// The same error with one more indented line that says where it happened.
  Error within(const std::string& place) const { return Error(std::string(what()) + "\n  " + place); }
};

}  // namespace twopass
