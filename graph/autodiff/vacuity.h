// What a check did not reach: branches never taken. For the files of this folder.
#pragma once
#include <string>
#include <vector>

#include <twopass/core/place.h>
#include <twopass/core/tensor.h>

namespace twopass {

/// In a record that kept its values: calls whose derivative for an input is 0 for every element (a branch of `where`
/// never chosen, an argument of `maximum` that never wins, a `relu` of negative numbers alone), and elementwise calls
/// of one input of whose pieces some never occur (a `relu` of positive numbers alone); of ops whose records tell
/// branches, those that no element took, or the one place that all came from. A line each for the first ten, with the
/// layer that `places` tells, and one that counts the others. What layers of these paths record is left out.
std::vector<std::string> untaken_branches(const Tensors& outputs, const PlaceLog& places,
                                          const std::vector<std::string>& known);

/// The first call that gives denormal f64 numbers, which have few digits or none left, in words; empty where none does.
std::string denormal_values(const Tensors& outputs);

}  // namespace twopass
