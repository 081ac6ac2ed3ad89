// Numbers of 16 bits with the range of f32. For the .cpp files of this folder.
#pragma once
#include <bit>
#include <cstdint>

namespace twopass {

/// The nearest bf16, ties to even; NaN stays NaN.
inline std::uint16_t bf16_of(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
  return static_cast<std::uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : nearest);
}

}  // namespace twopass
