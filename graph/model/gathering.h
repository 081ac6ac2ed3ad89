// Rows copied together. For the files of this folder.
#pragma once
#include <cstdint>
#include <span>

#include <twopass/core/tensor.h>

namespace twopass {

/// Where a copy is read: `elsewhere` writes it past this core's cache, out of which others are slow to read.
enum class Reach { here, elsewhere };

/// Copies rows of these numbers of `from` into `to`, from its row `at` on, converted to its dtype as `cast` does.
/// Refuses numbers that `from` has not.
void gather(const Tensor& from, std::span<const std::int64_t> rows, const Tensor& to, std::int64_t at, Reach reach);

}  // namespace twopass
