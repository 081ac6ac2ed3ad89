#include "sharing.h"

#include <twopass/core/threads.h>
#include <twopass/ops/gemm.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

using namespace twopass;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kUntilAsleep{200};

double microseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::micro>(Clock::now() - from).count();
}

void wait(std::chrono::microseconds time) {
  for (const auto begin = Clock::now(); Clock::now() - begin < time;) continue;
}

double median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// `part(0)` and `part(1)` are the halves of some work on `inputs`.
template <typename Part>
void compare(const char* what, std::int64_t size, double seconds, std::vector<std::vector<float>*> inputs,
             const Part& part) {
  const auto timed = [](std::vector<double>& times, const auto& f) {
    const auto from = Clock::now();
    f();
    times.push_back(microseconds(from));
  };
  const auto one = [&] { part(0), part(1); };
  const int threads = threads::count();
  const auto two = [&] { parallel_for(2, part); };
  const auto write = [&] {
    for (std::vector<float>* input : inputs)
      for (float& x : *input) x = 1 - x;
  };
  std::vector<double> alone, alone_written, awake, written, asleep;
  for (const auto begin = Clock::now(); microseconds(begin) < 1e6 * seconds || alone.size() < 9;) {
    threads::set_count(1);
    for (int k = 0; k < 3; ++k) one();
    for (int k = 0; k < 8; ++k) timed(alone, one);
    for (int k = 0; k < 8; ++k) {
      write();
      timed(alone_written, one);
    }
    threads::set_count(threads);
    for (int k = 0; k < 3; ++k) two();
    for (int k = 0; k < 8; ++k) timed(awake, two);
    for (int k = 0; k < 8; ++k) {
      two();
      write();
      two();
      write();
      timed(written, two);
    }
    wait(kUntilAsleep);
    timed(asleep, two);
  }
  std::printf("%-12s %9lld %9.2f %9.2f %9.2f %9.2f %9.2f\n", what, static_cast<long long>(size), median(alone),
              median(awake), median(alone_written), median(written), median(asleep));
}

std::vector<float> numbers(std::int64_t count) { return std::vector<float>(static_cast<std::size_t>(count), 0.25F); }

void product(std::int64_t width, double seconds) {
  std::vector<float> a = numbers(width * width), b = numbers(width * width), c = numbers(width * width);
  const std::int64_t half = width / 2;
  compare("product", 2 * width * width * width, seconds, {&a}, [&](std::int64_t k) {
    gemm<float>(false, false, half, width, width, a.data() + k * half * width, width, b.data(), width,
                c.data() + k * half * width, width, {});
  });
}

// The op's own kernel on halves, each below the size from which it is cut itself.
void on_halves(const char* what, std::int64_t count, double seconds, const Op& op) {
  std::vector<float> x = numbers(count), y = numbers(count);
  const std::int64_t half = count / 2;
  const Shape shape{half}, sum_shape{};
  const bool sums = !op.elementwise();
  const ArgumentsPointer arguments = op.arguments(op.defaults());
  compare(what, count, seconds, {&x}, [&](std::int64_t k) {
    const View in{reinterpret_cast<const std::byte*>(x.data() + k * half), &shape, f32};
    op.forward(arguments.get(), Inputs(&in, 1),
               {reinterpret_cast<std::byte*>(y.data() + k * half), sums ? &sum_shape : &shape, f32});
  });
}

}  // namespace

void measure_sharing(double seconds) {
  const RecordingScope off(false);
  std::printf("%-12s %9s %9s %9s %9s %9s %9s\n", "microseconds", "size", "one", "two", "one,read", "two,read",
              "asleep");
  for (const std::int64_t width : {32, 48, 64, 80, 96, 112, 128, 160, 192, 256}) product(width, seconds);
  for (const char* name : {"sum", "square", "tanh"})
    for (std::int64_t count = 1 << 12; count <= 1 << 21; count *= 2) on_halves(name, count, seconds, *find_op(name));
}
