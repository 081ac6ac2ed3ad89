// The second pass: every gradient of a recorded tensor, newest node first.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include <twopass/core/parameter.h>
#include <twopass/core/tensor.h>

namespace twopass {

struct BackwardOptions {
  /// The gradient of `y` itself, of its shape; needed where y has more than one element.
  Tensor seed = {};
  /// Keep the gradients of tensors between leaves and output too.
  bool intermediates = false;
  /// Record the pass, so that gradients can be differentiated.
  bool record = false;
};

/// The gradients that one pass found: a value; nothing is stored on tensors or parameters.
class Gradients {
 public:
  /// The gradient of a variable, a parameter or (with `.intermediates`) any recorded tensor; zeros where the output
  /// does not depend on it. Refuses tensors that are not recorded, and ones in between without the option.
  Tensor operator[](const Tensor& x) const;
  Tensor operator[](const Parameter& parameter) const;
  /// Whether the output depends on it.
  bool contains(const Tensor& x) const;
  bool contains(const Parameter& parameter) const;
  /// How many nodes the pass visited.
  std::int64_t visited() const;

 private:
  friend class BackwardPass;
  struct Found;
  std::shared_ptr<const Found> found_;
};

/// All gradients of `y` in one pass over its record, which stays as it is: it may be called again, also from other
/// threads. Refuses a `y` that is not recorded, and one of several elements without a seed.
Gradients backward(const Tensor& y, const BackwardOptions& options = {});
/// The same, letting go of the record while walking it: values that nobody else holds are freed as soon as they are
/// used.
Gradients backward(Tensor&& y, const BackwardOptions& options = {});

/// The same for several tensors, letting go of their records: the gradients of the sum of all <seed, y>, in one pass.
Gradients backward(Tensors&& several, Tensors&& seeds, bool record = false);

/// What a requested tensor that `y` does not depend on gives.
enum class Unreachable : std::uint8_t { zeros, refuse };
struct GradientsOptions {
  Tensor seed = {};
  bool record = false;
  Unreachable unreachable = Unreachable::zeros;
  /// Whether one requested tensor counts for those that it was computed from; without, each is taken as given.
  bool beyond = true;
};
/// The gradients of `y` for these recorded tensors, in their order; nodes older than all of them are not visited.
Tensors gradients(const Tensor& y, const Tensors& of, const GradientsOptions& options = {});

}  // namespace twopass
