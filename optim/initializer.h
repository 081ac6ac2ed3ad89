// First values of parameters, by Keras 3's rules. The fans of a shape (…, in, out) are in and out times what stands
// before.
#pragma once
#include <string>

#include <twopass/core/parameter.h>

namespace twopass {

Initializer zeros_initializer();
Initializer ones_initializer();
Initializer constant_initializer(double value);
/// Uniform within ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010). PyTorch's Linear draws within
/// ±1/sqrt(fan_in).
Initializer glorot_uniform();
/// Truncated normal of variance 2 / (fan_in + fan_out).
Initializer glorot_normal();
/// Uniform within ±sqrt(6 / fan_in), and truncated normal of variance 2 / fan_in (He et al., 2015).
Initializer he_uniform();
Initializer he_normal();
/// Uniform within ±sqrt(3 / fan_in), and truncated normal of variance 1 / fan_in (LeCun et al., 1998).
Initializer lecun_uniform();
Initializer lecun_normal();
Initializer random_normal(double mean = 0, double stddev = 0.05);
Initializer random_uniform(double low = -0.05, double high = 0.05);
/// Normal, values beyond two standard deviations drawn again.
Initializer truncated_normal(double mean = 0, double stddev = 0.05);
/// Orthonormal columns, or rows where there are fewer, times `gain`; leading axes count as one (Saxe et al., 2014).
Initializer orthogonal(double gain = 1);
/// By name ("glorot_uniform", "zeros", …), with defaults; refuses others, listing those that there are.
Initializer initializer_named(const std::string& name);

}  // namespace twopass
