#include "suite.h"

#include <fmt/format.h>

#include <iterator>

#include "adbench/gmm.h"
#include "adbench/lstm.h"

using namespace twopass;

namespace {

void write(std::string& text, const Tensor& values) {
  for (const double value : values.values<double>()) fmt::format_to(std::back_inserter(text), "{} ", value);
}

// The same distributions as tools/adbench/generate draws from.
adbench::Problem mixture(std::int64_t d, std::int64_t k, std::int64_t n) {
  Random random(1);
  std::string text = fmt::format("{} {} {} ", d, k, n);
  write(text, random.normal({k}, f64));
  write(text, random.uniform({k, d}, f64));
  write(text, random.normal({k, d * (d + 1) / 2}, f64));
  write(text, random.normal({n, d}, f64));
  return adbench::read_gmm(text + "1.0 0", "drawn");
}

adbench::Problem recurrent(std::int64_t layers, std::int64_t characters, std::int64_t bits) {
  Random random(1);
  std::string text = fmt::format("{} {} {} ", layers, characters, bits);
  write(text, random.uniform({2 * layers, 4 * bits}, f64));
  write(text, random.uniform({3, bits}, f64));
  write(text, random.uniform({2 * layers, bits}, f64));
  write(text, floor(random.uniform({characters, bits}, f64, 0, 2)));
  return adbench::read_lstm(text, "drawn");
}

}  // namespace

Workload suite_workload(const std::string& name, std::int64_t characters) {
  const adbench::Problem problem = name == "GMM" ? mixture(10, 25, 1000) : recurrent(2, characters, 14);
  return {problem.parameters, [both = adbench::both_passes(problem)](const Tensors& in) {
            Tensors parameters;
            for (const Tensor& each : in) parameters.push_back(each.symbolic() ? each : variable(each));
            return both(parameters);
          }};
}
