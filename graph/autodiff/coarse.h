// Calls that are no finer than f32, though what they give is f64. For the files of this folder.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/alone.h>

namespace twopass {

/// Whether a call's op, a user's, rounds to f32 within itself, which trying it beside its inputs shows.
bool is_coarse(const AloneCall& call, std::uint64_t seed);

/// Those of the calls behind tensors, whose values the record must have kept (KeepingScope).
std::vector<AloneCall> coarse_calls(const Tensors& outputs, std::uint64_t seed);

}  // namespace twopass
