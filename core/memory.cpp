#include <twopass/core/memory.h>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

#include <twopass/core/counter.h>
#include <twopass/core/error.h>

#if defined(__SANITIZE_ADDRESS__)
#define TWOPASS_NO_POOL 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TWOPASS_NO_POOL 1
#endif
#endif

namespace twopass {
namespace memory {
namespace {

constinit Counter live;
std::atomic<std::int64_t> peak{0};

thread_local constinit std::int64_t refuse_in = 0;
thread_local constinit std::int64_t unseen = 0;  // bytes of nodes' blocks taken since the peak was last looked at

void see_peak() {
  unseen = 0;
  const std::int64_t now = live.value();
  std::int64_t seen = peak.load(std::memory_order_relaxed);
  while (now > seen && !peak.compare_exchange_weak(seen, now, std::memory_order_relaxed)) continue;
}

// Adding up what all threads hold takes longer than taking a node's block: for those it is done every 64 kB.
void count_taken(std::int64_t bytes) {
  live.add(bytes);
  constexpr std::int64_t kSmallBlock = 256, kLook = 64 << 10;
  if ((unseen += bytes) >= kLook || bytes > kSmallBlock) see_peak();
}

// Size classes: multiples of 16 up to 256, then four to an octave, so that at most a fifth of a block is lost.
constexpr int kSmall = 16;

int class_of(std::size_t bytes) {
  if (bytes <= 256) return static_cast<int>((bytes + 15) / 16) - (bytes > 0 ? 1 : 0);
  const int octave = static_cast<int>(std::bit_width(bytes - 1)) - 1;  // 2^octave < bytes <= 2^(octave+1), octave >= 8
  const auto quarter = static_cast<int>((bytes - 1) >> (octave - 2)) & 3;
  return kSmall + (octave - 8) * 4 + quarter;
}

std::size_t bytes_of(int size_class) {
  if (size_class < kSmall) return static_cast<std::size_t>(size_class + 1) * 16;
  const int octave = (size_class - kSmall) / 4 + 8;
  return (std::size_t{1} << octave) + (static_cast<std::size_t>((size_class - kSmall) % 4 + 1) << (octave - 2));
}

constexpr int kClasses = kSmall + (48 - 8) * 4;

void* from_system(std::size_t bytes) {
  static const std::size_t machine =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
  // Large blocks lie on large pages where the system has them: a sweep then misses few addresses.
  constexpr std::size_t kLargePage = std::size_t{2} << 20;
  const std::size_t unit = bytes >= 2 * kLargePage ? kLargePage : 64;
  const std::size_t rounded = (bytes + unit - 1) / unit * unit;
  void* block = bytes > machine ? nullptr : std::aligned_alloc(unit, rounded);
  if (block && unit == kLargePage) madvise(block, rounded, MADV_HUGEPAGE);  // a wish: what it answers does not matter
  if (!block)
    throw Error(fmt::format("out of memory: {:.1f} GB asked for, the machine has {:.1f} GB",
                            static_cast<double>(bytes) / 1e9, static_cast<double>(machine) / 1e9));
  return block;
}

#ifdef TWOPASS_NO_POOL

void* take(std::size_t bytes) { return from_system(bytes); }
void give(void* block, std::size_t) noexcept { std::free(block); }

#else

struct Free {
  Free* next;
};

// The lists that all threads share. Never destroyed: tensors of static storage may be released after main.
struct Shared {
  std::mutex mutex;
  std::array<Free*, kClasses> free{};
};
Shared& shared() {
  static Shared* const lists = new Shared;
  return *lists;
}

constexpr std::size_t kThreadCacheBytes = std::size_t{8} << 20;  // per class; what is more goes to the shared lists

// What a thread has given back and may take again without a lock.
struct ThreadCache {
  std::array<Free*, kClasses> free{};
  std::array<std::uint32_t, kClasses> length{};

  ~ThreadCache();
};

// Trivially destructible, so that it can be asked at any time, after the cache's own end too.
thread_local constinit bool cache_gone = false;

ThreadCache* cache() {
  if (cache_gone) return nullptr;
  static thread_local ThreadCache lists;
  return &lists;
}

ThreadCache::~ThreadCache() {
  cache_gone = true;
  const std::lock_guard lock(shared().mutex);
  for (std::size_t k = 0; k < kClasses; ++k)
    while (Free* block = free[k]) {
      free[k] = block->next;
      block->next = std::exchange(shared().free[k], block);
    }
}

void* take(std::size_t bytes) {
  const auto k = static_cast<std::size_t>(class_of(bytes));
  if (k >= kClasses) return from_system(bytes);
  if (ThreadCache* own = cache())
    if (Free* block = own->free[k]) {
      own->free[k] = block->next;
      --own->length[k];
      return block;
    }
  {
    const std::lock_guard lock(shared().mutex);
    if (Free* block = shared().free[k]) {
      shared().free[k] = block->next;
      return block;
    }
  }
  const std::size_t size = bytes_of(static_cast<int>(k));
  if (size >= 4096) return from_system(size);
  // A slab of small blocks: one goes out, the others lie ready.
  const std::size_t stride = size < 64 ? size : (size + 63) / 64 * 64;
  constexpr std::size_t kSlab = 65536;
  auto* slab = static_cast<std::byte*>(from_system(kSlab));
  ThreadCache* own = cache();
  for (std::size_t at = stride; at + stride <= kSlab; at += stride) {
    auto* block = reinterpret_cast<Free*>(slab + at);
    if (own) {
      block->next = std::exchange(own->free[k], block);
      ++own->length[k];
    } else {
      const std::lock_guard lock(shared().mutex);
      block->next = std::exchange(shared().free[k], block);
    }
  }
  return slab;
}

void give(void* memory, std::size_t bytes) noexcept {
  const auto k = static_cast<std::size_t>(class_of(bytes));
  if (k >= kClasses) return std::free(memory);
  auto* block = static_cast<Free*>(memory);
  ThreadCache* own = cache();
  if (own && (own->length[k] + 1) * bytes_of(static_cast<int>(k)) <= std::max(kThreadCacheBytes, 4 * bytes)) {
    block->next = std::exchange(own->free[k], block);
    ++own->length[k];
    return;
  }
  const std::lock_guard lock(shared().mutex);
  block->next = std::exchange(shared().free[k], block);
}

#endif

}  // namespace

void* allocate(std::size_t bytes) {
  if (refuse_in > 0 && --refuse_in == 0) throw Error(fmt::format("out of memory: {} bytes refused", bytes));
  void* block = take(bytes);
  count_taken(static_cast<std::int64_t>(bytes));
  return block;
}

void release(void* block, std::size_t bytes) noexcept {
  live.add(-static_cast<std::int64_t>(bytes));
  give(block, bytes);
}

std::int64_t live_bytes() { return live.value(); }
std::int64_t peak_bytes() { return std::max(peak.load(std::memory_order_relaxed), live.value()); }
void refuse_allocation(std::int64_t n) { refuse_in = n; }
void reset_peak() { peak.store(live.value(), std::memory_order_relaxed); }

}  // namespace memory

Buffer::Buffer(std::size_t bytes) { head_ = new (memory::allocate(kHead + bytes)) Head{{1}, bytes}; }

void Buffer::reset() noexcept {
  if (head_ && head_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    memory::release(head_, kHead + head_->bytes);
  head_ = nullptr;
}

}  // namespace twopass
