// Denormal numbers: those below the smallest normal one (1.2e-38 of f32, 2.2e-308 of f64), which many processors
// compute a hundred times more slowly.
#pragma once
#include <cstdint>

namespace twopass {

/// While it lives, denormal numbers count as 0, and results become 0 instead of denormal: in this thread, and in the
/// pool's threads while they work for it. Without it they are kept. Refused where the processor cannot do it.
class FlushDenormalsScope {
 public:
  FlushDenormalsScope();
  ~FlushDenormalsScope();
  FlushDenormalsScope(const FlushDenormalsScope&) = delete;
  FlushDenormalsScope& operator=(const FlushDenormalsScope&) = delete;

 private:
  std::uint32_t before_;
};

namespace threads {

/// What this thread does with denormal numbers: as the processor says it, 0 where they are kept.
std::uint32_t denormals();
void set_denormals(std::uint32_t handling);

}  // namespace threads
}  // namespace twopass
