#include <doctest/doctest.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/reduction.h>
#include <twopass/optim/clipping.h>
#include <twopass/optim/optimizer.h>

using namespace twopass;

namespace {
double after(const Optimizer& optimizer, double start, std::initializer_list<double> gradients) {
  const Parameter p(tensor({start}, f64), "p");
  for (const double g : gradients) optimizer.apply(Tensors{tensor({g}, f64)}, Parameters{p});
  return p.value().at<double>(0);
}
}  // namespace

TEST_CASE("two updates of sgd with momentum are those of the formula") {
  CHECK(after(sgd({.learning_rate = 0.1}), 1, {0.5, 0.25}) == doctest::Approx(0.925));
  // v: -0.05, then -0.045 - 0.025 = -0.07
  CHECK(after(sgd({.learning_rate = 0.1, .momentum = 0.9}), 1, {0.5, 0.25}) == doctest::Approx(0.88));
  // 0.9 v - lr g: -0.095, then -0.088
  CHECK(after(sgd({.learning_rate = 0.1, .momentum = 0.9, .nesterov = true}), 1, {0.5, 0.25}) ==
        doctest::Approx(0.817));
}

TEST_CASE("two updates of adam are those of the formula") {
  double m = 0, v = 0, p = 1;
  for (int t = 1; t <= 2; ++t) {
    const double g = t == 1 ? 0.5 : 0.25;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    p -= 0.1 * std::sqrt(1 - std::pow(0.999, t)) / (1 - std::pow(0.9, t)) * m / (std::sqrt(v) + 1e-7);
  }
  CHECK(after(adam({.learning_rate = 0.1}), 1, {0.5, 0.25}) == doctest::Approx(p).epsilon(1e-12));
}

TEST_CASE("decay and clipping are options of every optimizer, clipping first and one kind alone") {
  CHECK(after(sgd({.learning_rate = 0.1, .weight_decay = 0.5}), 2, {1}) == doctest::Approx(1.8));
  CHECK(after(sgd({.learning_rate = 0.1, .clipvalue = 0.5}), 2, {7}) == doctest::Approx(1.95));
  CHECK(after(sgd({.learning_rate = 0.1, .clipnorm = 2}), 2, {-7}) == doctest::Approx(2.2));
  CHECK_THROWS_AS(sgd({.clipnorm = 1, .clipvalue = 1}), Error);
}

TEST_CASE("a gradient that is a symbol is refused as one") {
  const Parameter q(tensor({1.0, 2.0, 3.0}), "q");
  CHECK_THROWS_WITH_AS(
      sgd().apply(Tensors{symbol({3}, f32, "g")}, Parameters{q}),
      "sgd: the gradient of parameter \"q\" is a symbol of shape (3,), which has no elements: updates of "
      "symbols are made within plans, by trace_update",
      Error);
}

TEST_CASE("schedules give the rates of their formulas, and the optimizer follows them") {
  const Schedule smooth = exponential_decay({.initial = 0.1, .decay_steps = 10, .decay_rate = 0.5});
  CHECK(smooth(0) == 0.1);
  CHECK(smooth(5) == doctest::Approx(0.1 * std::sqrt(0.5)));
  CHECK(smooth(10) == doctest::Approx(0.05));
  const Schedule stairs = exponential_decay({.initial = 0.1, .decay_steps = 10, .decay_rate = 0.5, .staircase = true});
  CHECK(stairs(9) == 0.1);
  CHECK(stairs(10) == doctest::Approx(0.05));
  CHECK(constant(0.3)(1000000) == 0.3);
  const Optimizer optimizer =
      sgd({.learning_rate = exponential_decay({.initial = 1, .decay_steps = 1, .decay_rate = 0.5})});
  CHECK(after(optimizer, 0, {1, 1, 1}) == doctest::Approx(-1.75));
  CHECK(optimizer.learning_rate() == doctest::Approx(0.125));
  CHECK_THROWS_WITH_AS(optimizer.set_learning_rate(1), doctest::Contains("exponential_decay"), Error);
}

TEST_CASE("a rate that is set is that of the next update") {
  const Optimizer optimizer = sgd({.learning_rate = 0.1});
  optimizer.set_learning_rate(0.5);
  CHECK(after(optimizer, 1, {1}) == 0.5);
}

TEST_CASE("the state of an optimizer, put into another, goes on with the same bits") {
  const auto run = [](bool moved) {
    const Parameter p(tensor({1.0, 2.0}), "p");
    Optimizer optimizer = adam({.learning_rate = 0.1});
    for (int k = 0; k < 6; ++k) {
      if (k == 3 && moved) {
        const auto state = optimizer.state({{"p", p}});
        optimizer = adam();
        optimizer.set_state(state, {{"p", p}});
      }
      optimizer.apply(Tensors{tensor({0.3 * k, -0.2})}, Parameters{p});
    }
    return p.value().values<float>();
  };
  CHECK(run(true) == run(false));
}

TEST_CASE("a state that does not fit is refused and changes nothing") {
  const Parameter p(tensor({1.0, 2.0}), "p");
  const Optimizer optimizer = adam();
  optimizer.apply(Tensors{tensor({1.0, 1.0})}, Parameters{p});
  auto state = optimizer.state({{"p", p}});
  CHECK_THROWS_WITH_AS(optimizer.set_state(state, {{"q", p}}), doctest::Contains("\"momentum/p\", which nothing takes"),
                       Error);
  state[0].second = tensor(1.5);
  CHECK_THROWS_WITH_AS(optimizer.set_state(state, {{"p", p}}), doctest::Contains("iterations"), Error);
  CHECK(optimizer.iterations() == 1);
}

TEST_CASE("a schedule of the user's keeps its function whatever its name") {
  const Optimizer own =
      sgd({.learning_rate = Schedule("constant", {}, [](std::int64_t step) { return step < 1 ? 1.0 : 0.5; })});
  const Optimizer again =
      sgd({.learning_rate = Schedule("constant", {}, [](std::int64_t step) { return step < 1 ? 1.0 : 0.5; })});
  const Parameter p(ones({1}), "p");
  for (int k = 0; k < 2; ++k) own.apply(backward(sum(p.tensor())), {p});
  CHECK(p.value().at<float>(0) == -0.5F);
  again.set_state(own.state({{"p", p}}), {{"p", p}});
  CHECK(again.learning_rate() == 0.5);
  CHECK_THROWS_WITH_AS(again.set_learning_rate(2.0), doctest::Contains("follows constant"), Error);
}

TEST_CASE("an optimizer is made again from its name and attributes") {
  const Optimizer of =
      rmsprop({.learning_rate = exponential_decay({.initial = 0.5}), .momentum = 0.25, .clipvalue = 2});
  const Optimizer again = optimizer_from(of.name(), of.attributes());
  CHECK(again.attributes() == of.attributes());
  CHECK_THROWS_WITH_AS(optimizer_from("sdg", of.attributes()), doctest::Contains("\"sdg\""), Error);
}

TEST_CASE("T10: adam stays finite where the gradient is always 0, and refuses epsilon 0") {
  CHECK(after(adam(), 1, {0, 0, 0}) == 1);
  CHECK_THROWS_AS(adam({.epsilon = 0}), Error);
}

TEST_CASE("T11: clipping changes nothing at norm 0 and refuses norms that are not finite") {
  CHECK(clip_by_global_norm({tensor({0.0, 0.0}, f64)}, 1)[0].at<double>(0) == 0);
  CHECK(clip_by_norm({tensor({3.0, 4.0}, f64)}, 1)[0].at<double>(1) == doctest::Approx(0.8));
  CHECK_THROWS_AS(clip_by_global_norm({tensor({INFINITY}, f64)}, 1), Error);
}

TEST_CASE("T13: a learning rate of 0 changes nothing; negative and NaN are refused") {
  CHECK(after(sgd({.learning_rate = 0}), 1, {5}) == 1);
  CHECK_THROWS_AS(sgd({.learning_rate = -1}), Error);
  CHECK_THROWS_AS(sgd({.learning_rate = NAN}), Error);
}

TEST_CASE("T14: a NaN in one gradient leaves every parameter as it was") {
  const Parameter a(tensor({1.0}, f64), "a"), b(tensor({2.0}, f64), "b");
  const Optimizer optimizer = adam();
  CHECK_THROWS_AS(optimizer.apply(Tensors{tensor({1.0}, f64), tensor({NAN}, f64)}, Parameters{a, b}), Error);
  CHECK(a.value().at<double>(0) == 1);
  CHECK(optimizer.iterations() == 0);
}

TEST_CASE("T7: two slots of one name are refused, as files know them by it") {
  const auto keep = [](const UpdateRule::Step& step) { return Tensors{step.parameter, step.slots[0], step.slots[1]}; };
  CHECK_THROWS_WITH_AS(Optimizer({.name = "mine", .slots = {{"m"}, {"m"}}, .update = keep}, 0.1),
                       doctest::Contains("optimizer mine has two slots called \"m\""), Error);
}
