// Calls that are no finer than f32, though what they give is f64. For the files of this folder.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/alone.h>

namespace twopass {

/// The calls behind tensors whose op rounds to f32 within itself, which trying it beside its inputs shows. The record
/// must have kept its values (KeepingScope).
std::vector<AloneCall> coarse_calls(const Tensors& outputs, std::uint64_t seed);

}  // namespace twopass
