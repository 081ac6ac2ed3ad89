// Refusals of what is not there: functions that are null, tensors that are undefined. For the files of this folder.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include <twopass/core/tensor.h>

namespace twopass {

void check_given(const char* call, bool given, const char* what);

/// "x" where there is one alone, else "x 2".
std::string numbered(const char* what, std::size_t number, std::size_t count);
/// "jvp: x 1 is an undefined tensor: …", of one alone "checkpoint: the input is …".
void check_defined(const char* call, const char* what, std::span<const Tensor> tensors);
/// "jvp: the function gives an undefined tensor: …", of several "… for output 1: …".
void check_gives(const char* call, std::span<const Tensor> outputs);

}  // namespace twopass
