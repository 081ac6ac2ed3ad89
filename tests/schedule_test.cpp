#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/optim/clipping.h>
#include <twopass/optim/optimizer.h>
#include <twopass/optim/schedule.h>

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Norms 5 and 12: 13 together.
Tensors two_gradients() { return {tensor({3.0, -4.0}, f64), tensor({{0.0, 12.0}}, f64)}; }

}  // namespace

TEST_CASE("exponential decay with its defaults falls by 4 % in each thousand steps") {
  const Schedule schedule = exponential_decay();
  CHECK(schedule(0) == 0.01);
  CHECK(schedule(1000) == Approx(0.0096));
  CHECK(schedule(2000) == Approx(0.009216));
}

TEST_CASE("exponential decay has the same ratio from each step to the next") {
  const Schedule schedule = exponential_decay({.initial = 1, .decay_steps = 3, .decay_rate = 0.125});
  for (const int step : {0, 1, 2, 3, 50}) CHECK(schedule(step + 1) == Approx(schedule(step) / 2));
}

TEST_CASE("staircase decay changes at multiples of decay_steps and nowhere else") {
  const Schedule schedule = exponential_decay({.initial = 8, .decay_steps = 4, .decay_rate = 0.5, .staircase = true});
  const double expected[] = {8, 8, 8, 8, 4, 4, 4, 4, 2, 2, 2, 2, 1};
  for (int step = 0; step < 13; ++step) CHECK(schedule(step) == expected[step]);
}

TEST_CASE("a decay rate of 1 is a constant, and of 0 leaves the first rate only") {
  CHECK(exponential_decay({.initial = 0.3, .decay_rate = 1})(12345) == 0.3);
  const Schedule once = exponential_decay({.initial = 0.3, .decay_steps = 1, .decay_rate = 0});
  CHECK(once(0) == 0.3);
  CHECK(once(1) == 0);
}

TEST_CASE("a schedule runs out to 0 far on, not to an error") {
  CHECK(exponential_decay({.decay_steps = 1, .decay_rate = 0.5})(std::int64_t{1} << 40) == 0);
}

TEST_CASE("options that make no schedule are refused by name") {
  CHECK_THROWS_WITH_AS(exponential_decay({.initial = -1}), Contains("initial is -1"), Error);
  CHECK_THROWS_WITH_AS(exponential_decay({.decay_steps = 0}), Contains("decay_steps is 0"), Error);
  CHECK_THROWS_WITH_AS(exponential_decay({.decay_rate = kNaN}), Contains("decay_rate is nan"), Error);
  CHECK_THROWS_WITH_AS(constant(kInfinity), Contains("the learning rate is inf"), Error);
}

TEST_CASE("a schedule is made again from its name and attributes") {
  const Schedule of = exponential_decay({.initial = 8, .decay_steps = 4, .decay_rate = 0.5, .staircase = true});
  const Schedule again = schedule_from(of.name(), of.attributes());
  CHECK(again(7) == 4);
  CHECK(again.attributes() == of.attributes());
  CHECK(schedule_from("constant", {{"rate", 0.25}})(9) == 0.25);
}

TEST_CASE("an unknown schedule and one without its attributes are refused") {
  CHECK_THROWS_WITH_AS(schedule_from("cosine", {}), Contains("\"cosine\""), Error);
  CHECK_THROWS_WITH_AS(schedule_from("constant", {}), Contains("rate"), Error);
}

TEST_CASE("a schedule of the user's that gives no rate is refused with its step") {
  const Schedule own("own", {}, [](std::int64_t step) { return 2.0 - static_cast<double>(step); });
  CHECK(own(2) == 0);
  CHECK_THROWS_WITH_AS(own(3), Contains("schedule own gives learning rate -1 at step 3"), Error);
}

TEST_CASE("a schedule that fails leaves parameter and step as they were") {
  const Optimizer optimizer = sgd({.learning_rate = Schedule("own", {}, [](std::int64_t) { return kNaN; })});
  const Parameter p(tensor({1.0}, f64), "p");
  CHECK_THROWS_AS(optimizer.apply(Tensors{tensor({1.0}, f64)}, Parameters{p}), Error);
  CHECK(p.value().at<double>(0) == 1);
  CHECK(optimizer.iterations() == 0);
}

TEST_CASE("a number is a constant learning rate, a schedule is not") {
  CHECK(LearningRate(0.5).is_constant());
  CHECK(LearningRate(0.5).schedule()(1000) == 0.5);
  CHECK_FALSE(LearningRate(exponential_decay()).is_constant());
}

TEST_CASE("clipping by value holds each element by itself") {
  const Tensors clipped = clip_by_value(two_gradients(), 3.5);
  CHECK(clipped[0].values<double>() == std::vector<double>{3, -3.5});
  CHECK(clipped[1].values<double>() == std::vector<double>{0, 3.5});
  CHECK(clipped[1].shape() == Shape{1, 2});
}

TEST_CASE("clipping by norm scales each tensor by its own norm, and those within the bound not at all") {
  const Tensors clipped = clip_by_norm(two_gradients(), 6);
  CHECK(clipped[0].values<double>() == std::vector<double>{3, -4});
  CHECK(clipped[1].at<double>(1) == Approx(6));
  CHECK(clip_by_norm(two_gradients(), 1)[0].at<double>(1) == Approx(-0.8));
}

TEST_CASE("clipping by the global norm scales all tensors by one factor") {
  const Tensors clipped = clip_by_global_norm(two_gradients(), 6.5);
  CHECK(clipped[0].at<double>(0) == Approx(1.5));
  CHECK(clipped[0].at<double>(1) == Approx(-2));
  CHECK(clipped[1].at<double>(1) == Approx(6));
  CHECK(global_norm(clipped) == Approx(6.5));
}

TEST_CASE("a norm at or within the bound changes no bit") {
  CHECK(clip_by_norm(two_gradients(), 5)[0].values<double>() == std::vector<double>{3, -4});
  CHECK(clip_by_global_norm(two_gradients(), 14)[1].values<double>() == std::vector<double>{0, 12});
}

TEST_CASE("no kind of clipping gives a missing gradient a value") {
  const Tensors gradients{Tensor(), tensor({30.0}, f64)};
  for (const auto clip : {clip_by_value, clip_by_norm, clip_by_global_norm}) {
    const Tensors clipped = clip(gradients, 2);
    CHECK_FALSE(clipped[0].defined());
    CHECK(clipped[1].at<double>(0) == Approx(2));
  }
}

TEST_CASE("clipping keeps f32 gradients f32") {
  for (const auto clip : {clip_by_value, clip_by_norm, clip_by_global_norm})
    CHECK(clip({tensor({30.0})}, 2)[0].dtype() == f32);
}

TEST_CASE("the global norm sums squares of f32 in double precision, and is 0 of nothing") {
  // 4096² + 1 is 2^24 + 1, which single precision rounds to 2^24
  CHECK(global_norm({tensor({4096.0, 1.0})}) == std::sqrt(16777217.0));
  CHECK(global_norm({}) == 0);
  CHECK(global_norm({Tensor()}) == 0);
}

TEST_CASE("bounds that are not positive and finite are refused by the name of the clipping") {
  for (const double bound : {0.0, -1.0, kInfinity, kNaN}) {
    CHECK_THROWS_WITH_AS(clip_by_value(two_gradients(), bound), Contains("clip_by_value: the bound is"), Error);
    CHECK_THROWS_WITH_AS(clip_by_norm(two_gradients(), bound), Contains("clip_by_norm: the bound is"), Error);
    CHECK_THROWS_WITH_AS(clip_by_global_norm(two_gradients(), bound), Contains("clip_by_global_norm: the bound is"),
                         Error);
  }
}

TEST_CASE("gradients with NaN are refused by both kinds of norm") {
  const Tensors gradients{tensor({1.0, kNaN}, f64)};
  CHECK_THROWS_WITH_AS(clip_by_norm(gradients, 1), Contains("norm of the gradients is nan"), Error);
  CHECK_THROWS_WITH_AS(clip_by_global_norm(gradients, 1), Contains("norm of the gradients is nan"), Error);
}

TEST_CASE("an optimizer clips each gradient by its own norm, or all by their common one") {
  const auto moved = [](const Optimizer& optimizer) {
    const Parameter a(tensor({0.0, 0.0}, f64), "a"), b(tensor({{0.0, 0.0}}, f64), "b");
    optimizer.apply(two_gradients(), Parameters{a, b});
    return std::vector<double>{a.value().at<double>(0), b.value().at<double>(1)};
  };
  const auto own = moved(sgd({.learning_rate = 1, .clipnorm = 6}));
  CHECK(own[0] == Approx(-3));
  CHECK(own[1] == Approx(-6));
  const auto common = moved(sgd({.learning_rate = 1, .global_clipnorm = 6.5}));
  CHECK(common[0] == Approx(-1.5));
  CHECK(common[1] == Approx(-6));
}

TEST_CASE("the gradient of a frozen parameter has no part in the common norm") {
  const Parameter free(tensor({0.0, 0.0}, f64), "free"), frozen(tensor({{0.0, 0.0}}, f64), "frozen");
  frozen.set_trainable(false);
  sgd({.learning_rate = 1, .global_clipnorm = 5}).apply(two_gradients(), Parameters{free, frozen});
  CHECK(free.value().values<double>() == std::vector<double>{-3, 4});
}
