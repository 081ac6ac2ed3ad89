// Pooled memory: blocks go back to the pool, not to the system, so that a training step asks the system for nothing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include <twopass/core/shared_count.h>

namespace twopass {

namespace memory {

/// A block of at least `bytes`, aligned to 64 bytes where it is 64 or longer. Refuses more than the machine has.
void* allocate(std::size_t bytes);
/// Gives a block back to the pool. `bytes` is what was asked for.
void release(void* block, std::size_t bytes) noexcept;

/// Bytes handed out now, and the most there have been at a time since the start or the last reset_peak() (blocks
/// of up to 256 bytes are seen every 64 kB).
std::int64_t live_bytes();
std::int64_t peak_bytes();
void reset_peak();

/// For tests of what happens when memory runs out: this thread's allocation number `n` from now, counted from 1, is
/// refused, once. 0 refuses none.
void refuse_allocation(std::int64_t n);

}  // namespace memory

/// A shared, 64-byte-aligned piece of memory for the elements of tensors.
class Buffer {
 public:
  Buffer() = default;
  /// Uninitialised memory. Refuses what the machine can't hold.
  explicit Buffer(std::size_t bytes);
  Buffer(const Buffer& other) noexcept : head_(other.head_) {
    if (head_) head_->references.add(1);
  }
  Buffer(Buffer&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }
  ~Buffer() { reset(); }

  std::byte* data() const { return head_ ? reinterpret_cast<std::byte*>(head_) + kHead : nullptr; }
  explicit operator bool() const { return head_ != nullptr; }
  /// Whether nobody else holds this memory, so that it may be written again.
  bool unique() const { return head_ && head_->references.value() == 1; }
  void reset() noexcept;

 private:
  static constexpr std::size_t kHead = 64;
  struct Head {
    SharedCount<std::int64_t> references;
    std::size_t bytes;
  };
  Head* head_ = nullptr;
};

}  // namespace twopass
