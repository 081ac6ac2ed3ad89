// Derivatives through functions that a plan runs eagerly: of higher order, of rules that read values, what they hold,
// and how they round.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/eagerly.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/trigonometric.h>

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

using Values = std::vector<double>;

// x³ w where x begins above 0, else x² w.
Tensors power(const Tensors& in, const Parameter& w) {
  const Tensor& x = in[0];
  return {x.at<double>(0) > 0 ? x * x * x * w : x * x * w, sin(x * w)};
}

}  // namespace

TEST_CASE("functions that run eagerly have derivatives of the second and third order in a plan") {
  const Parameter w(tensor({2.0}, f64), "w");
  const auto derivatives = [&](const Tensors& in) -> Tensors {
    const Tensor& x = in[0];
    const Tensor y = sum(eagerly([&](const Tensors& at) { return power(at, w)[0]; }, in));
    const Tensor first = gradients(y, {x}, {.record = true})[0];
    const Tensors second = gradients(sum(first), {x, w.tensor()}, {.record = true});
    const Tensors third = gradients(sum(second[0]), {x, w.tensor()});
    return {first, second[0], second[1], third[0], third[1]};
  };
  const Plan step = plan(derivatives, {ones({2}, f64)});
  const Tensors found = step({tensor({3.0, 5.0}, f64)});
  CHECK(found[0].values<double>() == Values{54, 150});  // 3 x² w
  CHECK(found[1].values<double>() == Values{36, 60});   // 6 x w
  CHECK(found[2].values<double>() == Values{102});      // 3 (9 + 25)
  CHECK(found[3].values<double>() == Values{12, 12});   // 6 w
  CHECK(found[4].values<double>() == Values{48});       // 6 (3 + 5)
  // Where x begins below 0 there is no third derivative for x, as there was on ones.
  CHECK_THROWS_WITH_AS(step({tensor({-3.0, 5.0}, f64)}), Contains("depends on other inputs or parameters"), Error);
}

TEST_CASE("a second derivative through several outputs is that of running them op by op, up to the order of sums") {
  const Parameter w(Random(1).normal({4, 4}, f64), "w");
  const auto parts = [&](const Tensors& in) -> Tensors {
    const Tensor h = tanh(matmul(in[0], w));
    return {mean(h).item<double>() > 9 ? h : exp(h), sin(h) * in[0]};
  };
  const auto penalty = [&](const Tensors& in) -> Tensors {
    const Tensor x = in[0].symbolic() ? in[0] : variable(in[0]);
    const Tensors y = eagerly(parts, {x});
    const Tensor slope = gradients(sum(y[0] * y[1]), {x}, {.record = true})[0];
    const Tensor total = sum(square(slope)) + sum(y[1]);
    const Gradients found = backward(total);
    return {detach(total), found[w]};
  };
  const Tensor x = Random(2).normal({3, 4}, f64);
  const Tensors op_by_op = penalty({x}), planned = plan(penalty, {x})({x});
  for (std::size_t k = 0; k < 2; ++k)
    for (std::int64_t at = 0; at < planned[k].elements(); ++at)
      CHECK(planned[k].at<double>(at) == Approx(op_by_op[k].at<double>(at)).epsilon(1e-12));
}

TEST_CASE(
    "a function that runs eagerly has a derivative in forward mode in a plan, and with several outputs refuses it") {
  const Parameter w(tensor({2.0}, f64), "w");
  const auto cubic = [&](const Tensor& x) { return eagerly([&](const Tensors& at) { return power(at, w)[0]; }, {x}); };
  const auto both = [&](const Tensor& x) { return eagerly([&](const Tensors& at) { return power(at, w); }, {x})[0]; };
  const Tensor x = tensor({3.0, 5.0}, f64), v = tensor({1.0, 2.0}, f64);
  const auto along = [](const Function& f) {
    return [f](const Tensors& in) -> Tensors { return {jvp(f, in[0], in[1])}; };
  };
  CHECK(plan(along(cubic), {x, v})({x, v})[0].values<double>() == Values{54, 300});  // 3 x² w v
  CHECK_THROWS_WITH_AS(plan(along(both), {x, v}), Contains("derivatives in reverse mode alone"), Error);
}

TEST_CASE(
    "a Hessian-vector product through a function that runs eagerly and reads a parameter needs reverse mode twice") {
  const Parameter w(tensor({2.0}, f64), "w");
  const Tensor x = tensor({3.0, 5.0}, f64), v = tensor({1.0, 2.0}, f64);
  const auto planned = [&](bool forward, bool reads) {
    const auto cubic = [&w, reads](const Tensor& at) {
      return sum(eagerly(
          [&w, reads](const Tensors& in) {
            const Tensor cube = in[0] * in[0] * in[0];
            return reads ? cube * w : cube * 2.0;
          },
          {at}));
    };
    const auto product = [cubic, forward](const Tensors& in) -> Tensors {
      if (forward) return {hvp(cubic, in[0], in[1])};
      return {grad([&](const Tensor& at) { return sum(grad(cubic)(at) * in[1]); })(in[0])};
    };
    return plan(product, {x, v})({x, v})[0].values<double>();
  };
  const Values expected{36, 120};  // 6 x w v
  CHECK(planned(true, false) == expected);
  CHECK(planned(false, true) == expected);
  CHECK_THROWS_WITH_AS(planned(true, true), Contains("derivatives in reverse mode alone"), Error);
}

TEST_CASE("a function that runs eagerly and differentiates for parameters itself has their gradients") {
  const Parameter w(tensor({3.0}), "w");
  const auto slope = [&](const Tensors& in) {
    return in[0].at<double>(0) > 100 ? in[0] : backward(sum(in[0] * w * w))[w];
  };
  const Plan step = plan([&](const Tensors& in) -> Tensors { return {eagerly(slope, in)}; }, {ones({1})});
  CHECK(step({tensor({5.0})})[0].item<double>() == 30);
}

TEST_CASE("what a function sets is differentiated as the parameter that it was set to, as without a plan") {
  const Parameter w(tensor({3.0}), "w");
  const auto doubled = [&](const Tensors& in) {
    const Tensor before = in[0] * w;
    w.set(w * 2.0);
    return before + square(in[0]) * w;
  };
  const auto with_gradient = [&](const std::function<Tensor(const Tensors&)>& f) {
    return [&, f](const Tensors& in) -> Tensors {
      const Tensor given = sum(f(in));  // first
      const Tensor y = given + sum(in[0] * w);
      return {detach(y), backward(y)[w]};
    };
  };
  const Tensor x = tensor({5.0});
  for (const auto& f :
       {std::function<Tensor(const Tensors&)>(doubled),
        std::function<Tensor(const Tensors&)>([&](const Tensors& in) { return eagerly(doubled, in); })}) {
    w.set(tensor({3.0}));
    const Tensors found = plan(with_gradient(f), {x})({x});
    CHECK(found[0].item<double>() == 15 + 150 + 30);
    CHECK(found[1].item<double>() == 5 + 25 + 5);
    CHECK(w.value().item<double>() == 6);
  }
}

TEST_CASE("no derivative passes through detach, value() and set in a plan") {
  const Parameter w(tensor({3.0}), "w"), state(tensor({1.0}), "state");
  state.set_trainable(false);
  const auto f = [&](const Tensors& in) -> Tensors {
    const Tensor x = in[0].symbolic() ? in[0] : variable(in[0]);
    state.set(x * 2.0);
    const Tensor y = sum(x * detach(x) + x * w.value() + x * state);
    const Gradients found = backward(y);
    return {found[x], found[w]};
  };
  const Tensor x = tensor({5.0});
  const Tensors op_by_op = f({x}), planned = plan(f, {x})({x});
  CHECK(op_by_op[0].item<double>() == 5 + 3 + 10);
  CHECK(planned[0].item<double>() == 5 + 3 + 10);
  CHECK(op_by_op[1].item<double>() == 0);
  CHECK(planned[1].item<double>() == 0);
}

TEST_CASE("a rule of one's own that reads values runs eagerly within the plan of a step") {
  // Straight through where the gradient is small, else cut off: as PyTorch's clip_grad_norm_ does for a norm of 1.
  const auto clipped = custom_gradient([](const Tensors& in) { return in[0] * 2.0; },
                                       [](const Tensors&, const Tensor&, const Tensor& g) -> Tensors {
                                         const double norm = sqrt(sum(square(g))).item<double>();
                                         return {norm > 1 ? g * (2 / norm) : g * 2.0};
                                       });
  const auto step = [&](const Tensors& in) -> Tensors {
    const Tensor x = in[0].symbolic() ? in[0] : variable(in[0]);
    return {backward(sum(clipped({x}) * in[1]))[x]};
  };
  const Plan planned = plan(step, {ones({2}), ones({2})});
  CHECK(planned({ones({2}), tensor({3.0, 4.0})})[0].values<float>() ==
        step({ones({2}), tensor({3.0, 4.0})})[0].values<float>());
  CHECK(planned({ones({2}), tensor({3.0, 4.0})})[0].at<double>(0) == Approx(1.2));
  CHECK(planned({ones({2}), tensor({0.25, 0.5})})[0].values<double>() == Values{0.5, 1});

  std::vector<Values> trained;
  for (const bool eagerly : {false, true}) {
    const Tensor x = input({3}, "x");
    Model model(x, Dense(1)(Lambda([&](const Tensor& h) { return clipped({h}); })(Dense(4)(x))), {.seed = 2});
    model.compile({.optimizer = sgd({.learning_rate = 0.5}), .loss = mean_squared_error(), .run_eagerly = eagerly});
    const Tensor rows = Random(1).normal({8, 3}), targets = Random(2).normal({8, 1}) * 9.0;
    if (!eagerly) CHECK(model.step_plan(rows, targets).text().find("runs eagerly") != std::string::npos);
    model.fit(rows, targets, {.epochs = 3, .verbose = 0});
    for (const Parameter& each : model.parameters()) trained.push_back(each.value().values<double>());
  }
  CHECK(std::equal(trained.begin(), trained.begin() + 4, trained.begin() + 4));
}

TEST_CASE("what a rule reads from a parameter is what the plan has set it to, in derivatives of the second order too") {
  const Parameter w(tensor(2.0f), "w");
  const FunctionOfTensors f = custom_gradient(
      [&](const Tensors& in) { return in[0] * in[0] * w.value(); },
      [&](const Tensors& in, const Tensor&, const Tensor& g) -> Tensors { return {g * 2.0 * in[0] * w.tensor()}; });
  const auto looking = [&](const Tensors& in) { return in[0].item<double>() > 0 ? f({in[0]}) : in[0]; };
  const auto step = [&](const Tensors& in, double between) -> Tensors {
    w.set(w.tensor() * 10.0);
    const Tensor y = eagerly(looking, in);
    if (between != 1) w.set(w.tensor() * between);
    const Tensor dx = gradients(y, {in[0]}, {.record = true})[0];
    if (between != 1) return {y, dx};
    const Tensors second = gradients(dx, {in[0], w.tensor()});
    return {y, dx, second[0], second[1]};
  };
  const Plan second = plan([&](const Tensors& in) { return step(in, 1); }, {tensor(1.0f)});
  for (const double held : {2.0, 20.0}) {  // y = x² 10w, dx = 2x 10w
    const Tensors found = second({tensor(3.0f)});
    CHECK(found[0].item<double>() == 9 * 10 * held);
    CHECK(found[1].item<double>() == 6 * 10 * held);
    CHECK(found[2].item<double>() == 2 * 10 * held);
    CHECK(found[3].item<double>() == 6);
  }
  w.set(tensor(2.0f));
  const Plan later = plan([&](const Tensors& in) { return step(in, 3); }, {tensor(1.0f)});
  for (const double held : {2.0, 60.0}) {  // the rule is asked when w has been set again: dx = 2x 30w
    const Tensors found = later({tensor(3.0f)});
    CHECK(found[0].item<double>() == 9 * 10 * held);
    CHECK(found[1].item<double>() == 6 * 30 * held);
  }
  const auto both = [&](const Tensors& in) -> Tensors {
    const Tensor dx = step(in, 3)[1];
    return {gradients(dx, {w.tensor()})[0]};
  };
  CHECK_THROWS_WITH_AS(plan(both, {tensor(1.0f)}), Contains("parameter \"w\", which was set since"), Error);
}

TEST_CASE("a checkpoint within a function that runs eagerly computes again with the states of then") {
  const Parameter c(tensor(0.0f), "c");
  c.set_trainable(false);
  const auto looking = [&](const Tensors& in) {
    c.set(c.value() + 1.0);
    (void)in[0].item<double>();
    return checkpoint([&](const Tensor& x) { return x * x * c.value(); }, in[0]);
  };
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor y = eagerly(looking, in);
        return {y, backward(y)[in[0]]};
      },
      {tensor(1.0f)});
  for (int k = 1; k <= 3; ++k) {
    const Tensors found = step({tensor(3.0f)});
    CHECK(found[0].item<double>() == 9 * k);
    CHECK(found[1].item<double>() == 6 * k);
  }
}

TEST_CASE("a rule that sets a parameter is refused where its function runs eagerly within a plan") {
  const Parameter count(tensor(0.0f), "count");
  const FunctionOfTensors f = custom_gradient([](const Tensors& in) { return in[0] * 2.0; },
                                              [&](const Tensors&, const Tensor&, const Tensor& g) -> Tensors {
                                                count.set(count.value() + 1.0);
                                                return {g * 2.0};
                                              });
  const auto looking = [&](const Tensors& in) { return in[0].item<double>() > 0 ? f({in[0]}) : in[0]; };
  const auto step = [&](const Tensors& in) -> Tensors { return {backward(eagerly(looking, in))[in[0]]}; };
  CHECK_THROWS_WITH_AS(plan(step, {tensor(1.0f)}), Contains("parameter \"count\" is set by what differentiates"),
                       Error);
  CHECK(count.value().item<double>() == 0);
}

TEST_CASE("a rule for tangents that reads values runs eagerly within a plan") {
  const TangentRule halved_where_large = [](const Tensors&, const Tensor&, const Tensors& t) {
    return max(abs(t[0])).item<double>() > 1 ? t[0] : t[0] * 2.0;
  };
  const auto f = custom_gradient([](const Tensors& in) { return in[0] * 2.0; },
                                 [](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g * 2.0}; },
                                 {.tangent = halved_where_large});
  const Plan along =
      plan([&](const Tensors& in) -> Tensors { return {jvp([&](const Tensor& x) { return f({x}); }, in[0], in[1])}; },
           {ones({2}), ones({2})});
  CHECK(along({ones({2}), tensor({3.0, 4.0})})[0].values<double>() == Values{3, 4});
  CHECK(along({ones({2}), tensor({0.25, 0.5})})[0].values<double>() == Values{0.5, 1});
}

TEST_CASE("nothing is held after a run whose gradient nobody reads, nor after one that throws") {
  const Parameter w(Random(1).normal({64, 64}), "w");
  const auto f = [&](const Tensors& in) -> Tensors {
    const Tensor h = tanh(matmul(in[0], w));
    return {in[0].at<double>(0) > 1e9 ? in[0] : h, h * 2.0};
  };
  bool fails = false;
  const auto failing = [&](const Tensors& in) {
    if (fails && in[0].at<double>(0) != 1) throw Error("as asked");
    return in[0] * 1.0;
  };
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensors y = eagerly(f, in);
        const Tensor dropped = backward(sum(y[1]))[w];
        return {backward(sum(eagerly(failing, {y[0]})))[w], y[0]};
      },
      {ones({64, 64})});
  const Tensor x = Random(2).normal({64, 64});
  for (int k = 0; k < 3; ++k) step({x});
  const std::int64_t bytes = memory::live_bytes(), nodes = Node::live();
  for (int k = 0; k < 10; ++k) {
    fails = k % 2;
    if (fails)
      CHECK_THROWS_WITH_AS(step({x}), Contains("as asked"), Error);
    else
      step({x});
    CHECK(memory::live_bytes() == bytes);
    CHECK(Node::live() == nodes);
  }
}

TEST_CASE("a sum of gradients that is begun in one call differs by what the order of m terms may change, and no more") {
  constexpr int kInside = 5, kBeside = 4, kTerms = 2 * kBeside + kInside;
  int different = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    const Tensors factors = [&] {
      Tensors all;
      for (int k = 0; k < kTerms; ++k) all.push_back(random.normal({50}));
      return all;
    }();
    const auto terms = [&](const Tensor& x, int from, int to) {
      Tensor total;
      for (int k = from; k < to; ++k) {
        const Tensor term = x * factors[static_cast<std::size_t>(k)];
        total = total.defined() ? total + term : term;
      }
      return total;
    };
    const auto slope = [&](const Tensors& in) -> Tensors {
      const Tensor x = in[0].symbolic() ? in[0] : variable(in[0]);
      const Tensor before = terms(x, 0, kBeside);
      const Tensor inside = eagerly([&](const Tensors& at) { return terms(at[0], kBeside, kBeside + kInside); }, {x});
      return {backward(sum(before + inside + terms(x, kBeside + kInside, kTerms)))[x]};
    };
    const Tensor x = random.normal({50});
    const Values op_by_op = slope({x})[0].values<double>(), planned = plan(slope, {x})({x})[0].values<double>();
    // N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq. 4.4: each order of m terms is within
    // γ(m - 1) Σ|t| of the sum, γ(n) = n u / (1 - n u).
    const double u = std::ldexp(1.0, -24), gamma = (kTerms - 1) * u / (1 - (kTerms - 1) * u);
    for (std::size_t k = 0; k < planned.size(); ++k) {
      double sizes = 0;
      for (const Tensor& factor : factors) sizes += std::abs(factor.at<double>(static_cast<std::int64_t>(k)));
      CHECK(std::abs(planned[k] - op_by_op[k]) <= 2 * gamma * sizes);
      different += planned[k] != op_by_op[k];
    }
  }
  CHECK(different > 0);
}

TEST_CASE(
    "Jacobians and Hessians through functions that run eagerly, and their derivatives, are those without a plan") {
  const auto looking = [](const Tensors& in) {
    (void)in[0].at<double>(0);
    return slice(square(in[0]), 0, 0, 2) * slice(in[0], 0, 1, 3);
  };
  const auto all = [&](const Tensor& x, bool planned) -> Tensors {
    const std::function<Tensor(const Tensor&)> f = [&](const Tensor& at) {
      return planned ? eagerly(std::function<Tensor(const Tensors&)>(looking), {at}) : looking({at});
    };
    const Tensor rows = jacobian(f, x);
    const Tensor second = hessian([&](const Tensor& at) { return sum(f(at)); }, x);
    return {rows, second, gradients(sum(square(rows)), {x})[0]};
  };
  const Tensor at = tensor({1.5, 0.5, 2.0}, f64);
  const Tensors expected = all(variable(at), false);
  const Tensors found = plan([&](const Tensors& in) { return all(in[0], true); }, {at})({at});
  for (std::size_t k = 0; k < found.size(); ++k) {
    CAPTURE(k);
    CHECK(found[k].values<double>() == expected[k].values<double>());
  }
  CHECK(found[2].values<double>() == Values{16.5, 25.5, 4});
}
