// Ops that draw random numbers. What they draw follows from a key and a position alone, so a graph that runs again can
// draw the same, or, with another step, the next.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>

namespace twopass {

/// Keeps each element with probability 1 - rate and scales it by 1 / (1 - rate), else 0 (inverted dropout, Srivastava
/// et al. 2014). The mask is that of (key, step), step an i64 scalar. Refuses rates outside [0, 1]; rate 1 gives zeros.
Tensor dropout(const Tensor& x, double rate, std::uint64_t key, const Tensor& step);

/// Dropout for selu: drops to -1.7581, selu's limit, and scales and moves so that mean 0 and variance 1 stay (Klambauer
/// et al., 2017). At rate 1 zeros.
Tensor alpha_dropout(const Tensor& x, double rate, std::uint64_t key, const Tensor& step);
/// Dropout of whole channels (Tompson et al., 2015): those along `axis` of each sample of x [batch, ...].
Tensor channel_dropout(const Tensor& x, double rate, std::uint64_t key, const Tensor& step, int axis = 1);

}  // namespace twopass
