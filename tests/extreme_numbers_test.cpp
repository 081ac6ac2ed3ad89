// Gradient checks of huge and of denormal numbers, and of what drowns beside others.
#include <doctest/doctest.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/activations.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/softmax.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "claims.h"

using namespace twopass;

TEST_CASE("numbers so large that their own steps are as long as the waves of a function are not judged") {
  for (const double x : {1e14, 1e15, 1e18, 1e25}) {
    CAPTURE(x);
    const auto wave = [](const Tensor& t) { return sin(t); };
    CHECK(verdict_on(wave, x, std::cos(x)).verdict == Verdict::unreliable);
    CHECK(verdict_on(wave, x, 0).verdict == Verdict::unreliable);
    const auto report = gradcheck([](const Tensors& in) { return sin(in[0]) + in[0] * 1e-3; }, {tensor({x}, f64)});
    CHECK(!report.wrong());
    const auto smooth = [](const Tensor& t) { return square(t); };
    CHECK(verdict_on(smooth, x, 2 * x).verdict == Verdict::pass);
    CHECK(verdict_on(smooth, x, 4 * x).verdict == Verdict::fail);
    CHECK(verdict_on(smooth, x, 0).verdict == Verdict::fail);
  }
}

TEST_CASE(
    "directions through waves that are as short as the steps of large numbers are not judged, nor what cancels in "
    "them") {
  const auto waves = [](double x, double factor) {
    return gradcheck(
        [factor](const Tensors& in) {
          const Tensor t = detach(in[0]);
          return sum(sin(in[0])) + sum((in[0] - t) * cos(t)) * (factor - 1);
        },
        {tensor({x, 2 * x}, f64)}, {.exact = false, .blame = false});
  };
  for (const double x : {1e13, 2e13, 3e13, 1.2e13, 1.04e12, 1.06e12, 1.15e11, 1.29e11, 1.37e11}) {
    CAPTURE(x);
    const GradcheckReport report =
        gradcheck([](const Tensors& in) { return sum(sin(in[0])); }, {tensor({x, 2 * x}, f64)}, {.blame = false});
    CAPTURE(report.text());
    CHECK(!report.wrong());
    CHECK(gradcheck([](const Tensors& in) { return sum(square(in[0])); }, {tensor({x, 2 * x}, f64)}).ok());
  }
  for (const double x : {1e3, 1e6, 1e9}) {  // shorter steps than the waves: what is wrong there is found
    CAPTURE(x);
    CHECK(waves(x, 1.01).wrong());
    CHECK(waves(x, 0.5).wrong());
  }
}

TEST_CASE("sines of huge numbers are not judged beside others in one sum, and beside terms that hide them") {
  const std::vector<std::pair<const char*, Scalar>> functions = {
      {"sin t", [](const Tensor& t) { return sin(t); }},
      {"sin t + 130 t", [](const Tensor& t) { return sin(t) + t * 130.0; }},
      {"sin t + 1e-20 t²", [](const Tensor& t) { return sin(t) + square(t) * 1e-20; }},
      {"sin t + 2e-18 t²", [](const Tensor& t) { return sin(t) + square(t) * 2e-18; }},
      {"tanh(3 sin t)", [](const Tensor& t) { return tanh(sin(t) * 3.0); }},
  };
  const std::vector<std::vector<double>> places = {{4e13, 8e13},
                                                   {5e13, 1e14},
                                                   {4.3e11, 6842036069295886},
                                                   {8.4e14, 45946512757.935043},
                                                   {1472969747.9426649, 641482643550.69971},
                                                   {98030778602997744, 74068411024502.047},
                                                   {1979246173806.7542, 917714011820155.12}};
  for (const auto& [name, f] : functions)
    for (const auto& place : places)
      for (const bool summed : {false, true}) {
        CAPTURE(name);
        CAPTURE(place[0]);
        CAPTURE(summed);
        const auto both = [&](const Tensors& in) { return summed ? sum(f(in[0])) : f(in[0]); };
        const GradcheckReport report = gradcheck(both, {from_values(place, {2}, f64)}, {.blame = false});
        CAPTURE(report.text());
        CHECK(!report.wrong());
        const auto lost = [&](const Tensors& in) { return detach(both(in)); };
        CHECK(!gradcheck(lost, {from_values(place, {2}, f64)}, {.blame = false}).conclusive());
      }
}

TEST_CASE("of smooth functions of huge numbers what is 1 % wrong is wrong") {
  const std::vector<std::pair<Scalar, Scalar>> smooth = {
      {[](const Tensor& t) { return log(t); }, [](const Tensor& t) { return 1.0 / t; }},
      {[](const Tensor& t) { return sqrt(t); }, [](const Tensor& t) { return 0.5 / sqrt(t); }},
      {[](const Tensor& t) { return 1.0 / t; }, [](const Tensor& t) { return -1.0 / square(t); }},
      {[](const Tensor& t) { return t * 3.0 + square(t) * 1e-14; }, [](const Tensor& t) { return 3.0 + t * 2e-14; }},
  };
  for (std::size_t k = 0; k < smooth.size(); ++k)
    for (const double x : {1e9, 4e13, 1e16})
      for (const double factor : {1.0, 1.01, 0.0}) {
        CAPTURE(k);
        CAPTURE(x);
        const auto f = custom_gradient([&](const Tensors& in) { return smooth[k].first(in[0]); },
                                       [&](const Tensors& in, const Tensor&, const Tensor& g) {
                                         return Tensors{smooth[k].second(in[0]) * g * factor};
                                       });
        const GradcheckReport report = gradcheck(f, {tensor({x, 2 * x}, f64)}, {.exact = false, .blame = false});
        CAPTURE(report.text());
        CHECK(report.ok() == (factor == 1));
        CHECK(report.wrong() == (factor != 1));
      }
}

TEST_CASE("denormal values and gradients are judged as far as their digits go") {
  const auto check = [](const Scalar& f, const Tensor& x, int order = 2) {
    return gradcheck([&](const Tensors& in) { return f(in[0]); }, {x}, {.order = order});
  };
  const Tensor x = tensor({0.3, 0.7}, f64), small = tensor({1e-310, 3e-310}, f64);
  CHECK(check([](const Tensor& t) { return t * 1e-310; }, x).ok());
  CHECK(check([](const Tensor& t) { return t * 2.0; }, small).ok());
  CHECK(check([](const Tensor& t) { return exp(t); }, small).ok());
  CHECK(check([](const Tensor& t) { return sqrt(t); }, small, 1).ok());  // slopes of 5e154
  CHECK(check([](const Tensor& t) { return sqrt(t); }, tensor({1e-200}, f64), 1).ok());
  for (const double claim : {2e-310, 0.0, 1.001e-310, -1e-310})
    for (const double at : {0.3, 700.0}) {
      CAPTURE(claim);
      CHECK(verdict_on([](const Tensor& t) { return t * 1e-310; }, at, claim).verdict == Verdict::fail);
    }
  CHECK(verdict_on([](const Tensor& t) { return t * 0.0; }, 0.3, 1e-310).verdict == Verdict::fail);
  CHECK(verdict_on([](const Tensor& t) { return t * 2.0; }, 1e-310, 2.001).verdict == Verdict::fail);
  // Along directions too, whose steps are as small.
  const auto wrong = custom_gradient([](const Tensors& in) { return in[0] * 2.0; },
                                     [](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * 3.0}; });
  CHECK(gradcheck(wrong, {small}).pairs().back().verdict == Verdict::fail);
}

TEST_CASE("what denormal numbers hide is not judged, which is said: few digits, numbers that vanish, infinite slopes") {
  const auto check = [](const Scalar& f, const Tensor& x) {
    return gradcheck([&](const Tensors& in) { return f(in[0]); }, {x});
  };
  const Tensor x = tensor({0.3, 0.7}, f64), small = tensor({1e-310, 3e-310}, f64);
  const GradcheckReport few = check([](const Tensor& t) { return t * 1e-160 * 1e-160; }, x);
  CAPTURE(few.text());
  CHECK(!few.ok());
  CHECK(!few.wrong());  // its identities hold to the smallest number
  CHECK(few.text().find("mul((2,), ()) gives denormal numbers, 3e-321 at [0]") != std::string::npos);
  const auto lost = custom_gradient([](const Tensors& in) { return in[0] * 1e-323; },
                                    [](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * 0.0}; });
  const GradcheckReport none = gradcheck(lost, {x});
  CAPTURE(none.text());
  CHECK(!none.conclusive());
  CHECK(none.text().find("custom_gradient((2,)) gives denormal numbers") != std::string::npos);
  CHECK(!check([](const Tensor& t) { return t * 1e-160 * 1e-170; }, x).conclusive());
  // d log x / dx = 1e310 is beyond f64.
  const GradcheckReport steep = check([](const Tensor& t) { return log(t); }, small);
  CAPTURE(steep.text());
  CHECK(!steep.ok());
  CHECK(!steep.wrong());
}

TEST_CASE(
    "N33: terms that hide a nudge are not taken for f32: a wrong gradient among them is found, a right one is not") {
  const auto bad = [](double factor) {
    return custom_gradient([](const Tensors& in) { return in[0] * 1.0; },
                           [factor](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * factor}; });
  };
  const std::vector<std::pair<Scalar, double>> cases{{[](const Tensor& t) { return 1.0 - cos(t); }, 1e-4},
                                                     {[](const Tensor& t) { return log(1.0 + square(t)); }, 1e-5},
                                                     {[](const Tensor& t) { return 0.5 - sigmoid(square(t)); }, 1e-5}};
  for (const auto& [f, at] : cases) {
    const Tensor x = tensor({at, 2 * at}, f64);
    const auto checked = [&](double factor) {
      return gradcheck([&, f = f](const Tensors& in) { return Tensors{f(bad(factor)({in[0]}))}; }, {x});
    };
    const GradcheckReport right = checked(1), wrong = checked(1.47);
    CHECK_MESSAGE(!right.wrong(), right.text());
    CHECK_MESSAGE(right.text().find("f32") == std::string::npos, right.text());
    CHECK_MESSAGE(wrong.wrong(), wrong.text());
  }
}

TEST_CASE("large numbers whose fractions go by whole steps are not taken for f32") {
  for (const double at : {1e6 + 0.3, 1e7 + 0.3})
    CHECK_FALSE(gradcheck([](const Tensors& in) { return Tensors{floor(in[0])}; }, {tensor({at}, f64)}).wrong());
  CHECK_FALSE(gradcheck([](const Tensors& in) { return Tensors{frac(in[0])}; }, {tensor({1e6 + 0.3}, f64)}).wrong());
  CHECK_FALSE(
      gradcheck([](const Tensors& in) { return Tensors{round(in[0]) + in[0]}; }, {tensor({1e8 + 0.3}, f64)}).wrong());
}

TEST_CASE("slopes of terms that are lost beside 1 are not called wrong: classes that are nearly certain") {
  for (const double g : {34.0, 38.0, 60.0, 200.0}) {
    const Tensor x = tensor({{0.0, g}}, f64);
    for (const auto& f : {Scalar([](const Tensor& t) { return log_softmax(t); }),
                          Scalar([](const Tensor& t) { return sum(sparse_softmax_cross_entropy(t, tensor({1}))); })}) {
      const GradcheckReport report = gradcheck([&](const Tensors& in) { return Tensors{f(in[0])}; }, {x});
      CHECK_MESSAGE(!report.wrong(), report.text());
    }
  }
  // A gradient of the wrong size is still found where there is something to see.
  CHECK(gradcheck([](const Tensors& in) { return Tensors{log_softmax(stop_gradient(in[0]) * 2.0 - in[0])}; },
                  {tensor({{0.0, 38.0}}, f64)})
            .wrong());
}
