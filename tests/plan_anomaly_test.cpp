// Plans in an AnomalyScope, where they do their calls op by op.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace twopass;
using doctest::Contains;

namespace {

bool equal_bits(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t k = 0; k < a.size(); ++k)
    if (a[k].values<double>() != b[k].values<double>() || a[k].shape() != b[k].shape()) return false;
  return true;
}

Tensors in_scope(const Plan& planned, const Tensors& inputs) {
  const AnomalyScope scope;
  return planned(inputs);
}

}  // namespace

TEST_CASE("G18: a plan names the first op that makes a NaN, with its element") {
  const Plan planned = plan([](const Tensors& in) -> Tensors { return {exp(log(in[0]) * 2.0)}; }, {ones({3})});
  const Tensor x = tensor({1.0, -1.0, 2.0});
  CHECK(std::isnan(planned({x})[0].at<double>(1)));
  const AnomalyScope scope;
  CHECK_THROWS_WITH_AS(planned({x}), Contains("log((3,)): the result is nan at 1, though no input is"), Error);
  REQUIRE(scope.found());
  CHECK(scope.found()->call == "log((3,))");
  CHECK(scope.found()->inputs[0].values<double>() == std::vector<double>{1, -1, 2});
  CHECK(planned({tensor({1.0, 2.0, 3.0})})[0].at<double>(2) == doctest::Approx(9));
}

TEST_CASE("G18: a plan with gradients inside names the op of the backward pass that makes a NaN first") {
  const PlanFunction f = [](const Tensors& in) { return gradients(sum(exp(pow(in[0], in[1]))), in); };
  const Tensor a = tensor({3.0, 2.0, -2.0}, f64), b = tensor({2.0, 2.0, 2.0}, f64);
  const Plan planned = plan(f, {a, b});
  CHECK(std::isnan(planned({a, b})[1].at<double>(2)));
  const AnomalyScope scope;
  CHECK_THROWS_WITH_AS(planned({a, b}), Contains("log((3,)): the result is nan at 2, though no input is"), Error);
  REQUIRE(scope.found());
  CHECK(scope.found()->call == "log((3,))");
}

TEST_CASE("G18: a NaN inside a layer that is planned names the layer") {
  const Lambda layer([](const Tensor& t) { return log(t); }, {.name = "logarithm"});
  const Tensor in = input({2});
  const Model model(in, layer(Identity()(in)));
  const Plan planned = plan([&](const Tensors& given) -> Tensors { return {model(given[0])}; }, {ones({1, 2})});
  const AnomalyScope scope;
  CHECK_THROWS_WITH_AS(planned({tensor({{1.0, -1.0}})}), Contains("in \"logarithm\""), Error);
  REQUIRE(scope.found());
  CHECK(scope.found()->layer == "logarithm");
}

TEST_CASE("G18: parameters of a plan that refuses a NaN are as they were, and else they change all together") {
  const Parameter first(tensor({1.0, 2.0})), second(tensor({1.0, -1.0}));
  const Plan planned = plan(
      [&](const Tensors& in) -> Tensors {
        first.set(first * in[0]);
        second.set(log(second));
        return {sum(first)};
      },
      {ones({2})});
  const Tensor x = tensor({3.0, 4.0});
  {
    const AnomalyScope scope;
    CHECK_THROWS_WITH_AS(planned({x}), Contains("log((2,)): the result is nan at 1"), Error);
  }
  CHECK(first.value().values<double>() == std::vector<double>{1, 2});
  CHECK(second.value().values<double>() == std::vector<double>{1, -1});
  second.set(tensor({1.0, 1.0}));
  CHECK(in_scope(planned, {x})[0].item<double>() == 11);
  CHECK(first.value().values<double>() == std::vector<double>{3, 8});
  CHECK(second.value().values<double>() == std::vector<double>{0, 0});
  // log(0) is infinite, which this scope lets pass, and parameters don't.
  const AnomalyScope scope({.infinities = false});
  CHECK_THROWS_WITH_AS(planned({x}), Contains("is not finite; nothing was changed"), Error);
  CHECK(first.value().values<double>() == std::vector<double>{3, 8});
  CHECK(second.value().values<double>() == std::vector<double>{0, 0});
}

TEST_CASE("in an AnomalyScope a plan of parameters, constants, gradients and an optimizer's step gives the same bits") {
  Random random(5);
  const Tensor x = random.normal({40, 30}), most = full({40, 30}, 2.0),
               nowhere = full({40, 30}, -std::numeric_limits<double>::infinity());
  const auto trained = [&](bool scoped) {
    const Parameter w(Random(6).normal({30, 30}) * 0.1), s(tensor(0.5));
    const Plan planned = plan(
        [&](const Tensors& in) -> Tensors {
          const Tensor h = tanh(matmul(in[0], w) * s + most);
          const Tensor loss = mean(square(h)) + mean(softmax(where(greater(h, 0.0), h, nowhere), -1) * h);
          const Tensors slopes = gradients(loss, {w, s});
          w.set(w - slopes[0]);
          s.set(s - slopes[1]);
          return {loss, slopes[0], sum(w), in[0]};
        },
        {x});
    Tensors all;
    for (int k = 0; k < 3; ++k)
      for (const Tensor& y : scoped ? in_scope(planned, {x}) : planned({x})) all.push_back(y);
    all.push_back(w.value());
    all.push_back(s.value());
    return all;
  };
  CHECK(equal_bits(trained(true), trained(false)));
}

TEST_CASE(
    "G18: functions that a plan runs eagerly, of one result and of two, name their ops and have their gradients") {
  const auto rooted = [](const Tensors& in) { return in[0].at<double>(0) > 0 ? sqrt(in[0]) : in[0] * 2.0; };
  const auto both = [](const Tensors& in) -> Tensors {
    return in[0].at<double>(0) > 0 ? Tensors{exp(in[0]), sum(in[0])} : Tensors{in[0], sum(in[0])};
  };
  const PlanFunction f = [&](const Tensors& in) -> Tensors {
    const Tensors two = eagerly(both, {eagerly(rooted, {in[0]})});
    const Tensor y = sum(two[0]) * two[1];
    const Tensor slope = gradients(y, in, {.record = true})[0];
    return {y, slope, gradients(sum(square(slope)), in)[0]};
  };
  const Plan planned = plan(f, {ones({3}, f64)});
  const Tensor good = tensor({1.0, 2.0, 3.0}, f64);
  const Tensors expected = planned({good});
  for (int k = 0; k < 2; ++k) CHECK(equal_bits(in_scope(planned, {good}), expected));
  {
    const AnomalyScope scope;
    CHECK_THROWS_WITH_AS(planned({tensor({1.0, -2.0, 3.0}, f64)}), Contains("sqrt((3,)): the result is nan at 1"),
                         Error);
    REQUIRE(scope.found());
    CHECK(scope.found()->call == "sqrt((3,))");
  }
  CHECK(equal_bits(planned({good}), expected));
}

TEST_CASE("inputs that a plan refuses it refuses in an AnomalyScope too") {
  const Plan planned = plan([](const Tensors& in) -> Tensors { return {in[0] * 2.0}; }, {ones({3})});
  const AnomalyScope scope;
  CHECK_THROWS_WITH_AS(planned({ones({4})}), Contains("planned for"), Error);
  CHECK_THROWS_WITH_AS(planned({variable(ones({3}))}), Contains("no derivative passes through a plan's run"), Error);
}
