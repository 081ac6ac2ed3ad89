// Whether numbers are finite, many at once. For the .cpp files of the library.
#pragma once
#include <cstddef>
#include <cstdint>

#include <twopass/core/dtype.h>

namespace twopass {

/// Whether none of so many f32 or f64 elements is infinite or NaN.
bool all_finite(const std::byte* elements, std::int64_t count, DType dtype);

}  // namespace twopass
