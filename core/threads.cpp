#include <twopass/core/threads.h>

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include <twopass/core/error.h>

namespace twopass::threads {
namespace {

// One call to run(): tiles are taken from a shared counter; which thread runs a tile does not matter to its result.
struct Job {
  Body body;
  const void* context;
  std::int64_t tiles;
  std::atomic<std::int64_t> next{0};
  std::mutex mutex{};
  std::exception_ptr failure{};
  std::int64_t failed_tile = std::numeric_limits<std::int64_t>::max();

  void work() {
    for (std::int64_t tile = next.fetch_add(1); tile < tiles; tile = next.fetch_add(1)) {
      try {
        body(context, tile);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (tile < failed_tile) {
          failed_tile = tile;
          failure = std::current_exception();
        }
      }
    }
  }
};

thread_local bool inside = false;
std::atomic<int> wanted{std::max(1, static_cast<int>(std::thread::hardware_concurrency()))};
std::atomic<bool> forked{false};  // a child of fork() has no workers: it runs its tiles itself

class Pool {
 public:
  // One job at a time; a second caller runs its own tiles alone meanwhile.
  bool try_run(Job& job, int helpers) {
    const std::unique_lock busy(busy_, std::try_to_lock);
    if (!busy) return false;
    {
      std::unique_lock lock(mutex_);
      while (static_cast<int>(workers_.size()) < helpers) workers_.emplace_back([this] { serve(); });
      job_ = &job;
      seats_ = helpers;
      ++round_;
    }
    wake_.notify_all();
    job.work();
    std::unique_lock lock(mutex_);
    seats_ = 0;
    done_.wait(lock, [&] { return active_ == 0; });
    job_ = nullptr;
    return true;
  }

  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

 private:
  void serve() {
    inside = true;
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stop_ || (round_ != seen && seats_ > 0); });
      if (stop_) return;
      seen = round_;
      --seats_;
      ++active_;
      Job& job = *job_;
      lock.unlock();
      job.work();
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::mutex busy_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<std::thread> workers_;
  Job* job_ = nullptr;
  int seats_ = 0;
  int active_ = 0;
  std::uint64_t round_ = 0;
  bool stop_ = false;
};

Pool& pool() {
  static Pool* const only = [] {
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    static Pool made;
    return &made;
  }();
  return *only;
}

}  // namespace

int count() { return wanted; }

void set_count(int count) {
  if (count < 1 || count > 1024) throw Error(fmt::format("the number of threads must be 1 to 1024, not {}", count));
  wanted = count;
}

void run(std::int64_t tiles, Body body, const void* context) {
  const int helpers = static_cast<int>(std::min<std::int64_t>(wanted, tiles)) - 1;
  if (helpers < 1 || inside || forked) {
    for (std::int64_t tile = 0; tile < tiles; ++tile) body(context, tile);
    return;
  }
  Job job{body, context, tiles};
  inside = true;
  const bool shared = pool().try_run(job, helpers);
  if (!shared) job.work();
  inside = false;
  if (job.failure) std::rethrow_exception(job.failure);
}

}  // namespace twopass::threads
