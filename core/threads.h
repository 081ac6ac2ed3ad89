// The one pool of threads. Work is cut by its size alone, so results never depend on how many threads there are.
#pragma once
#include <cstdint>

namespace twopass {
namespace threads {

/// How many threads work on one call, this one included (at first as many as this process has processors). Idle work
/// (core/idle_work.h) has one more where this is 1. A child of fork() has threads of its own.
int count();
/// Sets that number; refuses numbers below 1 or above 1024.
void set_count(int count);

/// What all tiles of a call are worth: sharing pays from about 4 µs on with threads that are awake, and from 45 to 90
/// µs on with threads that sleep, as those do that had no work for a moment (docs/performance.md). A small effort wakes
/// none.
enum class Effort { small, large };

/// Whether another thread of the pool reads what this one has written, and the reverse, out of a cache that both have:
/// a round trip between them takes 50 to 100 ns then, and 200 to 400 where they have none in common. Measured, which
/// takes 0.1 ms, as virtual machines do not tell and move. False where there is one processor, inside a tile, and where
/// the other threads are at work.
bool share_cache();

using Body = void (*)(const void* context, std::int64_t tile);
void run(std::int64_t tiles, Body body, const void* context, Effort effort);

}  // namespace threads

/// Calls `f(tile)` for each tile 0 … tiles-1, on the pool's threads and this one, and returns when all are done. The
/// first exception (by tile) arrives here. Inside a tile, calls run their tiles one after another on the same thread.
template <typename F>
void parallel_for(std::int64_t tiles, const F& f, threads::Effort effort = threads::Effort::large) {
  threads::run(
      tiles, [](const void* context, std::int64_t tile) { (*static_cast<const F*>(context))(tile); }, &f, effort);
}

}  // namespace twopass
