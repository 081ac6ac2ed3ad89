#include "problem.h"

#include <fmt/core.h>
#include <twopass/core/files.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

using namespace twopass;

namespace adbench {
namespace {

// The median over half a second of runs, three at least; the first, which warms up, does not count.
template <typename F>
double milliseconds(const F& f) {
  using Clock = std::chrono::steady_clock;
  f();
  std::vector<double> times;
  for (const auto begin = Clock::now(); times.size() < 3 || Clock::now() - begin < std::chrono::milliseconds(500);) {
    const auto from = Clock::now();
    f();
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - from).count());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

Tensors as_variables(const Tensors& values) {
  Tensors variables;
  for (const Tensor& value : values) variables.push_back(variable(value));
  return variables;
}

void print_values(const Problem& problem) {
  const Tensors found = both_passes(problem)(as_variables(problem.parameters));
  fmt::print("objective {:.16e}\n", found[0].item<double>());
  for (std::size_t k = 0; k < problem.names.size(); ++k) {
    const Tensor& gradient = found[k + 1];
    fmt::print("gradient of {} {}\n", problem.names[k], gradient.shape().text());
    const std::int64_t width = gradient.rank() == 0 ? 1 : gradient.shape()[-1];
    for (std::int64_t at = 0; at < gradient.elements(); ++at)
      fmt::print("{:.16e}{}", gradient.at<double>(at), (at + 1) % width == 0 ? '\n' : ' ');
  }
}

void print_times(const Problem& problem) {
  const Tensors& at = problem.parameters;
  const PlanFunction first = [&](const Tensors& in) -> Tensors { return {problem.objective(in)}; };
  const PlanFunction both = both_passes(problem);
  const double eager_first = milliseconds([&] { first(at); });
  const double eager_both = milliseconds([&] { both(as_variables(at)); });
  const auto begin = std::chrono::steady_clock::now();
  const Plan planned_both = plan(both, at);
  const std::chrono::duration<double, std::milli> planning = std::chrono::steady_clock::now() - begin;
  const Plan planned_first = plan(first, at);
  const double plan_first = milliseconds([&] { planned_first(at); });
  const double plan_both = milliseconds([&] { planned_both(at); });
  fmt::print("milliseconds  forward  forward and backward\n");
  fmt::print("eager         {:<8.4g} {:.4g}\n", eager_first, eager_both);
  fmt::print("plan          {:<8.4g} {:.4g}  ({} steps, planned in {:.4g})\n", plan_first, plan_both,
             planned_both.steps(), planning.count());
}

}  // namespace

PlanFunction both_passes(const Problem& problem) {
  return [objective = problem.objective](const Tensors& in) {
    Tensor value = objective(in);
    Tensors found{detach(value)};
    const Gradients gradients = backward(std::move(value));
    for (const Tensor& x : in) found.push_back(gradients[x]);
    return found;
  };
}

int run(int argc, char** argv, const char* name, Reader read) {
  if (argc != 2) {
    fmt::print(stderr, "usage: {} FILE\n", name);
    return 2;
  }
  try {
    const Problem problem = read(read_file(argv[1]), argv[1]);
    print_values(problem);
    print_times(problem);
    if (std::fflush(stdout) != 0) throw Error(fmt::format("stdout can't be written: {}", std::strerror(errno)));
    return 0;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return 1;
  }
}

}  // namespace adbench
