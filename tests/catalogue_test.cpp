// What holds for every op at once, beside what registry_test.cpp checks.
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/activations.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/distances.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/grid_sampling.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/normalization.h>
#include <twopass/ops/op.h>
#include <twopass/ops/patches.h>
#include <twopass/ops/quantiles.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/scans.h>
#include <twopass/ops/sorting.h>
#include <twopass/ops/special.h>

using namespace twopass;

namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.node().data, b.node().data, a.node().bytes()) == 0;
}

void check_planned(const std::string& name, const PlanFunction& f, const Tensors& inputs) {
  const Tensors eager = f(inputs), planned = plan(f, inputs)(inputs);
  INFO(name);
  REQUIRE(planned.size() == eager.size());
  for (std::size_t k = 0; k < eager.size(); ++k) CHECK(same_bits(planned[k], eager[k]));
}

}  // namespace

TEST_CASE("N24: in every elementwise op an incoming gradient of 0 gives exactly 0, at poles, infinities and NaN too") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor odd = tensor({0.0, -0.0, 1.0, -1.0, 2.0, -2.0, inf, -inf, nan}, f64);
  int tried = 0;
  for (const Op* op : all_ops()) {
    if (!op->elementwise() || !op->differentiable() || op->samples().empty()) continue;
    Random random(1);
    Tensors inputs;
    for (const auto& input : op->samples()[0].inputs)
      if (is_floating(input.draw(random, f64).dtype())) inputs.push_back(variable(odd));
    if (inputs.size() != op->samples()[0].inputs.size()) continue;
    const Tensor y = apply(*op, op->samples()[0].arguments, inputs);
    if (!is_floating(y.dtype()) || !y.recorded()) continue;
    const Gradients gradients = backward(sum(strong_mul(y, scalar_like(0, y))));
    for (const Tensor& x : inputs)
      for (const double slope : gradients[x].values<double>()) CHECK(slope == 0);
    ++tried;
  }
  CHECK(tried > 40);
}

TEST_CASE("ops whose rows stay apart give the same bits when a plan runs them by tiles") {
  Random random(5);
  const Tensor x = random.normal({600, 300}, f32);
  const auto check = [&](const char* name, const std::function<Tensor(const Tensor&)>& f) {
    check_planned(name, [&](const Tensors& in) -> Tensors { return {tanh(f(in[0] * 1.5)) + 1.0}; }, {x});
  };
  check("standardize", [](const Tensor& t) { return standardize(t, 1); });
  check("norm", [](const Tensor& t) { return norm(t, 2, 1, keep_axis) * t; });
  check("cumsum", [](const Tensor& t) { return cumsum(t, 1); });
  check("cumprod", [](const Tensor& t) { return cumprod(t, 1, Scan::backward); });
  check("sort", [](const Tensor& t) { return sort(t, 1); });
  check("topk", [](const Tensor& t) { return topk(t, 5, 1).values; });
  check("down the columns", [](const Tensor& t) { return cumsum(standardize(sort(t, 0), 0), 0); });
}

TEST_CASE("functions of other ops and their gradients give the same bits in a plan, and in f32 what they give in f64") {
  Random random(6);
  const Tensor x = random.normal({2, 4, 6, 6}, f32), at = random.normal({2, 3, 5, 2}, f32),
               rows = random.normal({8, 9}, f32);
  const auto check = [](const char* name, const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs) {
    const auto both = [&](const Tensors& in) -> Tensors {
      const auto [value, gradients] = value_and_gradients([&](const Tensors& t) { return sum(square(f(t))); }, in);
      return {f(in), value, gradients[0]};
    };
    check_planned(name, both, inputs);
    Tensors wide;
    for (const Tensor& each : inputs) wide.push_back(cast(each, f64));
    const Tensors narrow = both(inputs), exact = both(wide);
    INFO(name);
    for (std::size_t k = 0; k < narrow.size(); ++k)
      CHECK(max(abs(cast(narrow[k], f64) - exact[k])).item<double>() <= 1e-4 * (1 + max(abs(exact[k])).item<double>()));
  };
  const auto alone = [&](const char* name, const std::function<Tensor(const Tensor&)>& f, const Tensor& t) {
    check(name, [&](const Tensors& in) { return f(in[0]); }, {t});
  };
  check("grid_sample", [](const Tensors& in) { return grid_sample(in[0], in[1], {.padding = GridPadding::border}); },
        {x, at});
  check("cdist", [](const Tensors& in) { return cdist(in[0], in[0] * 0.5); }, {rows});
  alone(
      "unfold", [](const Tensor& t) { return fold(unfold(t, 3, {.padding = 1}), 6, 3, {.padding = 1}); }, x);
  alone(
      "pad",
      [](const Tensor& t) {
        return pad(t, {{0, 0}, {0, 0}, {2, 1}, {1, 2}}, PadMode::reflect);
      },
      x);
  alone(
      "lp_pool2d", [](const Tensor& t) { return lp_pool2d(t, 3); }, x);
  alone(
      "pixel_shuffle", [](const Tensor& t) { return pixel_shuffle(t, 2); }, x);
  alone(
      "local_response_norm", [](const Tensor& t) { return local_response_norm(t, 3); }, x);
  alone(
      "max_unpool2d",
      [](const Tensor& t) {
        const PlacedMaxima found = max_pool2d_places(t);
        return max_unpool2d(found.values, found.places, 6);
      },
      x);
  alone(
      "quantile",
      [](const Tensor& t) {
        return quantile(t, {0.25, 0.6}, 1);
      },
      rows);
  alone(
      "sparsemax", [](const Tensor& t) { return sparsemax(t); }, rows);
  alone(
      "celu", [](const Tensor& t) { return celu(t, 0.5); }, rows);
  alone("sinc", sinc, rows);
}
