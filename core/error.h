// The one exception type for everything that a caller can cause.
#pragma once
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace twopass {

/// A call that could not be done. what() names the call with its shapes, what was expected and what came, and, on lines
/// of their own, the layer and the model it happened in. Whatever threw it has changed nothing.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  /// What a user's code threw that is no Error, told in its words.
  Error(const std::string& what, std::exception_ptr cause) : std::runtime_error(what), cause_(std::move(cause)) {}

  /// The same error with one more indented line that says where it happened.
  Error within(const std::string& place) const { return Error(std::string(what()) + "\n  " + place, cause_); }

  /// The exception of another type that it tells of, for std::rethrow_exception; null where there is none.
  const std::exception_ptr& cause() const { return cause_; }

 private:
  std::exception_ptr cause_;
};

}  // namespace twopass
