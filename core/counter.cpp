#include <twopass/core/counter.h>

namespace twopass {
namespace {

constexpr std::size_t kPlaces = 63;  // and one that is shared

// Bit k is set where place k is some thread's.
std::atomic<std::uint64_t> taken{0};

std::atomic<std::size_t> most_places{0};  // that were ever taken at a time

// Trivially destructible, as memory may be given back while a thread's other variables end.
constexpr std::size_t kNone = 64;
thread_local constinit std::size_t own_place = kNone;

// The place of a thread while it lives. Taking it acquires what its last owner wrote there.
struct Place {
  std::size_t number = kPlaces;
  Place() {
    std::uint64_t seen = taken.load();
    for (std::size_t k = 0; k < kPlaces && number == kPlaces;)
      if (seen >> k & 1)
        ++k;
      else if (taken.compare_exchange_weak(seen, seen | std::uint64_t{1} << k))
        number = k;
    std::size_t most = most_places.load();
    while (number < kPlaces && most < number + 1 && !most_places.compare_exchange_weak(most, number + 1)) continue;
  }
  ~Place() {
    own_place = kPlaces;  // shared, from here on
    if (number < kPlaces) taken.fetch_and(~(std::uint64_t{1} << number));
  }
};

}  // namespace

std::size_t Counter::thread_place() noexcept {
  if (own_place == kNone) {
    static_assert(kShared == kPlaces);
    static thread_local Place place;
    own_place = place.number;
  }
  return own_place;
}

std::int64_t Counter::value() const noexcept {
  std::int64_t total = sums_[kShared].sum.load(std::memory_order_relaxed);
  for (std::size_t k = 0, n = most_places.load(std::memory_order_relaxed); k < n; ++k)
    total += sums_[k].sum.load(std::memory_order_relaxed);
  return total;
}

}  // namespace twopass
