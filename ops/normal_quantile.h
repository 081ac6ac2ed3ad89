// The kernel of normal draws. For the .cpp files of this folder.
#pragma once

namespace twopass::kernels {

/// The x with Φ(x) = p for p in (0, 1), to about 1e-16 (Wichura, algorithm AS 241, 1988).
double normal_quantile(double p);

}  // namespace twopass::kernels
