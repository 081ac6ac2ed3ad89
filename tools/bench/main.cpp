// twopass_bench WORKLOAD THREADS [SECONDS]: one workload, measured; prints "peer workload threads median_ms
// key=value…". One step is forward, loss, backward and SGD update in f32, run eagerly:
//
//   W1  3072-20-15-10, ReLU, softmax cross-entropy, batch 128
//   W2  784-512-512-10, the same
//   W3  1024-1024-1024-1024-10, the same, batch 256
//   W4  100 blocks x + relu(x W1) W2, width 64, batch 64, mean squared error
//   W5  1000 elementwise ops in a chain on [16, 16], forward and backward
//   W7  8 branches 256-64-10, averaged, batch 64
//   W9  s = sin(s) x_i + s, 333 333 times on one-element tensors
#include <sys/resource.h>
#include <time.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

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

Random& numbers() {
  static Random random(1);
  return random;
}
Tensor uniform(const Shape& shape, double bound) { return numbers().uniform(shape, f32, -bound, bound); }
Parameter leaf(const Shape& shape, double bound) { return Parameter(uniform(shape, bound)); }

Tensor labels(std::int64_t batch, std::int64_t classes) {
  std::vector<std::int64_t> values;
  for (std::int64_t k = 0; k < batch; ++k) values.push_back((k * 7 + 3) % classes);
  return from_values(values, {batch});
}

double last_loss = 0;

void train(Tensor loss, Optimizer& optimizer, const Parameters& parameters) {
  last_loss = loss.item<double>();
  optimizer.apply(backward(std::move(loss)), parameters);
}

Times perceptron(double seconds, const std::vector<std::int64_t>& sizes, std::int64_t batch) {
  Parameters parameters;
  for (std::size_t k = 0; k + 1 < sizes.size(); ++k) {
    parameters.push_back(leaf({sizes[k], sizes[k + 1]}, std::sqrt(3.0 / static_cast<double>(sizes[k]))));
    parameters.push_back(leaf({sizes[k + 1]}, 0.01));
  }
  const Tensor x = uniform({batch, sizes[0]}, 1), y = labels(batch, sizes.back());
  Optimizer optimizer = sgd({.learning_rate = 0.01});
  return measure(seconds, [&] {
    Tensor h = x;
    for (std::size_t k = 0; k < parameters.size(); k += 2)
      h = affine(h, parameters[k], parameters[k + 1],
                 k + 2 < parameters.size() ? FusedActivation::relu : FusedActivation::linear);
    train(mean(sparse_softmax_cross_entropy(h, y)), optimizer, parameters);
  });
}

Times residual(double seconds) {
  Parameters parameters;
  for (int k = 0; k < 100; ++k) {
    parameters.push_back(leaf({64, 64}, 0.1));
    parameters.push_back(leaf({64, 64}, 0.02));
  }
  const Tensor x = uniform({64, 64}, 0.5) + 0.5, target = uniform({64, 64}, 0.5) + 0.5;
  Optimizer optimizer = sgd({.learning_rate = 1e-4});
  return measure(seconds, [&] {
    Tensor h = x;
    for (std::size_t k = 0; k < 200; k += 2) h = h + matmul(relu(matmul(h, parameters[k])), parameters[k + 1]);
    train(mean(square(h - target)), optimizer, parameters);
  });
}

Times chain(double seconds, std::string& extra) {
  const Tensor x = variable(uniform({16, 16}, 0.5));
  const Tensor b = (uniform({16, 16}, 0.5) + 0.5) * 1e-3, c = 1.0 - 0.01 * (uniform({16, 16}, 0.5) + 0.5);
  double forward = 0, reverse = 0;
  int steps = 0;
  const Times times = measure(seconds, [&] {
    const double begin = wall();
    Tensor h = x;
    for (int k = 0; k < 1000; ++k) h = k % 4 == 0 ? h + b : k % 4 == 1 ? h * c : k % 4 == 2 ? tanh(h) : relu(h);
    Tensor total = sum(h);
    const double middle = wall();
    last_loss = backward(std::move(total))[x].at<double>(0);
    forward += middle - begin;
    reverse += wall() - middle;
    ++steps;
  });
  char text[99];
  std::snprintf(text, sizeof text, "fwd_ns_op=%.0f bwd_ns_op=%.0f ", forward / steps * 1e6, reverse / steps * 1e6);
  extra = text;
  return times;
}

Times branches(double seconds) {
  Parameters parameters;
  for (int k = 0; k < 8; ++k)
    for (const Parameter& each : {leaf({256, 64}, 0.1), leaf({64}, 0.01), leaf({64, 10}, 0.1), leaf({10}, 0.01)})
      parameters.push_back(each);
  const Tensor x = uniform({64, 256}, 1), y = labels(64, 10);
  Optimizer optimizer = sgd({.learning_rate = 0.01});
  return measure(seconds, [&] {
    Tensor votes;
    for (std::size_t k = 0; k < parameters.size(); k += 4) {
      const Tensor vote = affine(affine(x, parameters[k], parameters[k + 1], FusedActivation::relu), parameters[k + 2],
                                 parameters[k + 3]);
      votes = votes.defined() ? votes + vote : vote;
    }
    train(mean(sparse_softmax_cross_entropy(votes / 8, y)), optimizer, parameters);
  });
}

Times scalars(double seconds, std::string& extra) {
  constexpr int kSteps = 333333;
  const Tensor s0 = variable(uniform({1}, 0.7));
  Tensors xs;
  for (int k = 0; k < 64; ++k) xs.push_back(uniform({1}, 0.5));
  double bytes = 0;
  const Times times = measure(seconds, [&] {
    const auto before = memory::live_bytes();
    Tensor s = s0;
    for (int k = 0; k < kSteps; ++k) s = sin(s) * xs[static_cast<std::size_t>(k & 63)] + s;
    bytes = static_cast<double>(memory::live_bytes() - before) / (3.0 * kSteps);
    last_loss = backward(std::move(s))[s0].at<double>(0);
  });
  char text[99];
  std::snprintf(text, sizeof text, "ns_node=%.0f bytes_node=%.0f ", times.median * 1e6 / (3.0 * kSteps), bytes);
  extra = text;
  return times;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: twopass_bench W1|W2|W3|W4|W5|W7|W9 THREADS [SECONDS]\n");
    return 2;
  }
  const std::string workload = argv[1];
  const double seconds = argc > 3 ? std::atof(argv[3]) : 1;
  try {
    threads::set_count(std::atoi(argv[2]));
    std::string extra;
    Times times{};
    if (workload == "W1")
      times = perceptron(seconds, {3072, 20, 15, 10}, 128);
    else if (workload == "W2")
      times = perceptron(seconds, {784, 512, 512, 10}, 128);
    else if (workload == "W3")
      times = perceptron(seconds, {1024, 1024, 1024, 1024, 10}, 256);
    else if (workload == "W4")
      times = residual(seconds);
    else if (workload == "W5")
      times = chain(seconds, extra);
    else if (workload == "W7")
      times = branches(seconds);
    else if (workload == "W9")
      times = scalars(seconds, extra);
    else {
      std::fprintf(stderr, "twopass_bench: there is no workload %s\n", workload.c_str());
      return 2;
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("twopass %s %d %.5f p10=%.5f cpu=%.5f n=%zu rss_mb=%.1f %sloss=%g\n", workload.c_str(),
                threads::count(), times.median, times.tenth, times.processor, times.steps,
                static_cast<double>(usage.ru_maxrss) / 1024, extra.c_str(), last_loss);
  } catch (const Error& error) {
    std::fprintf(stderr, "twopass_bench: %s\n", error.what());
    return 1;
  }
}
