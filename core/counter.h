// A sum to which many threads add often and which few read. For the files of this folder.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace twopass {

/// Each thread adds to a place of its own, without a locked instruction; `value` adds the places up. It is exact once
/// those who add have been waited for.
class Counter {
 public:
  void add(std::int64_t amount) noexcept {
    const std::size_t place = thread_place();
    std::atomic<std::int64_t>& own = sums_[place].sum;
    if (place == kShared)
      own.fetch_add(amount, std::memory_order_relaxed);
    else
      own.store(own.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  std::int64_t value() const noexcept;

 private:
  // Threads beyond the places, and those that are ending, share the last one.
  static constexpr std::size_t kShared = 63;
  static constexpr std::size_t kNone = 64;
  static std::size_t thread_place() noexcept { return own_place_ == kNone ? take_place() : own_place_; }
  static std::size_t take_place() noexcept;

  friend class CounterPlace;
  // Trivially destructible, as memory may be given back while a thread's other variables end.
  static inline thread_local constinit std::size_t own_place_ = kNone;

  struct alignas(64) Sum {
    std::atomic<std::int64_t> sum{0};
  };
  std::array<Sum, kShared + 1> sums_{};
};

}  // namespace twopass
