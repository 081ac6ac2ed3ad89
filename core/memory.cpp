#include <twopass/core/memory.h>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
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

constexpr int class_of(std::size_t bytes) {
  if (bytes <= 256) return static_cast<int>((std::max<std::size_t>(bytes, 1) - 1) / 16);
  const int octave = static_cast<int>(std::bit_width(bytes - 1)) - 1;  // 2^octave < bytes <= 2^(octave+1), octave >= 8
  const auto quarter = static_cast<int>((bytes - 1) >> (octave - 2)) & 3;
  return kSmall + (octave - 8) * 4 + quarter;
}

constexpr std::size_t bytes_of(int size_class) {
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

// A free block, and the chain of blocks that it begins, where it begins one.
struct Free {
  Free *next, *next_chain;
};
constexpr std::size_t kSlab = 65536;            // is cut into small blocks
constexpr std::size_t kLeastFromSystem = 4096;  // bytes of blocks that come from the system one by one
constexpr std::size_t kChainBytes = std::size_t{4} << 20;

// Blocks pass between threads in chains of so many, so that few of them take a lock: the magazines of Bonwick and
// Adams, "Magazines and Vmem" (2001).
constexpr std::array<std::uint32_t, kClasses> kChain = [] {
  std::array<std::uint32_t, kClasses> lengths{};
  for (int k = 0; k < kClasses; ++k)
    lengths[static_cast<std::size_t>(k)] =
        static_cast<std::uint32_t>(std::max<std::size_t>(2, kChainBytes / bytes_of(k)));
  return lengths;
}();

// What all threads share. Never destroyed: tensors of static storage may be released after main.
struct Shared {
  std::mutex mutex;
  std::array<Free*, kClasses> chains{}, blocks{};  // whole chains, and what threads that ended have left
};
Shared& shared() {
  static Shared* const lists = new Shared;
  return *lists;
}

// What a thread has given back and may take again without a lock: up to two chains of a class. Trivially destructible,
// so that it can be used at any time, after the thread's other variables have ended too: it has no room then.
struct Own {
  std::array<Free*, kClasses> free{}, spare{};  // a chain that grows and shrinks, and a whole one or none
  std::array<std::uint32_t, kClasses> room{};   // of the first; 0 for all until the thread gives its first block
  bool opened = false, ended = false;
};
thread_local constinit Own own;

struct Ending {
  Ending() {
    own.opened = true;
    own.room = kChain;
  }
  ~Ending() {
    own.ended = true;
    own.room = {};
    const std::lock_guard lock(shared().mutex);
    for (std::size_t k = 0; k < kClasses; ++k)
      for (Free* chain : {std::exchange(own.free[k], nullptr), std::exchange(own.spare[k], nullptr)})
        while (chain) {
          Free* const block = std::exchange(chain, chain->next);
          block->next = std::exchange(shared().blocks[k], block);
        }
  }
};

// Whether this thread may keep blocks: not while it ends.
bool open() {
  if (!own.opened) {
    static thread_local const Ending at_the_end;
  }
  return !own.ended;
}

void* take_from_chain(std::size_t k, Free* chain) {
  own.free[k] = chain->next;
  own.room[k] = 1;
  return chain;
}

// Where the thread has none at hand.
void* fetch(std::size_t k) {
  const bool keeps = open();
  if (keeps && own.spare[k]) return take_from_chain(k, std::exchange(own.spare[k], nullptr));
  {
    const std::lock_guard lock(shared().mutex);
    if (Free* const block = shared().blocks[k]) {
      shared().blocks[k] = block->next;
      return block;
    }
    if (Free* const chain = shared().chains[k]) {
      shared().chains[k] = chain->next_chain;
      if (keeps) return take_from_chain(k, chain);
      shared().blocks[k] = chain->next;
      return chain;
    }
  }
  const std::size_t size = bytes_of(static_cast<int>(k));
  if (size >= kLeastFromSystem || !keeps) return from_system(size);
  // One goes out, the others lie ready.
  const std::size_t stride = size < 64 ? size : (size + 63) / 64 * 64;
  auto* const slab = static_cast<std::byte*>(from_system(kSlab));
  for (std::size_t at = stride; at + stride <= kSlab; at += stride) {
    auto* const block = reinterpret_cast<Free*>(slab + at);
    block->next = std::exchange(own.free[k], block);
    --own.room[k];
  }
  return slab;
}

// Where the thread has no room.
void put_away(std::size_t k, Free* block) noexcept {
  if (!open()) {
    const std::lock_guard lock(shared().mutex);
    block->next = std::exchange(shared().blocks[k], block);
    return;
  }
  if (Free* const whole = own.free[k]) {
    if (Free* const before = std::exchange(own.spare[k], whole)) {
      const std::lock_guard lock(shared().mutex);
      before->next_chain = std::exchange(shared().chains[k], before);
    }
  }
  block->next = nullptr;
  own.free[k] = block;
  own.room[k] = kChain[k] - 1;
}

void* take(std::size_t bytes) {
  const auto k = static_cast<std::size_t>(class_of(bytes));
  if (k >= kClasses) return from_system(bytes);
  Free* const block = own.free[k];
  if (!block) return fetch(k);
  own.free[k] = block->next;
  ++own.room[k];
  return block;
}

void give(void* memory, std::size_t bytes) noexcept {
  const auto k = static_cast<std::size_t>(class_of(bytes));
  if (k >= kClasses) return std::free(memory);
  auto* const block = static_cast<Free*>(memory);
  if (own.room[k] == 0) return put_away(k, block);
  block->next = std::exchange(own.free[k], block);
  --own.room[k];
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
  if (head_ && head_->references.remove(1) == 0) memory::release(head_, kHead + head_->bytes);
  head_ = nullptr;
}

}  // namespace twopass
