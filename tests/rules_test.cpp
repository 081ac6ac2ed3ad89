#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>
#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/reduction.h>
#include <twopass/optim/loss.h>
#include <twopass/optim/optimizer.h>

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

// The values of a parameter that begins at 1, after each update.
std::vector<double> path(const Optimizer& optimizer, std::initializer_list<double> gradients) {
  const Parameter p(tensor({1.0}, f64), "p");
  std::vector<double> values;
  for (const double g : gradients) {
    optimizer.apply(Tensors{tensor({g}, f64)}, Parameters{p});
    values.push_back(p.value().at<double>(0));
  }
  return values;
}

void check_close(const std::vector<double>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t k = 0; k < found.size(); ++k) CHECK(found[k] == Approx(expected[k]).epsilon(1e-9));
}

// Halves with each update: 0.1, 0.05, 0.025.
LearningRate halving() { return exponential_decay({.initial = 0.1, .decay_steps = 1, .decay_rate = 0.5}); }

double loss_of(const Loss& loss, const Tensor& targets, const Tensor& predictions) {
  return loss.per_sample(targets, predictions).at<double>(0);
}

std::vector<double> slope_of(const Loss& loss, const Tensor& targets, const Tensor& predictions) {
  const Tensor p = variable(predictions);
  return backward(sum(loss.per_sample(targets, p)))[p].values<double>();
}

const double kLn2 = std::log(2.0), kLn3 = std::log(3.0);

}  // namespace

TEST_CASE("weight decay comes before the step of momentum and stays out of the velocity") {
  // 1 · 0.95 - 0.1, then 0.85 · 0.95 - (0.9 · 0.1 + 0.1)
  check_close(path(sgd({.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.5}), {1, 1}), {0.85, 0.6175});
}

TEST_CASE("three updates of nesterov with weight decay are those of the formula") {
  // v = 0.9 v - 0.1 g: -0.1, -0.19, -0.071; the step is 0.9 v - 0.1 g: -0.19, -0.271, 0.0361
  check_close(path(sgd({.learning_rate = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.5}), {1, 1, -1}),
              {0.95 - 0.19, 0.76 * 0.95 - 0.271, 0.451 * 0.95 + 0.0361});
}

TEST_CASE("nesterov without momentum is plain descent") {
  check_close(path(sgd({.learning_rate = 0.1, .nesterov = true}), {1, -2}), {0.9, 1.1});
}

TEST_CASE("a velocity remembers the rate that its steps were taken with") {
  // v = 0.5 v - rate g: -0.1, then -0.05 - 0.05; with the rate outside the second step would be 0.075
  check_close(path(sgd({.learning_rate = halving(), .momentum = 0.5}), {1, 1}), {0.9, 0.8});
}

TEST_CASE("weight decay follows the schedule") {
  // 1 - 0.5 · 0.1, then 0.95 (1 - 0.5 · 0.05)
  check_close(path(sgd({.learning_rate = halving(), .weight_decay = 0.5}), {0, 0}), {0.95, 0.92625});
}

TEST_CASE("rmsprop adds epsilon within the root") {
  // v: 1, 1, 13; with epsilon 3 the roots are 2, 2, 4 and the steps 0.1 g / root
  check_close(path(rmsprop({.learning_rate = 0.1, .rho = 0.75, .epsilon = 3}), {2, 1, -7}), {0.9, 0.85, 1.025});
}

TEST_CASE("rmsprop under a constant gradient steps by rate / sqrt(1 - rho^t)") {
  // v = (1 - 0.75^t) g²; 0.25, 0.4375, 0.578125
  const double a = 0.1 / 0.5, b = 0.1 / std::sqrt(0.4375), c = 0.1 / std::sqrt(0.578125);
  check_close(path(rmsprop({.learning_rate = 0.1, .rho = 0.75, .epsilon = 1e-30}), {5, 5, 5}),
              {1 - a, 1 - a - b, 1 - a - b - c});
}

TEST_CASE("centered rmsprop takes the square of the mean gradient from the mean square") {
  // v 1, mean 0.5: root of 1 - 0.25 + 3.25; then v 1.75, mean -0.125: root of 1.75 - 0.015625 + 3.25
  check_close(path(rmsprop({.learning_rate = 0.1, .rho = 0.75, .epsilon = 3.25, .centered = true}), {2, -2}),
              {0.9, 0.9 + 0.2 / std::sqrt(4.984375)});
}

TEST_CASE("the momentum of rmsprop remembers the rate that its steps were taken with") {
  // increments 0.1 · 2 / 2, then 0.5 · 0.1 + 0.05 · 1 / 2
  check_close(path(rmsprop({.learning_rate = halving(), .rho = 0.75, .momentum = 0.5, .epsilon = 3}), {2, 1}),
              {0.9, 0.825});
}

TEST_CASE("adam adds epsilon to the root of v before v is corrected") {
  // m 1, 1; v 1, 1; alpha = 0.1 sqrt(1 - 0.75^t) / (1 - 0.5^t): 0.1, 0.1 sqrt(0.4375) / 0.75
  const double second = 0.1 * std::sqrt(0.4375) / 0.75 / 2;
  check_close(path(adam({.learning_rate = 0.1, .beta_1 = 0.5, .beta_2 = 0.75, .epsilon = 1}), {2, 1}),
              {0.95, 0.95 - second});
}

TEST_CASE("adam steps by its rate under a constant gradient of any size") {
  for (const double g : {1e-3, 1.0, -1e6}) {
    const double step = g > 0 ? 0.1 : -0.1;
    check_close(path(adam({.learning_rate = 0.1, .epsilon = 1e-30}), {g, g, g}),
                {1 - step, 1 - 2 * step, 1 - 3 * step});
  }
}

TEST_CASE("adamw decays the parameter alone, so that m and v are those of adam") {
  // The steps of adam above, from 0.95 and 0.95 · 0.9
  const double second = 0.1 * std::sqrt(0.4375) / 0.75 / 2;
  check_close(
      path(adamw({.learning_rate = 0.1, .beta_1 = 0.5, .beta_2 = 0.75, .epsilon = 1, .weight_decay = 0.5}), {2, 1}),
      {0.9, 0.855 - second});
}

TEST_CASE("a parameter that joins later is corrected by the optimizer's number of updates") {
  const Optimizer optimizer = adam({.learning_rate = 0.1, .beta_1 = 0.5, .beta_2 = 0.75, .epsilon = 1});
  const Parameter early(tensor({1.0}, f64), "early"), late(tensor({1.0}, f64), "late");
  optimizer.apply(Tensors{tensor({2.0}, f64), Tensor()}, Parameters{early, late});
  CHECK(late.value().at<double>(0) == 1);
  optimizer.apply(Tensors{Tensor(), tensor({2.0}, f64)}, Parameters{early, late});
  CHECK(late.value().at<double>(0) == Approx(1 - 0.1 * std::sqrt(0.4375) / 0.75 / 2));
}

TEST_CASE("a parameter without a gradient is not decayed") {
  const Parameter with(tensor({1.0}, f64), "with"), without(tensor({1.0}, f64), "without");
  adamw({.learning_rate = 0.1, .weight_decay = 0.5}).apply(Tensors{tensor({0.0}, f64), Tensor()}, {with, without});
  CHECK(with.value().at<double>(0) == Approx(0.95));
  CHECK(without.value().at<double>(0) == 1);
}

TEST_CASE("factors of running means at or above 1 and negative ones are refused by name") {
  CHECK_THROWS_WITH_AS(sgd({.momentum = 1}), Contains("sgd: momentum is 1"), Error);
  CHECK_THROWS_WITH_AS(rmsprop({.rho = -0.5}), Contains("rmsprop: rho is -0.5"), Error);
  CHECK_THROWS_WITH_AS(adamw({.beta_2 = 1}), Contains("adamw: beta_2 is 1"), Error);
  CHECK_THROWS_WITH_AS(rmsprop({.epsilon = 0}), Contains("rmsprop: epsilon is 0"), Error);
  CHECK_THROWS_WITH_AS(sgd({.weight_decay = -1}), Contains("sgd: weight_decay is -1"), Error);
}

TEST_CASE("huber has the slope of the error within delta and of ± delta beyond, shared by the columns") {
  const auto slope =
      slope_of(huber({.delta = 0.5}), tensor({{1.0, 1.0, 1.0, 1.0}}, f64), tensor({{1.25, 0.75, 3.0, -3.0}}, f64));
  check_close(slope, {0.25 / 4, -0.25 / 4, 0.5 / 4, -0.5 / 4});
}

TEST_CASE("huber at delta is delta²/2, and one further delta²/2 + delta") {
  const Loss loss = huber({.delta = 3});
  CHECK(loss_of(loss, tensor({{0.0}}, f64), tensor({{-3.0}}, f64)) == 4.5);
  CHECK(loss_of(loss, tensor({{0.0}}, f64), tensor({{-4.0}}, f64)) == 7.5);
  CHECK(loss_of(loss, tensor({{-4.0}}, f64), tensor({{0.0}}, f64)) == 7.5);
}

TEST_CASE("huber refuses a delta that is not positive and finite") {
  for (const double delta : {0.0, -1.0, std::numeric_limits<double>::infinity()})
    CHECK_THROWS_WITH_AS(huber({.delta = delta}), Contains("huber: delta is"), Error);
}

TEST_CASE("even predictions of k classes cost ln k, whatever the smoothing") {
  const Tensor t = tensor({{0.0, 0.0, 1.0, 0.0}}, f64), even = tensor({{0.25, 0.25, 0.25, 0.25}}, f64);
  for (const double smoothing : {0.0, 0.2, 1.0}) {
    CHECK(loss_of(categorical_crossentropy({.label_smoothing = smoothing}), t, even) == Approx(2 * kLn2));
    CHECK(loss_of(categorical_crossentropy({.from_logits = true, .label_smoothing = smoothing}), t, even) ==
          Approx(2 * kLn2));
  }
  CHECK(loss_of(sparse_categorical_crossentropy(), tensor({2}), even) == Approx(2 * kLn2));
}

TEST_CASE("the slope of a smoothed cross-entropy at its logits is softmax less the smoothed target") {
  // t: 0.05 and 0.85; even logits: 0.25 each
  check_close(slope_of(categorical_crossentropy({.from_logits = true, .label_smoothing = 0.2}),
                       tensor({{0.0, 1.0, 0.0, 0.0}}, f64), tensor({{7.0, 7.0, 7.0, 7.0}}, f64)),
              {0.2, -0.6, 0.2, 0.2});
}

TEST_CASE("the slope of a smoothed binary cross-entropy at its logits is sigmoid less the smoothed target, shared") {
  // sigmoid(ln 3) = 0.75; targets 0.9 and 0.1
  check_close(slope_of(binary_crossentropy({.from_logits = true, .label_smoothing = 0.2}), tensor({{1.0, 0.0}}, f64),
                       from_values(std::vector<double>{kLn3, kLn3}, {1, 2}, f64)),
              {-0.15 / 2, 0.65 / 2});
}

TEST_CASE("from logits and from probabilities one number is meant, with smoothing too") {
  // softmax(ln 3, 0) = sigmoid(±ln 3) = 0.75, 0.25; smoothed targets 0.9, 0.1
  const Tensor t = tensor({{1.0, 0.0}}, f64), p = tensor({{0.75, 0.25}}, f64);
  const Tensor z = from_values(std::vector<double>{kLn3, 0}, {1, 2}, f64);
  const Tensor z_binary = from_values(std::vector<double>{kLn3, -kLn3}, {1, 2}, f64);
  const double expected = -0.9 * std::log(0.75) - 0.1 * std::log(0.25);
  CHECK(loss_of(categorical_crossentropy({.label_smoothing = 0.2}), t, p) == Approx(expected));
  CHECK(loss_of(categorical_crossentropy({.from_logits = true, .label_smoothing = 0.2}), t, z) == Approx(expected));
  CHECK(loss_of(binary_crossentropy({.label_smoothing = 0.2}), t, p) == Approx(expected));
  CHECK(loss_of(binary_crossentropy({.from_logits = true, .label_smoothing = 0.2}), t, z_binary) == Approx(expected));
  CHECK(loss_of(sparse_categorical_crossentropy(), tensor({0}), p) == Approx(std::log(4.0 / 3)));
  CHECK(loss_of(sparse_categorical_crossentropy({.from_logits = true}), tensor({0}), z) == Approx(std::log(4.0 / 3)));
}

TEST_CASE("a probability of 0 costs -ln 1e-7, Keras's clipping") {
  const Tensor t = tensor({{1.0, 0.0}}, f64), p = tensor({{0.0, 1.0}}, f64);
  CHECK(loss_of(categorical_crossentropy(), t, p) == Approx(7 * std::log(10.0)));
  CHECK(loss_of(binary_crossentropy(), t, p) == Approx(7 * std::log(10.0)));
}

TEST_CASE("a sequence has a loss per row and time, over its last axis only") {
  const Tensor t = tensor({{{0.0, 0.0}, {1.0, 1.0}, {2.0, 2.0}}}, f64);
  const Tensor p = tensor({{{1.0, 3.0}, {1.0, 1.0}, {0.0, 2.0}}}, f64);
  const Tensor each = mean_squared_error().per_sample(t, p);
  CHECK(each.shape() == Shape{1, 3});
  CHECK(each.values<double>() == std::vector<double>{5, 0, 2});
}

TEST_CASE("centered rmsprop stays finite where the gradient is the same for ever") {
  const Parameter p(zeros({1000}), "p");
  const Optimizer optimizer = rmsprop({.centered = true});
  const Tensor g = Random(2).normal({1000});
  for (int k = 0; k < 300; ++k) optimizer.apply(Tensors{g}, Parameters{p});
  CHECK(optimizer.iterations() == 300);
}
