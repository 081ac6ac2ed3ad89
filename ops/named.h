// The name of a function that is made of ops, in what these refuse. For the .cpp files of this folder.
#pragma once
#include <initializer_list>

#include <twopass/core/error.h>
#include <twopass/core/tensor.h>

namespace twopass {

/// The same error with the call of a function before it: "cdist((2, 3), (4,)): …", unless it begins with its name.
Error named(const Error& reason, const char* name, std::initializer_list<const Tensor*> inputs);

/// f(), the body of a function of these inputs; what it refuses is told as the function's.
template <typename F>
auto named(const char* name, std::initializer_list<const Tensor*> inputs, const F& f) {
  try {
    return f();
  } catch (const Error& reason) {
    throw named(reason, name, inputs);
  }
}

}  // namespace twopass
