// How many hold something: counted by several threads, or by one without what that would cost. For the files of this
// folder.
#pragma once
#include <atomic>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

namespace twopass {

/// While the process has one thread, as glibc knows, counting takes no locked instructions: they are a quarter of the
/// time of recording and differentiating small ops.
template <typename T>
class SharedCount {
 public:
  constexpr SharedCount(T count) noexcept : count_(count) {}
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;

  T value() const noexcept { return count_.load(std::memory_order_acquire); }
  /// For what no other thread knows yet.
  void set(T count) noexcept { count_.store(count, std::memory_order_relaxed); }
  void add(T amount) noexcept {
    if (one_thread())
      set(count_.load(std::memory_order_relaxed) + amount);
    else
      count_.fetch_add(amount, std::memory_order_relaxed);
  }
  /// What is left.
  T remove(T amount) noexcept {
    if (!one_thread()) return count_.fetch_sub(amount, std::memory_order_acq_rel) - amount;
    const T left = count_.load(std::memory_order_relaxed) - amount;
    set(left);
    return left;
  }
  /// Removes where the count is still what value() gave, and else says what it is now.
  bool remove_from(T& count, T amount) noexcept {
    if (!one_thread())
      return count_.compare_exchange_weak(count, count - amount, std::memory_order_acq_rel, std::memory_order_acquire);
    set(count - amount);
    return true;
  }

 private:
  static bool one_thread() noexcept {
#if __has_include(<sys/single_threaded.h>)
    return __libc_single_threaded;
#else
    return false;
#endif
  }
  std::atomic<T> count_;
};

}  // namespace twopass
