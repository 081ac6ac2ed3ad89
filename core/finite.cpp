#include <twopass/core/finite.h>

#include <algorithm>
#include <bit>

namespace twopass {
namespace {

// The largest exponent says it: integers, so that the loop is vectorised.
template <typename T, typename Bits>
bool finite_elements(const std::byte* elements, std::int64_t count, Bits infinity) {
  const T* values = reinterpret_cast<const T*>(elements);
  Bits largest = 0;
  for (std::int64_t k = 0; k < count; ++k)
    largest = std::max(largest, static_cast<Bits>(std::bit_cast<Bits>(values[k]) & infinity));
  return largest < infinity;
}

}  // namespace

bool all_finite(const std::byte* elements, std::int64_t count, DType dtype) {
  return dtype == f32 ? finite_elements<float>(elements, count, std::uint32_t{0x7F800000})
                      : finite_elements<double>(elements, count, std::uint64_t{0x7FF0000000000000});
}

}  // namespace twopass
