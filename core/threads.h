// The one pool of threads. Work is cut by its size alone, so results never depend on how many threads there are.
#pragma once
#include <cstdint>

namespace twopass {
namespace threads {

/// How many threads work on one call, this one included (at first as many as the machine has processors).
int count();
/// Sets that number; refuses numbers below 1 or above 1024.
void set_count(int count);

using Body = void (*)(const void* context, std::int64_t tile);
void run(std::int64_t tiles, Body body, const void* context);

}  // namespace threads

/// Calls `f(tile)` for each tile 0 … tiles-1, on the pool's threads and this one, and returns when all are done. The
/// first exception (by tile) arrives here. Inside a tile, calls run their tiles one after another on the same thread.
template <typename F>
void parallel_for(std::int64_t tiles, const F& f) {
  threads::run(
      tiles, [](const void* context, std::int64_t tile) { (*static_cast<const F*>(context))(tile); }, &f);
}

}  // namespace twopass
