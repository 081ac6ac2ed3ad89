#include <twopass/core/counter.h>

namespace twopass {
namespace {

constexpr std::size_t kPlaces = 63;  // and one that is shared

// Bit k is set where place k is some thread's.
std::atomic<std::uint64_t> taken{0};

std::atomic<std::size_t> most_places{0};  // that were ever taken at a time

}  // namespace

// The place of a thread while it lives. Taking it acquires what its last owner wrote there.
class CounterPlace {
 public:
  std::size_t number = kPlaces;
  CounterPlace() {
    std::uint64_t seen = taken.load();
    for (std::size_t k = 0; k < kPlaces && number == kPlaces;)
      if (seen >> k & 1)
        ++k;
      else if (taken.compare_exchange_weak(seen, seen | std::uint64_t{1} << k))
        number = k;
    std::size_t most = most_places.load();
    while (number < kPlaces && most < number + 1 && !most_places.compare_exchange_weak(most, number + 1)) continue;
  }
  ~CounterPlace() {
    Counter::own_place_ = kPlaces;  // shared, from here on
    if (number < kPlaces) taken.fetch_and(~(std::uint64_t{1} << number));
  }
};

std::size_t Counter::take_place() noexcept {
  static_assert(kShared == kPlaces);
  static thread_local CounterPlace place;
  return own_place_ = place.number;
}

std::int64_t Counter::value() const noexcept {
  std::int64_t total = sums_[kShared].sum.load(std::memory_order_relaxed);
  for (std::size_t k = 0, n = most_places.load(std::memory_order_relaxed); k < n; ++k)
    total += sums_[k].sum.load(std::memory_order_relaxed);
  return total;
}

}  // namespace twopass
