// Right gradients that looked wrong: where differences, or the gradient's own digits, cannot tell.
#include <doctest/doctest.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/doctest.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/quantiles.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/scans.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/special.h>
#include <twopass/ops/trigonometric.h>

#include <cmath>
#include <functional>
#include <vector>

using namespace twopass;

namespace {

using Function = std::function<Tensor(const Tensor&)>;

Tensor at(const std::vector<double>& values, DType dtype = f64) {
  return from_values(values, {static_cast<std::int64_t>(values.size())}, dtype);
}

GradcheckReport checked(const Function& f, const Tensor& x) {
  return gradcheck([&](const Tensors& in) { return f(in[0]); }, {x});
}

// What it is given, whose gradient is `factor` times as large.
Tensor scaled(const Tensor& x, double factor) {
  return custom_gradient(
      [](const Tensors& in) { return in[0] * 1.0; },
      [factor](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g * factor}; })({x});
}

}  // namespace

TEST_CASE("a gradient that is too small for f64 on the way back is not called wrong") {
  const auto f = [](const Tensor& x) { return 1.0 / expm1(x); };  // -e^-419, by way of e^-838
  const GradcheckReport report = checked(f, at({419}));
  CAPTURE(report);
  CHECK(!report.wrong());
  CHECK(!report.ok());
  CHECK(checked([&](const Tensor& x) { return scaled(f(x), 1.001); }, at({300})).wrong());
}

TEST_CASE("what bends where roundings of a large term begin is not taken for a kink") {
  const auto f = [](const Tensor& x) { return sin(x * norm(x, 3)) + 1e8; };
  const Tensor x = at({0.00040461737795610686, 0.000377107501532866, 0.0003666306620379635, 0.00022889665873210781});
  const GradcheckReport report = checked(f, x);
  CAPTURE(report);
  CHECK(!report.wrong());
  CHECK(!checked([&](const Tensor& t) { return f(scaled(t, 2)); }, x).ok());
  CHECK(checked([&](const Tensor& t) { return f(scaled(t, 1.5)); }, at({0.4, 0.3, 0.2, 0.7})).wrong());
}

TEST_CASE("stairs that directions step over are not called wrong, and a gradient that passes through them is") {
  for (const Tensor& x : {at({1.4463e10, 3.2e9}), at({1e9 + 0.3, 1e6 + 0.3, 1e5 + 0.3})}) {
    const GradcheckReport report = checked([](const Tensor& t) { return round(t); }, x);
    CAPTURE(report);
    CHECK(!report.wrong());
    CHECK(checked([](const Tensor& t) { return t + (t - detach(t)) * 0.5; }, x).wrong());
  }
  // Steps of a few units in the last place cross a tread or more.
  const Tensor x = at({-0.00447884521594888, 0.004398321881687043, 0.006999522137164962, 0.00531493122585456});
  const auto f = [](const Tensor& t) {
    const Tensor y = cumprod(t * 1e6, 0);
    return round(y) + y;
  };
  const GradcheckReport report = checked(f, x);
  CAPTURE(report);
  CHECK(!report.wrong());
  CHECK(!report.ok());
  CHECK(checked([&](const Tensor& t) { return f(scaled(t, 1.001)); }, x * 1e-5).wrong());
  // That no gradient passes does not make a function flat.
  const auto forgotten = [](const Tensor& t) { return scaled(sin(t), 0); };
  CHECK(checked(forgotten, at({0.3, 1e15})).wrong());
}

TEST_CASE("a direction through elements of which nothing can be said is not called wrong") {
  const auto f = [](const Tensor& x) {  // waves much shorter than x
    const Tensor y = erf(x);
    return sinc(polygamma(2, y - quantile(y, 0.37)));
  };
  const Tensor x = at({0.008800208765070868, -0.010418225860567643, -0.0032719217171994046, -0.0020642029151329393});
  const GradcheckReport report = checked(f, x);
  CAPTURE(report);
  CHECK(!report.wrong());
  CHECK(!report.ok());
}

TEST_CASE("a gradient that is NaN because an output is, is not called wrong, and one beside finite outputs is") {
  const auto f = [](const Tensor& x) { return atan(exp(x) - logsumexp(exp(x))); };
  const GradcheckReport report = checked(f, at({-2748, 957, -4294, -2232}));
  CAPTURE(report);
  CHECK(!report.wrong());
  CHECK(!report.ok());
  CHECK(!checked([](const Tensor& x) { return cumprod(sqrt(x), 0); }, at({4, -1, 9})).wrong());
  CHECK(checked([](const Tensor& x) { return scaled(x, NAN); }, at({1, 2})).wrong());
}

TEST_CASE("a small slope of a small function of f32 is known to f32's digits") {
  const auto f = [](double factor) {
    return [factor](const Tensor& t) { return scaled(t, factor) * full({2}, 1e-6, f32); };
  };
  const Tensor x = at({0.7, 1.3}, f32);
  CHECK(checked(f(1), x));
  for (const double factor : {1.66, 0.34, 1.01}) CHECK(checked(f(factor), x).wrong());
  // Beside a 1, differences of f32 see 1e-4 and little less.
  const auto beside = [](double factor) {
    return [factor](const Tensor& t) { return scaled(t, factor) * full({2}, 2e-4, f32) + 1.0; };
  };
  CHECK(checked(beside(1), x));
  CHECK(checked(beside(1.66), x).wrong());
}

TEST_CASE("bends that are shorter than the steps of f32 are not called wrong") {
  const Tensor ones = full({4}, 1, f32);
  const auto f = [&](double factor) {
    return [&ones, factor](const Tensor& t) {
      const Tensor y = scaled(t, factor) * ones;
      return 1.0 / (y / (norm(y) + 0.1) + 3.0);
    };
  };
  const Tensor x = at({0.0016611272, 0.0009925502, -0.010733091, 0.015858775}, f32);
  const GradcheckReport report = checked(f(1), x);
  CAPTURE(report);
  CHECK(!report.wrong());
  CHECK(checked(f(1.1), x).wrong());
}
