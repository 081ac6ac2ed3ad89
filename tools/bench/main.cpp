// twopass_bench WORKLOAD THREADS [SECONDS] [--eager] [--bf16] [--profile]: one workload, measured as a plan or eagerly;
// prints "peer workload threads median_ms key=value…". One step is forward, loss, backward and SGD update in f32:
//
//   W1   3072-20-15-10, ReLU, softmax cross-entropy, batch 128
//   W2   784-512-512-10, the same
//   W3   1024-1024-1024-1024-10, the same, batch 256
//   W4   100 blocks x + relu(x W1) W2, width 64, batch 64, mean squared error
//   W5   1000 elementwise ops in a chain on [16, 16], forward and backward
//   W6   conv 3×3×32, conv 3×3×32, max-pool 2, conv 3×3×64, max-pool 2, dense 10 on [64, 3, 32, 32]
//   W7   8 branches 256-64-10, averaged, batch 64
//   W8   forward and backward on [4096, 1024]: a softmax, b layer norm of plain ops, c gelu
//   W9   s = sin(s) x_i + s, 333 333 times on one-element tensors, always eager
//   W10  Hessian-vector product of 784-128-64-10, tanh, batch 32
//   jacobian  600 rows for the input of 40-64-64-10, tanh, batch 60; jacobian:rows by a backward pass each
//   GMM, LSTM  objectives of the ADBench suite and their gradients, in f64
//   sharing  from which size on two threads are faster than one (see sharing.h)
//   fit  what fit adds to the steps of W1's network (see fit.h)
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fit.h"
#include "sharing.h"
#include "workloads.h"

using namespace twopass;

namespace {

double wall() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double processor() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Times {
  double median, tenth, processor;
  std::size_t steps;
};

// Warms up for a quarter of the time (three steps at least), then measures step by step.
template <typename Step>
Times measure(double seconds, const Step& step) {
  double begin = wall();
  for (int k = 0; k < 3 || wall() - begin < 0.25 * seconds; ++k) {
    step();
    if (wall() - begin > 3 * seconds) break;
  }
  std::vector<double> times, busy;
  begin = wall();
  while ((wall() - begin < seconds || times.size() < 7) && times.size() < 200000) {
    const double from = wall(), from_busy = processor();
    step();
    times.push_back(wall() - from);
    busy.push_back(processor() - from_busy);
    if (wall() - begin > 6 * seconds && times.size() >= 3) break;
  }
  std::sort(times.begin(), times.end());
  std::sort(busy.begin(), busy.end());
  return {times[times.size() / 2] * 1e3, times[times.size() / 10] * 1e3, busy[busy.size() / 2] * 1e3, times.size()};
}

struct Choice {
  double seconds = 1;
  bool eager = false, bf16 = false, profile = false;
};

int usage() {
  std::fprintf(stderr,
               "usage: twopass_bench W1|…|W8a|…|W10|jacobian|GMM|LSTM|fit|sharing THREADS [SECONDS] [--eager] [--bf16] "
               "[--profile]\n");
  return 2;
}

void print_profile(const Plan& plan, const Tensors& inputs) {
  for (const Plan::StepTime& step : plan.profile(inputs))
    std::printf("%9.4f ms %8.2f GFLOP/s %8.2f GB/s  %s\n", step.milliseconds, step.work / step.milliseconds * 1e-6,
                static_cast<double>(step.bytes) / step.milliseconds * 1e-6, step.calls.c_str());
}

void run(const std::string& name, const Choice& choice) {
  const Workload workload = workload_named(name);
  const bool eager = choice.eager || workload.eager_only;
  const PrecisionScope precision(choice.bf16 ? Precision::bf16 : Precision::single);
  Tensors last;
  Times times{};
  std::int64_t bytes = 0;
  std::string extra;
  if (eager) {
    memory::reset_peak();
    times = measure(choice.seconds, [&] { last = workload.step(workload.inputs); });
    bytes = memory::peak_bytes();
  } else {
    double planning = wall();
    Plan planned = plan(workload.step, workload.inputs);
    if (wall() - planning < 0.1) {  // the first warms up
      planning = wall();
      planned = plan(workload.step, workload.inputs);
    }
    extra = "plan_ms=" + std::to_string((wall() - planning) * 1e3) + " ";
    if (choice.profile) print_profile(planned, workload.inputs);
    memory::reset_peak();
    times = measure(choice.seconds, [&] { planned.run_into(last, workload.inputs); });
    bytes = memory::peak_bytes();
  }
  if (workload.parts > 0)
    extra += "ns_" + workload.part + "=" + std::to_string(times.median * 1e6 / workload.parts) + " ";
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("twopass%s%s %s %d %.5f p10=%.5f cpu=%.5f n=%zu rss_mb=%.1f tensors_mb=%.1f %sfirst=%g\n",
              eager ? "_eager" : "", choice.bf16 ? "_bf16" : "", name.c_str(), threads::count(), times.median,
              times.tenth, times.processor, times.steps, static_cast<double>(usage.ru_maxrss) / 1024,
              static_cast<double>(bytes) / 1048576, extra.c_str(), last.at(0).at<double>(0));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words;
  Choice choice;
  for (int k = 1; k < argc; ++k) {
    if (std::strcmp(argv[k], "--eager") == 0)
      choice.eager = true;
    else if (std::strcmp(argv[k], "--bf16") == 0)
      choice.bf16 = true;
    else if (std::strcmp(argv[k], "--profile") == 0)
      choice.profile = true;
    else
      words.emplace_back(argv[k]);
  }
  // interleave.py puts the options of a command before the workload
  if (words.size() < 2 || words.size() > 3) return usage();
  for (const std::string& word : words)
    if (word.rfind("--", 0) == 0) return usage();
  if (words.size() == 3) choice.seconds = std::atof(words[2].c_str());
  if (choice.seconds <= 0) return usage();
  try {
    threads::set_count(static_cast<int>(whole_number(words[1], "the number of threads")));
    if (words[0].rfind("fit", 0) == 0)
      measure_fit(words[0], choice.seconds);
    else if (words[0] == "sharing")
      measure_sharing(choice.seconds);
    else
      run(words[0], choice);
  } catch (const Error& error) {
    std::fprintf(stderr, "twopass_bench: %s\n", error.what());
    return 1;
  }
}
