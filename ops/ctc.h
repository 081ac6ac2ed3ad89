// Connectionist temporal classification: the loss of sequences whose labels have no places.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>

namespace twopass {

/// -log of the probability that logits [n, t, classes] say i64 labels [n, m]: summed over all ways to say each label
/// at one or more steps, with the class `blank` between, which must stand between two equal labels (Graves et al.,
/// 2006). Row k has the first steps[k] steps and counts[k] labels; the rest is not read. [n]; where the steps are too
/// few for the labels inf, as in PyTorch and TensorFlow, with gradient 0. Log-probabilities are logits too. Has two
/// derivatives.
Tensor ctc_loss(const Tensor& logits, const Tensor& labels, const Tensor& steps, const Tensor& counts,
                std::int64_t blank = 0);

}  // namespace twopass
