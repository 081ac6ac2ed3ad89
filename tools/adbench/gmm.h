// The log-likelihood of a Gaussian mixture with a Wishart prior, ADBench's GMM.
#pragma once
#include "problem.h"

namespace adbench {

/// Of d axes, k components and n points: "d k n", the logits of the weights [k], means [k, d], factors of the inverse
/// covariances [k, d (d + 1) / 2] (log-diagonals, then the strictly lower entries column by column), points [n, d], and
/// the prior's gamma and m. The parameters are alphas, means and icfs.
Problem read_gmm(std::string_view text, std::string_view name);

}  // namespace adbench
