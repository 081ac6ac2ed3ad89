// Kinks of several ops at one point, where every op is right but a chain of them need not be. For the files of this
// folder.
#pragma once
#include <string>
#include <vector>

#include <twopass/core/place.h>
#include <twopass/graph/autodiff/comparison.h>

namespace twopass {

/// Recorded calls that sit at a kink or a jump here, found by moving what each reads as it moves where f's inputs do:
/// "relu((3,)) sits at a kink (2 calls) in layer "dense"", once each. None where f computes something else beside the
/// point. `outputs` is what f gave here, every value kept.
std::vector<std::string> calls_at_kinks(const ManyFunction& f, const Tensors& inputs, const Tensors& outputs,
                                        const PlaceLog& places, std::uint64_t seed);

/// The pairs of f, compared at points on both sides of this one: each the worst that was found of it. Stops where one
/// fails.
std::vector<GradcheckPair> pairs_beside(const ManyFunction& f, const Tensors& inputs, int order, double epsilon,
                                        const GradcheckOptions& options);

}  // namespace twopass
