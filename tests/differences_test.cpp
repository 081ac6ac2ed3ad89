#include <doctest/doctest.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/activations.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/shaping.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "claims.h"

using namespace twopass;

namespace {

// A function that is hard to differentiate by differences, at x, with its derivative from calculus.
struct Rough {
  std::string name;
  Scalar f;
  double x, derivative;
};

std::vector<Rough> rough_functions() {
  std::vector<Rough> all;
  for (const double x : {1e-6, 1e-9, 1e-30}) {
    all.push_back({"1/x", [](const Tensor& t) { return reciprocal(t); }, x, -1 / (x * x)});
    all.push_back({"log x", [](const Tensor& t) { return log(t); }, x, 1 / x});
    all.push_back({"sqrt x", [](const Tensor& t) { return sqrt(t); }, x, 0.5 / std::sqrt(x)});
  }
  for (const double k : {1e4, 1e7, 1e8, 1e10}) {
    all.push_back({"sin kx", [k](const Tensor& t) { return sin(t * k); }, 0, k});
    all.push_back({"tanh kx", [k](const Tensor& t) { return tanh(t * k); }, 0, k});
    const double x = 0.5 / k;
    all.push_back({"exp(-(kx)^2)", [k](const Tensor& t) { return exp(-square(t * k)); }, x, -k * std::exp(-0.25)});
  }
  for (const double x : {1e-3, 1e-4, 1e-5})
    all.push_back({"x^2 sin(1/x)", [](const Tensor& t) { return square(t) * sin(reciprocal(t)); }, x,
                   2 * x * std::sin(1 / x) - std::cos(1 / x)});
  for (const double x : {1e-8, -1e-8, 1e-5, -1e-12, 1e-30})
    all.push_back({"1e6 relu x", [](const Tensor& t) { return relu(t) * 1e6; }, x, x > 0 ? 1e6 : 0});
  all.push_back({"x^2 + 1e-6 sin 1e6 x", [](const Tensor& t) { return square(t) + sin(t * 1e6) * 1e-6; }, 0.5,
                 1 + std::cos(5e5)});
  return all;
}

}  // namespace

TEST_CASE("what changes within tiny steps is followed: right derivatives pass and wrong ones fail") {
  for (const Rough& each : rough_functions()) {
    CAPTURE(each.name);
    CAPTURE(each.x);
    const double d = each.derivative;
    const GradcheckPair right = verdict_on(each.f, each.x, d);
    CAPTURE(text_of(right));
    CHECK(right.verdict == (d == 0 ? Verdict::vacuous : Verdict::pass));
    const std::vector<double> wrong =
        d == 0 ? std::vector{1e6, 5e5, -1.0} : std::vector{2 * d, -d, 0.0, 1000 * d, d * (1 + 1e-4)};
    for (const double claim : wrong) {
      const GradcheckPair found = verdict_on(each.f, each.x, claim);
      CAPTURE(text_of(found));
      CHECK(found.verdict == Verdict::fail);
    }
  }
}

TEST_CASE(
    "the claim that a flat place is near by is not enough: an element on which nothing depends is looked at closely") {
  // Both sides of all large steps are 0.
  const auto peak = [](const Tensor& t) { return exp(-square(t * 1e6)); };
  CHECK(verdict_on(peak, 1e-6, 0).verdict == Verdict::fail);
  CHECK(verdict_on(peak, 1e-6, -2e6 / M_E).verdict == Verdict::pass);
  CHECK(verdict_on(peak, 1, 0).verdict == Verdict::vacuous);
}

TEST_CASE("a narrow peak beside other terms is not stepped over: its gradient cannot be lost") {
  for (const double k : {1e2, 1e4, 1e6, 1e8})
    for (const double x : {0.3, 2.5, 0.0})
      for (const double size : {1.0, 1e-2}) {
        CAPTURE(k);
        CAPTURE(x);
        CAPTURE(size);
        const double at = x - 0.7 / k, u = k * (x - at);
        const auto f = [=](const Tensor& t) { return sin(t) + exp(-square((t - at) * k)) * size; };
        const Verdict right = verdict_on(f, x, std::cos(x) - 2 * k * u * std::exp(-u * u) * size).verdict;
        CHECK((right == Verdict::pass || (right == Verdict::unreliable && k > 1e7)));  // rounding k (t - at)
        CHECK(verdict_on(f, x, std::cos(x)).verdict == Verdict::fail);
      }
}

TEST_CASE("a narrow peak of one element among many, of which some are checked, shows in directions") {
  for (const double k : {1e4, 1e6}) {
    CAPTURE(k);
    std::vector<double> values = Random(5).normal({400}, f64).values<double>();
    values[133] = 0.3;
    const auto check = [&](bool lost) {
      const auto f = [&, lost](const Tensors& in) {
        const Tensor peak = exp(-square((slice(in[0], 0, 133, 134) - (0.3 - 0.7 / k)) * k));
        return sum(tanh(in[0])) + sum(lost ? detach(peak) : peak);
      };
      return gradcheck(f, {from_values(values, {400}, f64)}, {.elements = 16, .exact = false, .blame = false});
    };
    CHECK(check(false).ok());
    CHECK(check(true).wrong());
  }
}

TEST_CASE("directions through small numbers take small steps, beside large ones too") {
  const auto checked = [](const std::function<Tensor(const Tensor&)>& f, const Tensor& x) {
    return gradcheck([&](const Tensors& in) { return f(in[0]); }, {x}, {.exact = false, .blame = false});
  };
  const Tensor one = tensor(1.0f), small = Random(5).normal({6}, f64) * 1e-20;
  const auto steep = [](const Tensor& t) { return exp(t * 1e20); };
  const auto narrow = [one](const Tensor& t) { return log(t * one); };
  CHECK(checked(steep, small).ok());
  CHECK(checked(narrow, tensor({1e-6, 1e-3, 5.0})).ok());
  CHECK(checked([&](const Tensor& t) { return steep(t) + (t - detach(t)) * 1e18; }, small).wrong());
}

TEST_CASE("a direction through many outputs loses no digits in adding them up") {
  const Shape many{200000};
  const Tensor base = Random(1).uniform(many, f64, 100, 200), slopes = Random(2).uniform(many, f64);
  const auto f = [&](const Tensors& in) { return base + sin(in[0]) * slopes + relu(in[0] - 0.301) * slopes; };
  const GradcheckPair pair = gradcheck(f, {tensor({0.3}, f64)}, {.elements = 64, .exact = false}).pairs()[0];
  CAPTURE(text_of(pair));
  CHECK(pair.verdict == Verdict::pass);
  CHECK(pair.absolute_error < 1e-7);
}

TEST_CASE("a kink with a small jump, nearer than any step can be, is no mistake") {
  for (const double x : {0.3, 1.7, 123.4})
    for (const double jump : {1e-3, 1e-5, 1e-7})
      for (const double beside : {1e-8, -1e-9, 1e-10, -1e-12, 1e-15, 0.0}) {
        CAPTURE(x);
        CAPTURE(jump);
        CAPTURE(beside);
        const double kink = x * (1 + beside);
        const auto f = [=](const Tensor& t) { return sin(t) + relu(t - kink) * jump; };
        const double right = std::cos(x) + (x > kink ? jump : 0);
        CHECK(verdict_on(f, x, right).verdict != Verdict::fail);
        CHECK(verdict_on(f, x, right + 3 * jump).verdict >= Verdict::unreliable);
        CHECK(verdict_on(f, x, 0.9 * right).verdict >= Verdict::unreliable);
      }
}

TEST_CASE("a gradient that loses its digits where terms cancel is not called wrong, which is explained, to any order") {
  const std::vector<std::function<Tensor(const Tensor&)>> functions = {
      [](const Tensor& t) { return (exp(t) - 1.0) / t; },
      [](const Tensor& t) { return (1.0 - cos(t)) / square(t); },
      [](const Tensor& t) { return log(t + 1.0) / t; },
      [](const Tensor& t) { return (exp(t) - exp(-t) - sin(t) * 2.0) / (t * t * t); },
  };
  for (const double x : {1e-4, 1e-6, 1e-7, 1e-8})
    for (std::size_t k = 0; k < functions.size(); ++k) {
      CAPTURE(x);
      CAPTURE(k);
      const GradcheckReport report =
          gradcheck([&](const Tensors& in) { return functions[k](in[0]); }, {tensor({x, 2 * x}, f64)}, {.order = 2});
      CAPTURE(report.text());
      CHECK(!report.wrong());
    }
  const auto quotient = [](const Tensor& e, const Tensor& t) { return (e - 1.0) / t; };
  const auto at = [&](const std::function<Tensor(const Tensor&)>& f) {
    return gradcheck([&](const Tensors& in) { return f(in[0]); }, {tensor({1e-6}, f64)}, {.blame = false});
  };
  const GradcheckReport right = at([&](const Tensor& t) { return quotient(exp(t), t); });
  CHECK(right.pairs()[0].verdict == Verdict::unreliable);
  CHECK(right.text().find("by roundings on the way back") != std::string::npos);
  CHECK(right.pairs()[0].analytic_uncertainty > right.pairs()[0].absolute_error);
  // What is off by more than that is wrong.
  CHECK(at([&](const Tensor& t) { return quotient(exp(t), detach(t)); }).wrong());
  CHECK(at([&](const Tensor& t) { return quotient(exp(t), t) + (t - detach(t)) * 0.01; }).wrong());
}

TEST_CASE("where rounding hides the derivative no claim that it may have is called wrong") {
  struct Noisy {
    Scalar f;
    double x, derivative;
  };
  const std::vector<Noisy> noisy = {
      {[](const Tensor& t) { return (square(t) + 1e12) - 1e12; }, 0.7, 1.4},  // values in steps of 1e-4
      {[](const Tensor& t) { return ((square(t) + 1e12) - 1e12) / 3.0; }, 0.7, 1.4 / 3},
      {[](const Tensor& t) { return cast(cast(square(t), f32), f64); }, 0.7, 1.4},  // in steps of 6e-8
      {[](const Tensor& t) { return sin(t * 1e10); }, 100, 1e10 * std::cos(1e12)},  // 1e12 has steps of 1e-4 itself
      {[](const Tensor& t) { return sin(t * 3.0) + 1e9; }, 0.7, 3 * std::cos(2.1)},
  };
  for (const Noisy& each : noisy) {
    const GradcheckPair right = verdict_on(each.f, each.x, each.derivative);
    CAPTURE(text_of(right));
    CHECK((right.verdict == Verdict::unreliable || right.verdict == Verdict::pass));
    // Lost gradients are not taken for the flat of a stair.
    const GradcheckPair lost = verdict_on(each.f, each.x, 0);
    CAPTURE(text_of(lost));
    CHECK(lost.verdict >= Verdict::unreliable);
    CHECK(verdict_on(each.f, each.x, 1000 * each.derivative).verdict >= Verdict::unreliable);
  }
}

TEST_CASE(
    "values rounded on the way and smooth ones together: what is right is not called wrong, nor what is wrong right") {
  struct Mixed {
    const char* name;
    Scalar f;
    double x, derivative, part;  // part: what is left where one term's derivative is lost
  };
  const auto narrow = [](const Tensor& t) { return cast(cast(t, f32), f64); };
  const std::vector<Mixed> mixed = {
      {"f32(sin t) t", [&](const Tensor& t) { return narrow(sin(t)) * t; }, 0.3, std::sin(0.3) + 0.3 * std::cos(0.3),
       std::sin(0.3)},
      {"(t² + 1e9) - 1e9 + sin t", [](const Tensor& t) { return ((square(t) + 1e9) - 1e9) + sin(t); }, 0.7,
       1.4 + std::cos(0.7), std::cos(0.7)},
      {"(1 - cos t) / t²", [](const Tensor& t) { return (1.0 - cos(t)) / square(t); }, 1e-3, -1e-3 / 12, 1},
      {"(sqrt(1 + t) - 1) / t", [](const Tensor& t) { return (sqrt(t + 1.0) - 1.0) / t; }, 1e-4, -0.125 + 1e-4 / 8, 1},
  };
  for (const Mixed& each : mixed) {
    CAPTURE(each.name);
    const GradcheckReport right =
        gradcheck([&](const Tensors& in) { return each.f(in[0]); }, {tensor({each.x}, f64)}, {.blame = false});
    CAPTURE(right.text());
    CHECK(right.pairs()[0].verdict != Verdict::fail);
    for (const ExactCheck& check : right.exact()) CHECK(check.ok);
    const GradcheckPair lost =
        gradcheck(
            [&](const Tensors& in) { return each.f(in[0]) + (in[0] - detach(in[0])) * (each.part - each.derivative); },
            {tensor({each.x}, f64)}, {.exact = false, .blame = false})
            .pairs()[0];
    CAPTURE(text_of(lost));
    CHECK(lost.verdict >= Verdict::unreliable);
  }
  // A square of sums of 1e8 that cancel, through all of autodiff.
  for (const double x : {0.1, 0.3, 2.3}) {
    const GradcheckReport report = gradcheck(
        [](const Tensors& in) {
          const Tensor a = in[0] + 1e4;
          return a * a - in[0] * 2e4 - 1e8 + tanh(in[0]);
        },
        {tensor({x}, f64)}, {.blame = false});
    CAPTURE(report.text());
    CHECK(report.pairs()[0].verdict != Verdict::fail);
  }
}

TEST_CASE("stairs inside of a function that hides them are told from waves and kinks: neither slope is believed") {
  const auto hidden = [](const Tensor& t) { return cast(cast(sin(t), f32), f64) + square(t); };
  for (const double claim : {std::cos(0.3) + 0.6, 0.6})  // the true one, and that of one tread
    CHECK(verdict_on(hidden, 0.3, claim).verdict == Verdict::unreliable);
  CHECK(verdict_on(hidden, 0.3, 100).verdict >= Verdict::unreliable);
}

TEST_CASE("what f32 values inside of a function do to it is reckoned: its derivatives are not called wrong") {
  const Tensor w = Random(3).normal({5, 4});
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const GradcheckReport report =
        gradcheck([&](const Tensors& in) { return sum(square(cast(matmul(cast(in[0], f32), w), f64))); },
                  {Random(seed).normal({2, 5}, f64)}, {.blame = false});
    CAPTURE(report.text());
    for (const GradcheckPair& pair : report.pairs()) CHECK(pair.verdict != Verdict::fail);
    for (const ExactCheck& check : report.exact()) CHECK(check.ok);
  }
}

TEST_CASE("what stands clearly above the roundings of f32 values inside of a function is wrong: 1 % of a gradient") {
  const auto narrow = [](const Tensor& t) { return cast(cast(t, f32), f64); };
  const auto verdict = [&](double factor) {
    const auto mixed = [&](const Tensors& in) {
      const Tensor t = detach(in[0]);
      return narrow(square(in[0])) + sin(in[0]) + (in[0] - t) * (t * 2.0 + cos(t)) * (factor - 1);
    };
    return gradcheck(mixed, {tensor({0.7}, f64)}, {.exact = false, .blame = false}).pairs()[0].verdict;
  };
  CHECK(verdict(1.01) == Verdict::fail);
  CHECK(verdict(0.99) == Verdict::fail);
  CHECK(verdict(1) == Verdict::unreliable);
  const Tensor w = Random(3).normal({5, 4});
  const auto product = [&](const Tensors& in) {
    const Tensor t = in[0] * 1.01 - detach(in[0]) * 0.01;
    return sum(square(cast(matmul(cast(t, f32), w), f64))) + sum(in[0]);
  };
  CHECK(gradcheck(product, {Random(1).normal({2, 5}, f64)}, {.blame = false}).wrong());
}

TEST_CASE(
    "an op that computes in f32 what is given in f64 is checked as f32: right gradients pass, 1 % wrong ones fail") {
  const Tensor w = Random(3).normal({5, 4});
  for (const double factor : {1.0, 1.01})
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      const auto product =
          custom_gradient([&](const Tensors& in) { return cast(matmul(cast(in[0], f32), w), f64); },
                          [&](const Tensors&, const Tensor&, const Tensor& g) {
                            return Tensors{cast(matmul(cast(g, f32), w, {.transpose_b = true}), f64) * factor};
                          });
      for (const bool squared : {false, true}) {
        const GradcheckReport report =
            gradcheck([&](const Tensors& in) { return squared ? sum(square(product(in))) : product(in); },
                      {Random(seed).normal({2, 5}, f64)}, {.blame = false});
        CAPTURE(report.text());
        CHECK(report.ok() == (factor == 1));
        CHECK(report.wrong() == (factor != 1));
        CHECK(report.text().find("f gives the same for numbers that are the same in f32") != std::string::npos);
      }
    }
  // Stairs that are no roundings to f32 are judged as before: the slope of a tread is 0.
  const auto straight = custom_gradient([](const Tensors& in) { return twopass::round(in[0] * 10.0); },
                                        [](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g}; });
  const GradcheckReport rounded = gradcheck(straight, {tensor({0.32, 1.57}, f64)});
  CHECK(!rounded.ok());
  CHECK(rounded.text().find("in f32") == std::string::npos);
}

TEST_CASE(
    "an op that computes in f32 within a function of f64 makes the function as coarse as that, and so its identities") {
  const auto narrow = [](double factor) {  // sin by f32, whose record shows f64 alone
    return custom_gradient([](const Tensors& in) { return cast(sin(cast(in[0], f32)), f64); },
                           [factor](const Tensors& in, const Tensor&, const Tensor& g) {
                             return Tensors{cast(cos(cast(in[0], f32)) * cast(g, f32), f64) * factor};
                           });
  };
  const Tensor w = Random(2).normal({5, 3}, f64);
  const auto functions = [&](double factor) {
    const auto f = narrow(factor);
    return std::vector<std::function<Tensor(const Tensors&)>>{
        [=](const Tensors& in) { return f(in) + square(in[0]); },
        [=](const Tensors& in) { return f(in) * sin(in[0] * 3.0); },
        [=](const Tensors& in) { return tanh(matmul(f(in), w)); },
        [=](const Tensors& in) { return sum(f({tanh(in[0])})) + sum(in[0]); },
    };
  };
  for (std::uint64_t seed = 1; seed <= 5; ++seed)
    for (std::size_t k = 0; k < 4; ++k) {
      CAPTURE(seed);
      CAPTURE(k);
      const Tensor x = Random(seed).normal({2, 5}, f64);
      const GradcheckReport right = gradcheck(functions(1)[k], {x}, {.order = 2});
      CAPTURE(right.text());
      CHECK(!right.wrong());
      CHECK(!right.exact().empty());
      const GradcheckReport wrong = gradcheck(functions(1.01)[k], {x});
      CAPTURE(wrong.text());
      CHECK(wrong.wrong());
      REQUIRE(!wrong.culprits().empty());
      for (const Culprit& culprit : wrong.culprits()) CHECK(culprit.op == "custom_gradient");
    }
}

TEST_CASE("waves whose length is a power of two are not met at the same place by every step") {
  const double k = 2 * M_PI * 131072;
  const auto wave = [k](const Tensor& t) { return t + sin(t * k); };
  CHECK(verdict_on(wave, 0.0625, 1 + k).verdict == Verdict::pass);
  CHECK(verdict_on(wave, 0.0625, 1).verdict == Verdict::fail);
}

TEST_CASE("derivatives are measured by the size of their function: small ones can be wrong too") {
  for (const double size : {1e-13, 1e-30, 1e-100}) {
    const auto f = [size](const Tensor& t) { return square(t) * size; };
    CHECK(verdict_on(f, 0.7, 1.4 * size).verdict == Verdict::pass);
    CHECK(verdict_on(f, 0.7, 0.7 * size).verdict == Verdict::fail);
    CHECK(verdict_on(f, 0.7, 1.4001 * size).verdict == Verdict::fail);
    CHECK(verdict_on(f, 0.7, 0).verdict == Verdict::fail);
  }
  // What is far below the rounding of its function's values is nothing.
  CHECK(verdict_on([](const Tensor& t) { return tanh(t); }, 30, 0).verdict == Verdict::vacuous);
}
