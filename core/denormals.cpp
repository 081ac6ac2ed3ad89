#include <twopass/core/denormals.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <twopass/core/error.h>

namespace twopass {

namespace threads {

#if defined(__x86_64__)
namespace {
constexpr std::uint32_t kFlush = 0x8040;  // of the control register: results to zero, operands as zero
}
std::uint32_t denormals() { return _mm_getcsr() & kFlush; }
void set_denormals(std::uint32_t handling) { _mm_setcsr((_mm_getcsr() & ~kFlush) | handling); }
#else
namespace {
constexpr std::uint32_t kFlush = 0;
}
std::uint32_t denormals() { return 0; }
void set_denormals(std::uint32_t) {}
#endif

}  // namespace threads

FlushDenormalsScope::FlushDenormalsScope() : before_(threads::denormals()) {
  if (threads::kFlush == 0)
    throw Error("denormal numbers cannot be flushed on this processor: only x86-64 is supported");
  threads::set_denormals(threads::kFlush);
}
FlushDenormalsScope::~FlushDenormalsScope() { threads::set_denormals(before_); }

}  // namespace twopass
