// Identities of derivatives that need no differences. For the files of this folder.
#pragma once
#include <cstdint>

#include <twopass/graph/autodiff/comparison.h>

namespace twopass {

/// For random u, v, w: ⟨v, J u⟩ = ⟨Jᵀ v, u⟩ with J u in forward mode, and from the derivative of the gradient for its
/// seed; Jᵀ(2 v - 3 w) = 2 Jᵀ v - 3 Jᵀ w; each input's gradient is the same where no other is wanted; and, where
/// `order` is above 1, ⟨u, H w⟩ = ⟨w, H u⟩, and vᵀ J u has the same derivatives from forward mode as from the gradient.
/// They hold to a few roundings: `bound` times the sizes of the vectors.
void check_exactly(const ManyFunction& f, const Tensors& inputs, int order, double bound,
                   const GradcheckOptions& options, GradcheckReport& report);

}  // namespace twopass
