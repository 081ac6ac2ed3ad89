// Work for the pool's threads while they have no tiles: what is needed later, begun early.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace twopass::threads {

/// Pieces of work that may run from now on, on threads of the pool that have no tiles: on one of them where
/// threads::count() is 1, on none where the process has one processor. A child of fork() has what its parent had, to do
/// by itself.
class IdleWork {
 public:
  /// `body(piece)` for each piece 0 … pieces-1, in any order and several at once.
  IdleWork(std::int64_t pieces, std::function<void(std::int64_t)> body);
  /// Drops pieces that were not begun and waits for those that were.
  ~IdleWork();
  IdleWork(const IdleWork&) = delete;
  IdleWork& operator=(const IdleWork&) = delete;
  /// Runs what nobody has begun on this thread and waits for the rest. The first exception arrives here; what was not
  /// begun by then is dropped.
  void finish();

 private:
  friend class IdleWorks;
  struct Pieces;
  std::shared_ptr<Pieces> pieces_;
  std::shared_ptr<class IdleWorks> list_;
};

/// What threads look through for pieces, the oldest work's first.
class IdleWorks {
 public:
  /// Around fork(): lets pieces that run end, all but one that this thread is in, and begins none, so that parent and
  /// child each have whole pieces. The child, whose threads are gone, does what was left where it is waited for.
  void before_fork();
  void after_fork() { mutex_.unlock(); }

  using Work = std::shared_ptr<IdleWork::Pieces>;
  void add(const Work& work);
  /// Whether there is a piece that nobody has begun.
  bool any() const { return open_.load() > 0; }
  /// Runs one piece, if there is one, for a thread that sets its own handling of denormals when it needs one.
  void run_one();
  /// Runs the pieces that nobody has begun.
  void run_all(const Work& work);
  /// Drops those, and waits for the others. The first failure.
  std::exception_ptr end(const Work& work);

 private:
  void run_piece(std::unique_lock<std::mutex>& lock, IdleWork::Pieces& work);
  void close(IdleWork::Pieces& work);

  std::mutex mutex_;  // over all of a work but its body
  std::condition_variable done_;
  std::atomic<std::int64_t> open_{0};  // pieces that nobody has begun
  int running_ = 0;                    // those that somebody is at
  int forking_ = 0;                    // those of threads that wait in before_fork
  std::vector<Work> works_;            // that have such
};

/// The list of the pool's threads, of which one is told to look; none on one processor and at the program's end. By
/// core/threads.cpp.
std::shared_ptr<IdleWorks> give(const IdleWorks::Work& work);

}  // namespace twopass::threads
