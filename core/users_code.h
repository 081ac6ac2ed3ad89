// What code of the user's throws.
#pragma once
#include <exception>
#include <new>

#include <twopass/core/error.h>

namespace twopass {

/// What `f` gives. An exception of its that is no Error is told as one, so that it can be said where it was thrown;
/// memory that there is not stays std::bad_alloc.
template <typename F>
auto users_code(const F& f) {
  try {
    return f();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(error.what(), std::current_exception());
  }
}

/// What stands behind "… gives an undefined tensor".
inline constexpr const char* kUndefined = "one that was never given a value, or moved from";

}  // namespace twopass
