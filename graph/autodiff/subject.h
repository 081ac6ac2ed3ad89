// What a gradient check looks at, and how finely. For the files of this folder.
#pragma once
#include <limits>
#include <string>

#include <twopass/graph/autodiff/comparison.h>

namespace twopass {

constexpr double kExactly = 1e-12;  // what identities hold to in f64
constexpr double kNoise = 1e-9;     // from call to call: what is more leaves nothing to differentiate

/// A function and its inputs, in the precision in which they can be checked.
struct Subject {
  ManyFunction f;
  Tensors inputs;
  double epsilon = std::numeric_limits<double>::epsilon();
  double exact = kExactly;
  GradcheckOptions options;
  std::string why = {};  // it is checked within the bounds of f32; empty where it is not
};

Subject subject_of(const ManyFunction& f, const Tensors& inputs, const GradcheckOptions& options);

bool has_floating(const Tensors& tensors);
/// By how much two results of one function differ, relative to the size of each tensor; infinity where they are not
/// alike at all.
double difference(const Tensors& a, const Tensors& b);
/// Makes bounds those of f32.
void narrow(Subject& subject, std::string why);
/// Whether f gives the same for inputs that differ by less than f32's digits, but not for those that differ by more: it
/// rounds to f32 on the way, which an op of the user's own does not tell.
bool rounds_to_f32(const ManyFunction& f, const Tensors& inputs, std::uint64_t seed);

}  // namespace twopass
