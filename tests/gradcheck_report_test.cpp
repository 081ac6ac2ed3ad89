// What a gradient check says, and what it says of what it cannot check.
#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/doctest.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/numerical.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/record.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

using namespace twopass;
using doctest::Contains;

namespace {

bool says(const GradcheckReport& report, const std::string& words) {
  return report.text().find(words) != std::string::npos;
}

std::int64_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n') + 1; }

Tensor one(double x) { return tensor({x}, f64); }

Tensor sum_of(const Tensors& in) {
  Tensor total = sum(in[0]);
  for (std::size_t k = 1; k < in.size(); ++k) total = total + sum(in[k]);
  return total;
}

// A model of one Dense layer with this activation, and a Dense layer after it.
Model classifier(const std::string& activation, const Loss& loss) {
  const Tensor x = input({3}, "x");
  Model model(x, Dense(2, {.activation = "softmax"})(Dense(4, {.activation = activation, .name = "hidden"})(x)),
              {.seed = 2});
  model.compile({.loss = loss});
  return model;
}

}  // namespace

TEST_CASE("orders, tolerances and counts that mean nothing are refused with the number") {
  const auto f = [](const Tensors& in) { return sum(exp(in[0])); };
  const auto with = [&](const GradcheckOptions& options) { gradcheck(f, {one(1)}, options); };
  CHECK_THROWS_WITH_AS(with({.order = 0}), "gradcheck: order is 0, not from 1 to 8", Error);
  CHECK_THROWS_WITH_AS(with({.order = -2}), "gradcheck: order is -2, not from 1 to 8", Error);
  CHECK_THROWS_WITH_AS(with({.order = 9}), "gradcheck: order is 9, not from 1 to 8", Error);
  CHECK_THROWS_WITH_AS(with({.absolute = -1}), "gradcheck: absolute is -1, not 0 or more", Error);
  CHECK_THROWS_WITH_AS(with({.relative = NAN}), "gradcheck: relative is nan, not 0 or more", Error);
  CHECK_THROWS_WITH_AS(with({.elements = -5}), "gradcheck: elements is -5, not 0 or more", Error);
  CHECK_THROWS_WITH_AS(with({.directions = -1}), "gradcheck: directions is -1, not 0 or more", Error);
  CHECK_THROWS_WITH_AS(with({.draws = 0}), "gradcheck: draws is 0, not 1 or more", Error);
  CHECK(gradcheck(f, {one(1)}, {.order = 8, .relative = 1e-7}).ok());
}

TEST_CASE("null functions are refused by the name of the call") {
  const Tensor x = one(1);
  const Tensors xs{x};
  CHECK_THROWS_WITH_AS(gradcheck(std::function<Tensor(const Tensors&)>(), xs), "gradcheck: the function is null",
                       Error);
  CHECK_THROWS_WITH_AS(gradcheck(std::function<Tensors(const Tensors&)>(), xs), "gradcheck: the function is null",
                       Error);
  CHECK_THROWS_WITH_AS(grad(Function())(x), "grad: the function is null", Error);
  CHECK_THROWS_WITH_AS(grad(FunctionOfMany())(xs), "grad: the function is null", Error);
  using Pair = std::function<Tensor(const Tensor&, const Tensor&)>;
  CHECK_THROWS_WITH_AS(grad(Pair())(x, x), "grad: the function is null", Error);
  CHECK_THROWS_WITH_AS(checkpoint(Pair(), x, x), "checkpoint: the function is null", Error);
  CHECK_THROWS_WITH_AS(vjp(Function(), x, x), "vjp: the function is null", Error);
  CHECK_THROWS_WITH_AS(jvp(Function(), x, x), "jvp: the function is null", Error);
  CHECK_THROWS_WITH_AS(hvp(Function(), x, x), "hvp: the function is null", Error);
  CHECK_THROWS_WITH_AS(jacobian(Function(), x), "jacobian: the function is null", Error);
  CHECK_THROWS_WITH_AS(jacobian(FunctionOfMany(), xs), "jacobian: the function is null", Error);
  CHECK_THROWS_WITH_AS(hessian(Function(), x), "hessian: the function is null", Error);
  CHECK_THROWS_WITH_AS(numerical_gradients({}, xs), "numerical_gradients: the function is null", Error);
  const auto rule = [](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g}; };
  CHECK_THROWS_WITH_AS(custom_gradient(FunctionOfTensors(), rule), "custom_gradient: the function is null", Error);
  CHECK_THROWS_WITH_AS(custom_gradient(FunctionOfTensors(sum_of), GradientRule()),
                       "custom_gradient: the gradient rule is null", Error);
  CHECK_THROWS_WITH_AS(checkpoint(FunctionOfTensors(), xs), "checkpoint: the function is null", Error);
}

TEST_CASE("a function that gives other numbers at each call is told of, and not called wrong") {
  int calls = 0;
  const auto random = [&](const Tensors& in) { return sum(in[0] * (1 + 0.1 * std::sin(7.0 * ++calls))); };
  const GradcheckReport report = gradcheck(random, {tensor({1.0, 2.0}, f64)});
  CAPTURE(report);
  CHECK(says(report, "the function gives other numbers at each call"));
  CHECK(!report.ok());
  CHECK(!report.wrong());
  CHECK(report.culprits().empty());
  // Nothing else is said, as nothing else is known.
  CHECK(report.text() == "the function gives other numbers at each call: differences cannot tell its derivatives");
  CHECK(!says(gradcheck(sum_of, {tensor({1.0, 2.0}, f64)}), "other numbers"));
  // Roundings that differ from call to call hide little: what stands above them is checked.
  const auto noisy = [&](double claim) {
    return gradcheck(
        [&, claim](const Tensors& in) {
          const Tensor y = exp(in[0]) * (1 + 1e-15 * (++calls % 2));
          return y + (in[0] - detach(in[0])) * claim;
        },
        {one(1)}, {.blame = false});
  };
  CHECK(noisy(0).pairs().size() == 1);
  CHECK(!noisy(0).wrong());
  CHECK(!noisy(1).ok());
}

TEST_CASE("N36: a function of no floating inputs or outputs has no derivative to check: that is not ok") {
  const Tensor whole = cast(one(3), i64);
  const GradcheckReport of_whole = gradcheck([](const Tensors& in) { return cast(in[0], f64); }, {whole});
  CHECK(!of_whole.ok());
  CHECK(!of_whole.wrong());
  CHECK(of_whole.text() == "nothing was checked: no input is f32 or f64");
  CHECK(of_whole.headline() == "nothing was checked");
  CHECK(nlohmann::json::parse(of_whole.json())["ok"] == false);
  CHECK(!gradcheck(sum_of, Tensors{cast(one(1), boolean)}).ok());
  const GradcheckReport to_whole = gradcheck([](const Tensors& in) { return cast(in[0], i64); }, {one(3)});
  CHECK(!to_whole.ok());
  CHECK(to_whole.text() == "nothing was checked: no output is f32 or f64");
  CHECK(gradcheck([](const Tensors& in) { return in[0] * cast(in[1], f64); }, {one(2), whole}).ok());
}

TEST_CASE("a kink's line says how far outside the slopes a derivative is only where it is") {
  const GradcheckReport inside = gradcheck([](const Tensors& in) { return relu(in[0]); }, {one(0)});
  CHECK(says(inside, "at [0]: analytic 0 between the slopes 0 and 1"));
  CHECK(!says(inside, "off by"));
  const GradcheckReport beside = gradcheck(
      [](const Tensors& in) { return relu(in[0]) - (in[0] - detach(in[0])) * 1e-9; }, {one(0)}, {.exact = false});
  CAPTURE(beside);
  CHECK(says(beside, "at [0]: analytic -1e-09 beside the slopes 0 and 1, off by 1e-09 where "));
}

TEST_CASE("an op that several samples show to be wrong is blamed once") {
  const OpRecord<> record{
      .name = "test_twice_wrong",
      .doc = "2 x.",
      .shape = same_floating,
      .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x + x; }); },
      .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {g * 2.2}; },
      .samples = {{.inputs = {sample::uniform({3})}}, {.inputs = {sample::uniform({2})}}}};
  const TypedOp<> op(record);
  const GradcheckReport report = gradcheck(op, {.order = 1});
  CAPTURE(report);
  CHECK(report.culprits().size() == 6);
  CHECK(says(report, "to blame: test_twice_wrong((3,)), found 3 times, at its worst\n  input 0: fail"));
  const std::string text = report.text();
  const std::size_t first = text.find("to blame: test_twice_wrong((3,))");
  CHECK(text.find("to blame: test_twice_wrong((3,))", first + 1) == std::string::npos);
}

TEST_CASE("what is not finite is named with its first index: nothing can be checked there") {
  const Tensor nan = tensor({{1.0, 2.0}, {double(NAN), double(NAN)}}, f64);
  const GradcheckReport bad = gradcheck(sum_of, {one(1), nan}, {.names = {"a", "b"}});
  CAPTURE(bad);
  CHECK(says(bad, "b is nan at [1, 0]: nothing can be checked there"));
  CHECK(says(bad, "a: unreliable, nothing could be tried"));
  CHECK(bad.text().find("b is nan") < bad.text().find("a: unreliable"));  // the reason first
  CHECK(!bad.ok());
  CHECK(!bad.wrong());
  const GradcheckReport result = gradcheck([](const Tensors& in) { return log(in[0] - 2.0); }, {one(1)});
  CHECK(says(result, "the output is nan at [0]: nothing can be checked there"));
  CHECK(!says(result, "-nan"));
  CHECK(!result.ok());
  // Beside infinity, as in a mask, the other elements are checked.
  const Tensor mask = tensor({0.0, -std::numeric_limits<double>::infinity(), 0.5}, f64);
  const GradcheckReport masked =
      gradcheck([](const Tensors& in) { return exp(in[0] + in[1]); }, {tensor({0.3, 0.2, -1.0}, f64), mask});
  CAPTURE(masked);
  CHECK(masked.ok());
  CHECK(says(masked, "input 1 is -inf at [1]: nothing can be checked there"));
  CHECK(masked.pairs()[1].tried == 6);
}

TEST_CASE("N4: a gradient that is nan is told as that, with the call that gave it first") {
  const GradcheckReport report =
      gradcheck([](const Tensors& in) { return sqrt(sum(square(in[0]))); }, {zeros({3}, f64)});
  CAPTURE(report);
  CHECK(report.wrong());
  for (const GradcheckPair& pair : report.pairs()) CHECK(pair.verdict == Verdict::fail);
  CHECK(says(report, "analytic nan, numerical 0\n"));
  CHECK(says(report, "the gradient is not finite here: "));
  CHECK(says(report, "in the gradient of sqrt"));
  CHECK(!says(report, "every recorded op is right"));
}

TEST_CASE("a function that refuses points near by is checked at those that it takes") {
  const auto bounded = [](const Tensors& in) { return square(within(in[0], 0, 1)); };
  const GradcheckReport near = gradcheck(bounded, {one(1 - 1e-5)});
  CAPTURE(near);
  CHECK(near.ok());
  CHECK(near.pairs()[0].verdict == Verdict::pass);
  const auto shy = [](const Tensors& in) {
    if (in[0].item<double>() != 0.5) throw Error("only a half is taken");
    return in[0] * 2.0;
  };
  const GradcheckReport never = gradcheck(shy, {one(0.5)}, {.exact = false});
  CHECK(!never.ok());
  CHECK(!never.wrong());
  CHECK(says(never, "refused near by: only a half is taken"));
}

TEST_CASE("blame says nothing of calls that cannot be checked alone where it found the culprit") {
  const auto wrong = custom_gradient([](const Tensors& in) { return sin(in[0]); },
                                     [](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * 2.0}; });
  const GradcheckReport report =
      gradcheck([&](const Tensors& in) { return log(within(sigmoid(wrong(in)), 0, 1)); }, {tensor({40.0, 1.0}, f64)});
  CAPTURE(report);
  REQUIRE(report.culprits().size() == 1);
  CHECK(!says(report, "could not be checked alone"));
}

TEST_CASE("a model's data that are not finite are named, and frozen parameters are not checked, which is said") {
  Model model = classifier("tanh", categorical_crossentropy());
  const Tensor rows = Random(1).normal({2, 3}), targets = tensor({{1.0f, 0.0f}, {0.0f, 1.0f}});
  CHECK(model.check_gradients(rows, targets).conclusive());
  const Tensor bad_rows = rows * tensor({{1.0f, 1.0f, 1.0f}, {1.0f, NAN, 1.0f}});
  const GradcheckReport of_rows = model.check_gradients(bad_rows, targets);
  CAPTURE(of_rows);
  CHECK(says(of_rows, "input \"x\" is nan at [1, 1]"));
  CHECK(says(of_rows, "the output is nan: nothing can be checked there"));
  CHECK(!of_rows.wrong());
  CHECK(!of_rows.ok());
  const GradcheckReport of_targets = model.check_gradients(rows, targets + tensor({{0.0f, 0.0f}, {INFINITY, 0.0f}}));
  CHECK(says(of_targets, "is inf at [1, 0]"));
  for (auto& [path, parameter] : model.named_parameters()) parameter.set_trainable(false);
  const GradcheckReport frozen = model.check_gradients(rows, targets);
  CHECK(frozen.text() == "nothing was checked: every parameter is frozen");
  CHECK(!frozen.conclusive());
}

TEST_CASE("branches never taken are told with their layer; those of the library's losses are no news") {
  const Tensor rows = Random(3).normal({2, 3}) + 5.0, targets = tensor({{1.0f, 0.0f}, {0.0f, 1.0f}});
  const GradcheckReport smooth = classifier("tanh", categorical_crossentropy()).check_gradients(rows, targets);
  CHECK(smooth.notes().empty());
  const Tensor x = input({3}, "x");
  Model positive(x, Dense(2, {.activation = "softmax"})(Dense(
                        4, {.activation = "relu", .kernel_initializer = ones_initializer(), .name = "hidden"})(x)));
  positive.compile({.loss = categorical_crossentropy()});
  const GradcheckReport relu = positive.check_gradients(rows, targets);
  CAPTURE(relu);
  REQUIRE(relu.notes().size() == 1);
  CHECK(relu.notes()[0].ends_with("with slope 0 in layer \"hidden\""));
  const Loss own = loss("own", [](const Tensor& t, const Tensor& p) { return sum(square(clip(t - p, -3, 3)), -1); });
  const GradcheckReport of_own = classifier("tanh", own).check_gradients(rows, targets);
  CHECK(of_own.notes().size() == 2);
  CHECK(says(of_own, "never taken: the branch of clip("));
}

TEST_CASE("a report of many pairs is short: those that do not pass, and how many there are of others") {
  Tensors inputs;
  for (int k = 0; k < 40; ++k) inputs.push_back(one(0.1 * k + 0.05));
  const auto f = [](const Tensors& in) {
    Tensor total = sum(in[0]) * 0.0;
    for (std::size_t k = 0; k < in.size(); ++k)
      total = total + sum(k % 2 ? exp(in[k]) : in[k] * 0.0) + sum(k == 6 ? in[k] - detach(in[k]) : in[k] * 0.0);
    return total;
  };
  const GradcheckReport report = gradcheck(f, inputs, {.blame = false});
  CAPTURE(report);
  CHECK(report.headline().starts_with("wrong: "));
  CHECK(says(report, "input 6: fail"));
  CHECK(says(report, "vacuous, all derivatives that were tried are 0: input 0, input 2, input 4, "));
  CHECK(says(report, " and 13 more"));
  CHECK(says(report, "20 pairs of order 1: pass, of which furthest off\n  input "));
  CHECK(says(report, "never taken: nothing of mul((1,), ()) comes from its input 0 (59 calls)"));
  CHECK(lines(report.text()) < 12);
  CHECK(lines(report.text(Listing::full)) > 41);
  const auto json = nlohmann::json::parse(report.json());
  CHECK(json["pairs"].size() == report.pairs().size());
  CHECK(json["wrong"] == true);
}

TEST_CASE("that much was not tested is said in the first line") {
  const auto f = [](const Tensors& in) { return exp(in[0]) + in[1] * 0.0; };
  const GradcheckReport half = gradcheck(f, {one(1), one(2)});
  CHECK(half.headline() == "ok, but inconclusive: nothing was tested of 1 of 3 pairs: 2 pass, 1 vacuous");
  CHECK(half.text().starts_with(half.headline() + "\n"));
  CHECK(nlohmann::json::parse(half.json())["conclusive"] == false);
  CHECK(gradcheck(f, {one(1), one(2)}, {.order = 2}).ok());
  CHECK(gradcheck([](const Tensors& in) { return exp(in[0]); }, {one(1)}).headline() == "ok: 1 pass");
}
