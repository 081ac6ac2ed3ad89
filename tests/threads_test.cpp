#include <doctest/doctest.h>
#include <sys/wait.h>
#include <twopass/core/denormals.h>
#include <twopass/core/error.h>
#include <twopass/core/idle_work.h>
#include <twopass/core/parameter.h>
#include <twopass/core/random.h>
#include <twopass/core/threads.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <thread>
#include <vector>

using namespace twopass;

namespace {

std::vector<double> gradient(const Tensor& w, std::uint64_t seed) {
  Random random(seed);
  const Tensor x = random.normal({4, 3}, f64);
  return backward(sum(tanh(matmul(x, w))))[w].values<double>();
}

template <typename F>
void on_threads(int count, const F& f) {
  std::vector<std::thread> threads;
  for (int k = 0; k < count; ++k) threads.emplace_back([&f, k] { f(k); });
  for (std::thread& thread : threads) thread.join();
}

// Whether two tiles run at the same time: each waits for the other, for ten seconds at most. Both call f first.
template <typename F>
bool tiles_meet(const F& f) {
  std::atomic<int> there{0};
  parallel_for(2, [&](std::int64_t tile) {
    f(tile);
    ++there;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (there < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    if (there < 2) there = -9;
  });
  return there == 2;
}

bool tiles_meet() {
  return tiles_meet([](std::int64_t) {});
}

struct ThreadCount {
  explicit ThreadCount(int count) : before(threads::count()) { threads::set_count(count); }
  ~ThreadCount() { threads::set_count(before); }
  int before;
};

}  // namespace

TEST_CASE("C1: threads build and differentiate graphs of their own, with the bits of one") {
  std::vector<std::vector<double>> found(4);
  on_threads(4, [&](int k) {
    found[static_cast<std::size_t>(k)] =
        gradient(variable(Random(9).normal({3, 2}, f64)), static_cast<std::uint64_t>(k));
  });
  for (std::size_t k = 0; k < 4; ++k) CHECK(found[k] == gradient(variable(Random(9).normal({3, 2}, f64)), k));
}

TEST_CASE(
    "C2: threads share parameters that nobody updates; their gradients added in a fixed order have the bits of one") {
  const Parameter w(Random(9).normal({3, 2}, f64), "w");
  const auto gradient_of_part = [&](int k) {
    const Tensor part = Random(static_cast<std::uint64_t>(k)).normal({5, 3}, f64);
    return backward(sum(square(tanh(matmul(part, w.tensor())) * static_cast<double>(k + 1))))[w];
  };
  const auto added = [](const Tensors& parts) {
    Tensor all = parts[0];
    for (std::size_t k = 1; k < parts.size(); ++k) all = all + parts[k];
    return all.values<double>();
  };
  Tensors alone;
  for (int k = 0; k < 4; ++k) alone.push_back(gradient_of_part(k));
  for (int again = 0; again < 20; ++again) {
    Tensors found(4);
    on_threads(4, [&](int k) { found[static_cast<std::size_t>(k)] = gradient_of_part(k); });
    CHECK(added(found) == added(alone));
  }
  // d/dw Σ ((k + 1) tanh(x w))² by a difference
  const double step = 1e-6;
  const auto loss = [&](double moved) {
    double all = 0;
    const Tensor at = w.value() + concat({tensor({{moved, 0.0}}, f64), zeros({2, 2}, f64)});
    for (int k = 0; k < 4; ++k)
      all += sum(square(tanh(matmul(Random(static_cast<std::uint64_t>(k)).normal({5, 3}, f64), at)) *
                        static_cast<double>(k + 1)))
                 .item<double>();
    return all;
  };
  CHECK(added(alone)[0] == doctest::Approx((loss(step) - loss(-step)) / (2 * step)).epsilon(1e-7));
}

TEST_CASE("C3: two threads differentiate one graph at once") {
  const Tensor x = variable(tensor({1.0, 2.0}, f64));
  const Tensor y = sum(x * x * x);
  std::vector<std::vector<double>> found(2);
  on_threads(2, [&](int k) {
    for (int n = 0; n < 50; ++n) found[static_cast<std::size_t>(k)] = backward(y)[x].values<double>();
  });
  CHECK(found[0] == std::vector<double>{3, 12});
  CHECK(found[1] == found[0]);
}

TEST_CASE("C4: a graph is built in one thread, differentiated in a second and released in a third") {
  const std::int64_t before = Node::live();
  Tensor x, y;
  std::thread([&] {
    x = variable(tensor({1.0, 2.0}, f64));
    y = sum(x * x);
  }).join();
  std::thread([&] { CHECK(backward(y)[x].values<double>() == std::vector<double>{2, 4}); }).join();
  std::thread([&] {
    y = Tensor();
    x = Tensor();
  }).join();
  CHECK(Node::live() == before);
}

TEST_CASE("C5: an exception in a tile arrives at the caller, and the pool goes on") {
  const ThreadCount four(4);
  CHECK_THROWS_WITH_AS(parallel_for(100,
                                    [](std::int64_t tile) {
                                      if (tile >= 17) throw Error("tile " + std::to_string(tile));
                                    }),
                       "tile 17", Error);
  std::atomic<int> done{0};
  parallel_for(100, [&](std::int64_t) { ++done; });
  CHECK(done == 100);
}

TEST_CASE("C6: nested regions, pools of 1 and 64 threads and a forked child all end, with equal bits") {
  std::vector<float> results;
  for (const int count : {1, 2, 4, 8, 64}) {
    const ThreadCount scope(count);
    std::atomic<int> done{0};
    parallel_for(8, [&](std::int64_t) { parallel_for(8, [&](std::int64_t) { ++done; }); });
    CHECK(done == 64);
    Random random(1);
    const Tensor x = random.normal({700, 600});
    results.push_back((sum(tanh(x) * x) + sum(matmul(x, x, {.transpose_a = true}))).item<float>());
  }
  for (const float each : results) CHECK(each == results[0]);
#if !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)  // which do not follow forks of programs with threads
  const ThreadCount two(2);
  const pid_t child = fork();
  if (child == 0) _exit(tiles_meet() ? 0 : 1);  // its pool has threads of its own
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
#endif
  CHECK(tiles_meet());
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("C6: a child that is forked while idle work runs has whole pieces, and does what is left of it") {
  const ThreadCount two(2);
  CHECK(tiles_meet());
  for (int time = 0; time < 20; ++time) {
    std::vector<int> done(16, 0);
    threads::IdleWork work(16, [&](std::int64_t piece) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
      ++done[static_cast<std::size_t>(piece)];
    });
    std::this_thread::sleep_for(std::chrono::microseconds(100 * time));
    const pid_t child = fork();
    if (child == 0) {
      work.finish();
      _exit(done == std::vector<int>(16, 1) ? 0 : 1);
    }
    work.finish();
    CHECK(done == std::vector<int>(16, 1));
    int status = -1, ended = 0;
    for (int wait = 0; wait < 1000 && ended == 0; ++wait) {
      ended = waitpid(child, &status, WNOHANG);
      if (ended == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (ended == 0) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
    }
    CHECK(status == 0);
  }
}
#endif

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("C6: pieces of idle work may fork at the same time") {
  const ThreadCount two(2);
  CHECK(tiles_meet());
  std::atomic<int> forked{0};
  for (int time = 0; time < 50; ++time) {
    threads::IdleWork work(4, [&](std::int64_t) {
      const pid_t child = fork();
      if (child == 0) _exit(0);
      int status = -1;
      waitpid(child, &status, 0);
      forked += status == 0;
    });
    work.finish();
  }
  CHECK(forked == 200);
}
#endif

TEST_CASE("a tile that takes long is waited for, and every tile of a thousand short calls is run once") {
  const ThreadCount four(4);
  std::atomic<int> done{0};
  parallel_for(4, [&](std::int64_t tile) {
    std::this_thread::sleep_for(std::chrono::milliseconds(tile == 0 ? 0 : 5));
    ++done;
  });
  CHECK(done == 4);
  std::atomic<int> wrong{0};
  on_threads(3, [&](int) {
    for (int call = 0; call < 1000; ++call) {
      std::vector<int> runs(5, 0);
      const auto effort = call % 2 == 0 ? threads::Effort::large : threads::Effort::small;
      parallel_for(
          5, [&](std::int64_t tile) { ++runs[static_cast<std::size_t>(tile)]; }, effort);
      if (runs != std::vector<int>(5, 1)) ++wrong;
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("asking whether threads share a cache ends soon, disturbs no call, and is no inside a tile") {
  std::atomic<int> done{0}, inside{0};
  const auto ask = [&] {
    for (int k = 0; k < 20; ++k) {
      threads::share_cache();
      parallel_for(8, [&](std::int64_t) {
        inside += threads::share_cache();
        ++done;
      });
    }
  };
  std::thread other(ask);
  ask();
  other.join();
  const ThreadCount one(1);  // tiles without the pool, as are those of a call that finds it at work
  ask();
  CHECK(done == 3 * 20 * 8);
  CHECK(inside == 0);
}

TEST_CASE("threads without work burn no time") {
  const ThreadCount two(2);
  CHECK(tiles_meet());
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // they look for more for a moment
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.005);
}

TEST_CASE("N37: denormals are kept on all threads, and flushed on all while a scope says so") {
  const ThreadCount two(2);
  const auto products = [] {
    std::vector<float> found(2);
    CHECK(tiles_meet([&](std::int64_t tile) {
      volatile float small = 1e-30F;
      found[static_cast<std::size_t>(tile)] = small * 1e-10F;
    }));
    return found;
  };
  for (int round = 0; round < 2; ++round) {
    CHECK(products() == std::vector<float>(2, 1e-40F));
    std::vector<float> flushed;
    float power = -1;
    {
      const FlushDenormalsScope scope;
      flushed = products();
      power = exp(tensor(-100.0)).item<float>();
    }
    CHECK(flushed == std::vector<float>(2, 0.0F));  // not within the scope, where a denormal number equals 0
    CHECK(power == 0);
    CHECK(exp(tensor(-100.0)).item<float>() > 0);
  }
}

TEST_CASE("idle work is begun by another thread without being waited for, where there is a processor for it") {
  if (std::thread::hardware_concurrency() < 2) return;
  for (const int count : {1, 2}) {
    const ThreadCount scope(count);
    std::atomic<int> elsewhere{0};
    const threads::IdleWork work(3, [&, caller = std::this_thread::get_id()](std::int64_t) {
      elsewhere += std::this_thread::get_id() != caller;
    });
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (elsewhere < 3 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    CHECK(elsewhere == 3);
  }
}

TEST_CASE("finish() runs every piece of idle work once, beside tiles and other idle work") {
  for (const int count : {1, 2, 4}) {
    const ThreadCount scope(count);
    std::atomic<int> wrong{0};
    on_threads(3, [&](int) {
      for (int round = 0; round < 200; ++round) {
        std::vector<std::atomic<int>> runs(7), tiles(5);
        threads::IdleWork work(7, [&](std::int64_t piece) { ++runs[static_cast<std::size_t>(piece)]; });
        parallel_for(5, [&](std::int64_t tile) { ++tiles[static_cast<std::size_t>(tile)]; });
        work.finish();
        for (const auto& each : runs) wrong += each != 1;
        for (const auto& each : tiles) wrong += each != 1;
      }
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("an exception in idle work arrives where it is finished, and the pool goes on") {
  const ThreadCount two(2);
  threads::IdleWork work(20, [](std::int64_t piece) {
    if (piece == 5) throw Error("piece 5");
  });
  CHECK(tiles_meet());
  CHECK_THROWS_WITH_AS(work.finish(), "piece 5", Error);
  CHECK(tiles_meet());
}

TEST_CASE("idle work that is given up runs no further") {
  const ThreadCount two(2);
  std::atomic<int> done{0};
  {
    const threads::IdleWork work(10000, [&](std::int64_t) {
      ++done;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const int before = done;
  CHECK(before < 10000);
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(done == before);
}

TEST_CASE("N37: idle work handles denormals as the thread that gives it") {
  const ThreadCount two(2);
  std::vector<float> found(64);
  const auto product = [&](std::int64_t piece) {
    volatile float small = 1e-30F;
    found[static_cast<std::size_t>(piece)] = small * 1e-10F;
  };
  threads::IdleWork(64, product).finish();
  CHECK(found == std::vector<float>(64, 1e-40F));
  {
    const FlushDenormalsScope scope;
    threads::IdleWork(64, product).finish();
  }
  CHECK(std::all_of(found.begin(), found.end(), [](float each) { return each == 0; }));
  threads::IdleWork(64, product).finish();
  CHECK(found == std::vector<float>(64, 1e-40F));
}
