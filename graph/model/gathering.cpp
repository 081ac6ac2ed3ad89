#include <twopass/graph/model/gathering.h>

#include <fmt/format.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include <twopass/core/error.h>

namespace twopass {
namespace {

constexpr std::size_t kLine = 64;  // bytes of a line of cache

void copy(std::byte* to, const std::byte* from, std::size_t bytes, Reach reach) {
#if defined(__x86_64__)
  if (reach == Reach::elsewhere) {
    const std::size_t head = std::min(bytes, (kLine - reinterpret_cast<std::uintptr_t>(to) % kLine) % kLine);
    std::memcpy(to, from, head);
    std::size_t done = head;
    for (; done + kLine <= bytes; done += kLine)
      for (std::size_t k = done; k < done + kLine; k += sizeof(__m128i))
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + k),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k)));
    std::memcpy(to + done, from + done, bytes - done);
    return;
  }
#endif
  std::memcpy(to, from, bytes);
}

template <typename From, typename To>
void convert(const From* from, std::byte* to, std::int64_t count, Reach reach) {
  std::array<To, 1024> part;
  for (std::int64_t first = 0; first < count; first += static_cast<std::int64_t>(part.size())) {
    const auto n = static_cast<std::size_t>(std::min(count - first, static_cast<std::int64_t>(part.size())));
    for (std::size_t k = 0; k < n; ++k) {
      if constexpr (std::is_same_v<To, bool>)
        part[k] = from[first + static_cast<std::int64_t>(k)] != From(0);
      else
        part[k] = static_cast<To>(from[first + static_cast<std::int64_t>(k)]);
    }
    copy(to + static_cast<std::size_t>(first) * sizeof(To), reinterpret_cast<const std::byte*>(part.data()),
         n * sizeof(To), reach);
  }
}

}  // namespace

void gather(const Tensor& from, std::span<const std::int64_t> rows, const Tensor& to, std::int64_t at, Reach reach) {
  const std::int64_t count = from.shape()[0], elements = from.elements() / count;
  dispatch(from.dtype(), [&]<typename From>() {
    dispatch(to.dtype(), [&]<typename To>() {
      const From* const values = from.data<From>();
      std::byte* place = to.node().data + static_cast<std::size_t>(at * elements) * sizeof(To);
      for (const std::int64_t row : rows) {
        if (row < 0 || row >= count) throw Error(fmt::format("there is no row {} of {}", row, count));
        const From* const first = values + row * elements;
        const auto bytes = static_cast<std::size_t>(elements) * sizeof(To);
        if constexpr (std::is_same_v<From, To>)
          copy(place, reinterpret_cast<const std::byte*>(first), bytes, reach);
        else
          convert<From, To>(first, place, elements, reach);
        place += bytes;
      }
    });
  });
#if defined(__x86_64__)
  if (reach == Reach::elsewhere) _mm_sfence();
#endif
}

}  // namespace twopass
