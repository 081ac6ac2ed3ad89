// The checker is checked: the gradient of every record made wrong by a little, for each of its samples.
#include <doctest/doctest.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/op.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

using namespace twopass;

namespace {

// A sample of a record, with the input whose gradient is made wrong, and its size element by element.
struct Sample {
  const Op* op;
  ArgumentsPointer arguments;
  Tensors inputs;
  std::size_t input;
  std::vector<double> sizes;
};

enum class Mistake { every_element, largest_element, smallest_element };
constexpr Mistake kMistakes[] = {Mistake::every_element, Mistake::largest_element, Mistake::smallest_element};
const char* const kNames[] = {"every element", "the largest element", "the smallest element"};

// None where all gradients are 0 or none is finite.
std::optional<Sample> sample_of(const Op& op, std::size_t number) {
  const Op::Sample& from = op.samples()[number];
  Random random(seed_of(1, op.name() + std::to_string(number)));
  Sample sample{.op = &op, .arguments = from.arguments, .inputs = {}, .input = 0, .sizes = {}};
  Tensors at;
  for (const auto& input : from.inputs) {
    sample.inputs.push_back(input.draw(random, f64));
    at.push_back(is_floating(sample.inputs.back().dtype()) ? variable(sample.inputs.back()) : sample.inputs.back());
  }
  const Tensor y = apply(op, from.arguments, at);
  if (!y.recorded() || !is_floating(y.dtype())) return std::nullopt;
  const Gradients found = backward(y, {.seed = random.normal(y.shape(), y.dtype())});
  for (; sample.input < at.size(); ++sample.input) {
    if (!at[sample.input].recorded() || !found.contains(at[sample.input])) continue;
    sample.sizes = found[at[sample.input]].values<double>();
    double most = 0;
    for (double& each : sample.sizes) most = std::max(most, each = std::abs(each));
    if (most > 0 && std::isfinite(most)) return sample;
  }
  return std::nullopt;
}

std::vector<Sample> all_samples() {
  std::vector<Sample> all;
  for (const Op* op : all_ops())
    for (std::size_t k = 0; op->differentiable() && k < op->samples().size(); ++k)
      if (auto sample = sample_of(*op, k)) all.push_back(std::move(*sample));
  return all;
}

std::vector<double> factors(const Sample& sample, Mistake mistake, double by) {
  std::vector<double> all(sample.sizes.size(), mistake == Mistake::every_element ? 1 + by : 1);
  if (mistake == Mistake::every_element) return all;
  std::vector<double> sizes = sample.sizes;
  if (mistake == Mistake::smallest_element)
    for (double& each : sizes) each = each > 0 ? -each : -std::numeric_limits<double>::infinity();
  all[static_cast<std::size_t>(std::max_element(sizes.begin(), sizes.end()) - sizes.begin())] = 1 + by;
  return all;
}

// What the check says of the record behind an identity whose gradient is multiplied.
GradcheckReport checked(const Sample& sample, Mistake mistake, double by) {
  const Tensor& x = sample.inputs[sample.input];
  const Tensor with = from_values(factors(sample, mistake, by), x.shape(), x.dtype());
  const auto wrong =
      custom_gradient([](const Tensors& in) { return in[0] * 1.0; },
                      [with](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g * with}; });
  const auto f = [&](const Tensors& in) {
    Tensors at = in;
    at[sample.input] = wrong({in[sample.input]});
    return apply(*sample.op, sample.arguments, at);
  };
  return gradcheck(f, sample.inputs, {.exact = false, .blame = false});
}

}  // namespace

TEST_CASE("the gradient of every record is found wrong where it is off by 1e-6 of its size, in one element too") {
  const std::vector<Sample> samples = all_samples();
  CHECK(samples.size() > 200);
  for (const Sample& sample : samples) {
    CAPTURE(sample.op->name());
    CHECK(!checked(sample, Mistake::every_element, 0).wrong());
    for (const Mistake mistake : kMistakes) {
      CAPTURE(kNames[static_cast<int>(mistake)]);
      const GradcheckReport report = checked(sample, mistake, 1e-6);
      CAPTURE(report.text());
      CHECK(report.wrong());
    }
  }
}

TEST_CASE("how many wrong gradients of records are found, by how far they are off" * doctest::skip()) {
  const std::vector<Sample> samples = all_samples();
  std::printf("%zu samples: found wrong, unreliable, passed\n", samples.size());
  for (const Mistake mistake : kMistakes) {
    std::printf("%-20s", kNames[static_cast<int>(mistake)]);
    for (int digits = 3; digits <= 8; ++digits) {
      int wrong = 0, unreliable = 0, passed = 0;
      for (const Sample& sample : samples) {
        const GradcheckReport report = checked(sample, mistake, std::pow(10.0, -digits));
        ++(report.wrong() ? wrong : report.ok() ? passed : unreliable);
      }
      std::printf(" | 1e-%d: %d %d %d", digits, wrong, unreliable, passed);
    }
    std::printf("\n");
  }
}
