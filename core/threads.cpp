#include <twopass/core/threads.h>

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <twopass/core/denormals.h>
#include <twopass/core/error.h>
#include <twopass/core/idle_work.h>

namespace twopass::threads {
namespace {

// How long a thread looks for work before it sleeps. A fork and join with a thread that looks costs 0.3 µs, waking one
// that sleeps 7 µs; most serial stretches of a training step are shorter than this (of 10, 50 and 200 µs tried, two
// perceptrons run 2.5, 2.4 and 2.4 ms a step).
constexpr std::chrono::microseconds kSpin{50};

// The processors that this process may use.
int processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

thread_local bool inside = false;
// Whether this thread is at tiles that it runs without the pool, in which calls may be shared out all the same.
thread_local bool alone = false;
std::atomic<int> wanted{processors()};

// Whether `ready` came true before the time was up. The clock is read seldom, as it costs as much as many looks.
template <typename Ready>
bool spin_until(const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int look = 0; look < 16; ++look) {
      if (ready()) return true;
#if defined(__x86_64__)
      _mm_pause();
#endif
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// One call to run(). Which thread runs a tile does not matter to its result.
struct Job {
  Body body;
  const void* context;
  std::int64_t tiles;
  std::uint32_t caller_denormals = denormals();
  std::uint64_t first = 0;  // what the pool calls tile 0
  std::mutex mutex{};
  std::exception_ptr failure{};
  std::int64_t failed_tile = std::numeric_limits<std::int64_t>::max();

  void run(std::int64_t tile) {
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
};

// Each thread has a stretch of a job's tiles and takes others' when its own are gone: so in one call after another it
// meets the memory that its own cache has. Tiles are numbered through all jobs and never twice, so taking one is a
// single compare-and-swap, which fails for who looked at an older job. A worker touches a job only while it holds a
// tile of it: the caller waits for tiles that were begun, never for a worker that has not come.
class Pool {
 public:
  // One job at a time; false where another is running.
  bool try_run(Job& job, int helpers, Effort effort) {
    const std::unique_lock busy(busy_, std::try_to_lock);
    if (!busy) return false;
    helpers = hire(helpers);
    job.first = numbered_;
    numbered_ += static_cast<std::uint64_t>(job.tiles);
    const std::uint64_t end = numbered_;
    job_.store(&job, std::memory_order_relaxed);
    helpers_ = helpers;
    const int count = std::min(helpers + 1, kMostStretches);
    stretch_count_.store(count, std::memory_order_relaxed);
    for (int k = 0; k < count; ++k) {
      // The beginning before the end: between them there is nothing to be taken.
      stretches_[static_cast<std::size_t>(k)].next = job.first + static_cast<std::uint64_t>(job.tiles * k / count);
      stretches_[static_cast<std::size_t>(k)].end = job.first + static_cast<std::uint64_t>(job.tiles * (k + 1) / count);
    }
    if (effort == Effort::large)
      for (int k = 0; k < helpers; ++k) workers_[static_cast<std::size_t>(k)]->wake();
    inside = true;  // nothing throws until work() has come back
    const std::uint64_t mine = work(0);
    inside = false;
    if (done_.fetch_add(mine) + mine != end) wait_for(end);
    return true;
  }

  std::shared_ptr<IdleWorks> give(const IdleWorks::Work& work) {
    if (processors_ == 1) return nullptr;
    const std::unique_lock busy(busy_, std::try_to_lock);
    const int helpers = busy ? hire(idle_helpers()) : 0;
    idle_works_->add(work);
    for (int k = 0; k < helpers; ++k)
      if (workers_[static_cast<std::size_t>(k)]->wake()) break;
    return idle_works_;
  }

  IdleWorks& idle_works() { return *idle_works_; }

  void stop() {
    stop_ = true;
    for (const auto& worker : workers_) worker->wake();
    for (const auto& worker : workers_) worker->thread.join();
  }

 private:
  struct Worker {
    std::atomic<bool> asleep{false};
    std::mutex mutex;
    std::condition_variable awake;
    std::thread thread;

    // Whether it slept.
    bool wake() {
      if (!asleep.load() || !asleep.exchange(false)) return false;
      { const std::lock_guard lock(mutex); }  // it sleeps by now, or will see that it must not
      awake.notify_one();
      return true;
    }
    template <typename Ready>
    void sleep_until(const Ready& ready) {
      asleep = true;
      if (ready()) {
        asleep = false;
        return;
      }
      std::unique_lock lock(mutex);
      awake.wait(lock, [&] { return !asleep.load(); });
    }
  };

  // Where one thread works on a call, another may still be of use between its calls.
  static int idle_helpers() { return std::max(1, wanted - 1); }

  // As many workers as there are, at most `helpers`: where the system gives no more threads, fewer do the work.
  int hire(int helpers) {
    workers_.reserve(static_cast<std::size_t>(helpers));  // so that no thread that runs is lost for want of memory
    while (static_cast<int>(workers_.size()) < helpers) {
      auto worker = std::make_unique<Worker>();
      const int index = static_cast<int>(workers_.size());
      try {
        worker->thread = std::thread([this, index, self = worker.get()] { serve(*self, index); });
      } catch (const std::system_error&) {
        break;
      }
      workers_.push_back(std::move(worker));
    }
    return std::min(helpers, static_cast<int>(workers_.size()));
  }

  void serve(Worker& self, int index) {
    inside = true;
    const auto tiles = [&] { return index < helpers_ && any_tile(); };
    const auto idle_work = [&] { return index < idle_helpers() && idle_works_->any(); };
    const auto called = [&] { return stop_ || tiles() || idle_work(); };
    while (!stop_) {
      // Threads that share a processor would only keep each other from working.
      if (!called() && (helpers_ >= processors_ || !spin_until(called))) self.sleep_until(called);
      if (tiles())
        work(index + 1, &done_);
      else if (idle_work())
        idle_works_->run_one();
    }
  }

  struct alignas(64) Stretch {
    std::atomic<std::uint64_t> next{0};  // the tile to be taken next
    std::atomic<std::uint64_t> end{0};
  };

  bool any_tile() const {
    const auto count = static_cast<std::size_t>(stretch_count_.load(std::memory_order_relaxed));
    return std::any_of(stretches_.begin(), stretches_.begin() + count,
                       [](const Stretch& each) { return each.next.load() < each.end.load(); });
  }

  // Takes tiles while there are any, first those of stretch `own`, and counts them, each at once in `done` if that is
  // given.
  std::uint64_t work(int own, std::atomic<std::uint64_t>* done = nullptr) {
    const int count = stretch_count_.load(std::memory_order_relaxed);
    std::uint64_t taken = 0;
    for (int k = 0; k < count; ++k) taken += work(stretches_[static_cast<std::size_t>((own + k) % count)], done);
    return taken;
  }
  std::uint64_t work(Stretch& stretch, std::atomic<std::uint64_t>* done) {
    std::uint64_t count = 0;
    for (;;) {
      std::uint64_t tile = stretch.next.load();
      if (tile >= stretch.end.load()) return count;
      Job* const job = job_.load(std::memory_order_relaxed);
      if (!stretch.next.compare_exchange_strong(tile, tile + 1)) continue;
      if (denormals() != job->caller_denormals) set_denormals(job->caller_denormals);
      const std::uint64_t end = job->first + static_cast<std::uint64_t>(job->tiles);
      job->run(static_cast<std::int64_t>(tile - job->first));
      ++count;
      if (done != nullptr && done->fetch_add(1) + 1 == end && waiting_.load()) {
        { const std::lock_guard lock(mutex_); }
        finished_.notify_one();
      }
    }
  }

  void wait_for(std::uint64_t end) {
    const auto over = [&] { return done_.load() == end; };
    if (spin_until(over)) return;
    waiting_ = true;
    std::unique_lock lock(mutex_);
    finished_.wait(lock, over);
    waiting_ = false;
  }

  static constexpr int kMostStretches = 64;  // beyond, threads share them

  const int processors_ = processors();
  std::array<Stretch, kMostStretches> stretches_{};
  std::uint64_t numbered_ = 0;  // tiles so far
  alignas(64) std::atomic<int> stretch_count_{1};
  std::atomic<Job*> job_{nullptr};
  std::atomic<int> helpers_{0};
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<std::uint64_t> done_{0};  // tiles that have been run
  std::atomic<bool> waiting_{false};
  std::mutex busy_;
  std::mutex mutex_;
  std::condition_variable finished_;
  std::vector<std::unique_ptr<Worker>> workers_;
  const std::shared_ptr<IdleWorks> idle_works_ = std::make_shared<IdleWorks>();
};

std::atomic<Pool*> current{nullptr};
std::atomic<Pool*> parents{nullptr};  // its threads stayed in the parent of fork(), so nobody may join them
std::atomic<bool> ended{false};

// Between them the pool's list of idle work is held, so that no thread is in the midst of it.
thread_local Pool* forking = nullptr;
void before_fork() {
  forking = current;
  if (forking != nullptr) forking->idle_works().before_fork();
}
void after_fork() {
  if (forking != nullptr) forking->idle_works().after_fork();
}

// The pool of this process, made when first needed; none once the program ends.
Pool* pool() {
  static const struct Ending {
    Ending() {
      pthread_atfork(before_fork, after_fork, [] {
        after_fork();
        parents = current.exchange(nullptr);
      });
    }
    ~Ending() {
      ended = true;
      const std::unique_ptr<Pool> last(current.exchange(nullptr));
      if (last) last->stop();
    }
  } ending;
  if (ended) return nullptr;
  Pool* found = current;
  if (found != nullptr) return found;
  auto made = std::make_unique<Pool>();
  return current.compare_exchange_strong(found, made.get()) ? made.release() : found;
}

// Two threads that hand a number to each other and back.
class RoundTrips {
 public:
  // What two tiles do. It takes no longer than kSpin where the other does not come, or goes, or shares a processor.
  void run(std::int64_t tile) {
    const bool first = tile == 0;
    std::int64_t next = first ? 0 : 1;
    for (int batch = 0; batch < kBatches; ++batch) {
      const auto begin = std::chrono::steady_clock::now();
      for (int trip = 0; trip < kTrips; ++trip, next += 2)
        if (!handed(next)) return;
      const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
      if (taken.count() > kTrips * kSlow) return;
      if (first && batch > 0) shortest_ = std::min(shortest_, taken.count() / kTrips);
    }
  }
  double shortest() const { return shortest_; }

 private:
  static constexpr int kBatches = 8, kTrips = 40;
  static constexpr double kSlow = 1000;  // ns

  // Waits until the number is `next` and counts it on.
  bool handed(std::int64_t next) {
    const auto come = [&] { return number_.load(std::memory_order_acquire) == next; };
    for (int look = 0; look < 400; ++look)
      if (come()) return number_.store(next + 1, std::memory_order_release), true;
    if (!spin_until(come)) return false;
    number_.store(next + 1, std::memory_order_release);
    return true;
  }

  alignas(64) std::atomic<std::int64_t> number_{0};
  alignas(64) double shortest_ = std::numeric_limits<double>::infinity();  // of the first tile alone
};

}  // namespace

int count() { return wanted; }

void set_count(int count) {
  if (count < 1 || count > 1024) throw Error(fmt::format("the number of threads must be 1 to 1024, not {}", count));
  wanted = count;
}

void run(std::int64_t tiles, Body body, const void* context, Effort effort) {
  const int helpers = static_cast<int>(std::min<std::int64_t>(wanted, tiles)) - 1;
  if (helpers >= 1 && !inside)
    if (Pool* const shared = pool()) {
      Job job{body, context, tiles};
      const bool ran = shared->try_run(job, helpers, effort);
      if (job.failure) std::rethrow_exception(job.failure);
      if (ran) return;
    }
  struct Alone {
    bool before = std::exchange(alone, true);
    ~Alone() { alone = before; }
  } const scope;
  for (std::int64_t tile = 0; tile < tiles; ++tile) body(context, tile);
}

bool share_cache() {
  constexpr double kCommon = 150;  // ns
  if (inside || alone || processors() == 1) return false;
  Pool* const shared = pool();
  if (shared == nullptr) return false;
  RoundTrips trips;
  Job job{
      [](const void* context, std::int64_t tile) { static_cast<RoundTrips*>(const_cast<void*>(context))->run(tile); },
      &trips, 2};
  return shared->try_run(job, 1, Effort::large) && trips.shortest() < kCommon;
}

std::shared_ptr<IdleWorks> give(const IdleWorks::Work& work) {
  Pool* const shared = pool();
  return shared != nullptr ? shared->give(work) : nullptr;
}

}  // namespace twopass::threads
