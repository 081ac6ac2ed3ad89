// Who is to blame, in words and in pictures: wrong gradients and the first NaN.
#include <doctest/doctest.h>
#include <graphviz/cgraph.h>
#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/doctest.h>
#include <twopass/graph/dot/dot.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/anomaly.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/joining.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/shaping.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace twopass;
using doctest::Contains;

namespace {

// 2 x with a gradient that is one promille off.
const TypedOp<>& wrong_double() {
  static const TypedOp<> op(
      {.name = "wrong_double",
       .doc = "2 x.",
       .shape = same_floating,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x + x; }); },
       .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {g * 2.002}; }});
  return op;
}

Model wrong_model(std::uint64_t seed = 1) {
  const Tensor x = input({3}, "x");
  const Tensor hidden = Dense(4, {.activation = "tanh"})(x);
  const Tensor doubled =
      Lambda([](const Tensor& t) { return apply(wrong_double(), {t}); }, {.name = "doubling"})(hidden);
  Model model(x, Dense(1)(doubled), {.seed = seed, .name = "wrong"});
  model.compile({.loss = mean_squared_error()});
  return model;
}

// The labels of the red nodes of a picture that Graphviz can read.
std::vector<std::string> red(const std::string& dot) {
  std::vector<std::string> labels;
  Agraph_t* graph = agmemread(dot.c_str());
  REQUIRE(graph);
  for (Agnode_t* node = agfstnode(graph); node; node = agnxtnode(graph, node))
    if (std::string(agget(node, const_cast<char*>("fillcolor"))) == "#ff6b5e")
      labels.emplace_back(agget(node, const_cast<char*>("label")));
  agclose(graph);
  return labels;
}

}  // namespace

TEST_CASE("a wrong gradient in a model is blamed on the op, its shapes and its layer") {
  Random random(2);
  const GradcheckReport report = wrong_model().check_gradients(random.normal({5, 3}), random.normal({5, 1}));
  CAPTURE(report);
  REQUIRE(!report.ok());
  REQUIRE(report.culprits().size() == 1);
  CHECK(report.culprits()[0].op == "wrong_double");
  CHECK(report.culprits()[0].layer == "doubling");
  CHECK(report.text().find("to blame: wrong_double((5, 4)) in layer \"doubling\"") != std::string::npos);
  CHECK(report.culprits()[0].pair.analytic == doctest::Approx(2.002));
  CHECK(report.culprits()[0].pair.numerical == doctest::Approx(2));
  // What lies behind the wrong op passes, what leads to it does not.
  for (const GradcheckPair& pair : report.pairs())
    if (pair.input.starts_with("dense_1/")) CHECK(pair.verdict == Verdict::pass);
}

TEST_CASE("the picture of a gradient check shows the guilty node in red, of large records its neighbourhood alone") {
  const auto f = [](int before) {
    return [before](const Tensors& x) {
      Tensor y = x[0];
      for (int k = 0; k < before; ++k) y = sin(y);
      return exp(apply(wrong_double(), {y}));
    };
  };
  const Tensor x = tensor({0.5, 1.0}, f64);
  const std::string small = to_dot(gradcheck(f(2), {x}));
  REQUIRE(red(small).size() == 1);
  CHECK(red(small)[0].find("wrong_double") == 0);
  CHECK(red(small)[0].find("analytic 2.002, numerical 2") != std::string::npos);
  const std::string large = to_dot(gradcheck(f(300), {x}));
  CHECK(red(large).size() == 1);
  CHECK(large.size() < 2 * small.size());
  CHECK_THROWS_WITH_AS(to_dot(gradcheck([](const Tensors& at) { return exp(at[0]); }, {x})),
                       "to_dot: the gradient check blames no op", Error);
}

TEST_CASE("a report says how far off a derivative is for its size, and what was not looked at") {
  const auto f = [](const Tensors& x) {
    Tensor y = x[0];
    for (int k = 0; k < 12; ++k) y = apply(wrong_double(), {slice(concat({y, y}, 0), 0, 0, 20 - k)});
    return relu(y);
  };
  const GradcheckReport report = gradcheck(f, {full({21}, 0.5, f64)});
  CAPTURE(report);
  CHECK(report.text().find("% of its size") != std::string::npos);
  CHECK(report.culprits().size() == 8);
  CHECK(report.text().find("recorded calls were checked alone: there may be more to blame") != std::string::npos);
  const auto many = [](const Tensors& x) {
    Tensor total = sum(x[0]);
    for (int k = 0; k < 13; ++k) total = total + sum(relu(slice(x[0], 0, 0, k + 1)));
    return total;
  };
  CHECK(gradcheck(many, {full({21}, 0.5, f64)}).text().find("never taken: 3 branches more") != std::string::npos);
}

TEST_CASE("what a layer computes beside the record is blamed on the layer: detach, no_record, values read out") {
  struct Beside {
    const char* what;
    std::function<Tensor(const Tensor&)> f;
    std::string found;
  };
  const std::vector<Beside> all = {
      {"a factor", [](const Tensor& t) { return t * detach(t); }, "mul((5, 4), (5, 4)) takes its input 1"},
      {"all", [](const Tensor& t) { return detach(t); }, "affine((5, 4), (4, 1), (1,)) takes its input 0"},
      {"in a scope", [](const Tensor& t) { return t + no_record([&] { return square(t); }); },
       "add((5, 4), (5, 4)) takes its input 1"},
      {"read out", [](const Tensor& t) { return t.symbolic() ? t * 1.0 : t * detach(t).at<double>(0); },
       "mul((5, 4), ()) takes its input 1"},
  };
  Random random(2);
  const Tensor rows = random.normal({5, 3}), targets = random.normal({5, 1});
  for (const Beside& each : all) {
    const Tensor x = input({3}, "x");
    const Tensor hidden = Dense(4, {.activation = "tanh"})(x);
    Model model(x, Dense(1)(Lambda(each.f, {.name = "cutting"})(Identity()(hidden))), {.seed = 1});
    model.compile({.loss = mean_squared_error()});
    const GradcheckReport report = model.check_gradients(rows, targets);
    CAPTURE(each.what);
    CAPTURE(report);
    CHECK(report.wrong());
    CHECK(report.text().find("in layer \"cutting\": " + each.found +
                             " as a constant, but it changes with what is checked") != std::string::npos);
  }
}

TEST_CASE("an op that is wrong in the second derivative alone is blamed") {
  const TypedOp<> op(
      {.name = "cut",
       .doc = "x².",
       .shape = same_floating,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x * x; }); },
       .keeps = Keep::input,
       .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
         return {g * detach(call.input(0)) * 2.0};
       }});
  const auto f = [&](const Tensors& x) { return sin(apply(op, {exp(x[0])})); };
  CHECK(gradcheck(f, {tensor({0.1, 0.2}, f64)}));
  const GradcheckReport report = gradcheck(f, {tensor({0.1, 0.2}, f64)}, {.order = 2});
  CAPTURE(report);
  REQUIRE(report.culprits().size() == 1);
  CHECK(report.culprits()[0].op == "cut");
}

TEST_CASE("the callback checks the first batch and that of every k-th epoch, and changes no bit of training") {
  const auto trained = [](const std::vector<CallbackHandle>& callbacks) {
    const Tensor x = input({3}, "x");
    Model model(x, Dense(1)(Dropout(0.5)(Dense(4, {.activation = "tanh"})(x))), {.seed = 3});
    model.compile({.loss = mean_squared_error()});
    Random random(2);
    model.fit(random.normal({20, 3}), random.normal({20, 1}),
              {.epochs = 5, .batch_size = 4, .verbose = 0, .callbacks = callbacks});
    std::vector<float> weights;
    for (const Parameter& each : model.parameters())
      for (const float w : each.value().values<float>()) weights.push_back(w);
    return weights;
  };
  std::vector<int> epochs;
  const auto watch = gradient_checks({.every = 2, .report = [&](int epoch, const GradcheckReport& report) {
                                        epochs.push_back(epoch);
                                        CHECK(report);
                                      }});
  CHECK(trained({}) == trained({watch}));
  CHECK(epochs == std::vector<int>{0, 2, 4});
  epochs.clear();
  trained({gradient_checks({.report = [&](int epoch, const GradcheckReport&) { epochs.push_back(epoch); }})});
  CHECK(epochs == std::vector<int>{0});
}

TEST_CASE("the callback ends training where gradients are wrong, before the first step") {
  Model model = wrong_model();
  Random random(2);
  const auto before = model.parameters()[0].value().values<float>();
  CHECK_THROWS_WITH_AS(
      model.fit(random.normal({5, 3}), random.normal({5, 1}), {.verbose = 0, .callbacks = {gradient_checks()}}),
      Contains("to blame: wrong_double((5, 4)) in layer \"doubling\""), Error);
  CHECK(model.parameters()[0].value().values<float>() == before);
}

TEST_CASE("F17 G18: where the loss is not finite the callback names the op that made the first NaN, and its layer") {
  const Tensor x = input({2}, "x");
  Model model(x, Dense(1)(Lambda([](const Tensor& t) { return log(t); }, {.name = "logarithm"})(x)), {.seed = 1});
  model.compile({.loss = mean_squared_error()});
  CHECK_THROWS_WITH_AS(model.fit(tensor({{1.0, -2.0}, {3.0, 4.0}}), zeros({2, 1}),
                                 {.shuffle = false,
                                  .verbose = 0,
                                  .callbacks = {gradient_checks({.report = [](int, const GradcheckReport&) {}})}}),
                       Contains("the first anomaly: log((2, 2)): the result is nan at (0, 1), though no input is\n"
                                "  input 0 (2, 2): from -2 to 4\n  in layer \"logarithm\""),
                       Error);
}

TEST_CASE("an anomaly scope refuses infinities that come from finite numbers, unless told") {
  const Tensor x = tensor({1.0, 0.0}, f64);
  {
    const AnomalyScope scope;
    CHECK_THROWS_WITH_AS(reciprocal(x),
                         Contains("reciprocal((2,)): the result is inf at 1, though every input is "
                                  "finite\n  input 0 (2,): from 0 to 1"),
                         Error);
    CHECK(exp(tensor({INFINITY}, f64)).item<double>() == INFINITY);  // what is infinite already may stay so
    REQUIRE(scope.found());
    CHECK(scope.found()->call == "reciprocal((2,))");
  }
  const AnomalyScope scope({.infinities = false});
  CHECK(reciprocal(x).at<double>(1) == INFINITY);
  CHECK(!scope.found());
}

TEST_CASE("G18: an anomaly of the backward pass names the op, its layer, and is drawn in red among its neighbours") {
  const Tensor x = input({2}, "x");
  const Tensor root = Lambda([](const Tensor& t) { return sqrt(t); }, {.name = "root"})(Identity()(x));
  Model model(x, root, {.seed = 1});
  const Tensor at = variable(tensor({{0.0, 4.0}}));
  const AnomalyScope scope;
  const Tensor y = sum(square(model(at)));
  // d√x = g / 2√x: 0 · inf where x is 0 would be hidden by the strong zero, the infinity itself is not.
  CHECK_THROWS_WITH_AS(backward(y), Contains("in the gradient of sqrt in layer \"root\""), Error);
  REQUIRE(scope.found());
  CHECK(scope.found()->layer == "root");
  const std::string picture = to_dot(*scope.found());
  REQUIRE(red(picture).size() == 1);
  CHECK(red(picture)[0].find("sqrt") == 0);
  CHECK(red(picture)[0].find("in layer \"root\"") != std::string::npos);
}

TEST_CASE("an anomaly of the forward pass is drawn with what led to it") {
  const Tensor x = variable(tensor({1.0, -1.0}, f64), "x");
  const AnomalyScope scope;
  CHECK_THROWS_AS(sqrt(sin(x) * 3.0), Error);
  REQUIRE(scope.found());
  const std::string picture = to_dot(*scope.found());
  REQUIRE(red(picture).size() == 1);
  CHECK(red(picture)[0].find("sqrt((2,))") == 0);
  CHECK(picture.find("sin") != std::string::npos);
}

TEST_CASE("a gradient that is not linear in its seed is found within a deep function, and blamed") {
  using Bend = std::function<Tensor(const Tensor& g)>;
  const std::vector<std::pair<std::string, Bend>> bends = {
      {"g + 1e-9 g²", [](const Tensor& g) { return g + square(g) * 1e-9; }},
      {"|g|", [](const Tensor& g) { return abs(g); }},
      {"clip(g)", [](const Tensor& g) { return clip(g, -1, 1); }},
      {"g + 1e-7", [](const Tensor& g) { return g + 1e-7; }},
      {"g in steps", [](const Tensor& g) { return twopass::round(g * 1e8) / 1e8; }},
      {"g in f32", [](const Tensor& g) { return cast(cast(g, f32), f64); }},
      {"g / max |g|, of one example", [](const Tensor& g) { return g / max(abs(g)); }},
  };
  for (const auto& [name, bend] : bends) {
    CAPTURE(name);
    const auto bent = custom_gradient([](const Tensors& in) { return tanh(in[0]); },
                                      [bend = bend](const Tensors&, const Tensor& y, const Tensor& g) {
                                        return Tensors{bend(g) * (1.0 - square(y))};
                                      });
    Random random(3);
    const Tensor a = random.normal({6, 6}, f64), b = random.normal({6, 6}, f64) * 0.4;
    const auto deep = [&](const Tensors& in) {
      Tensor x = in[0];
      for (int layer = 0; layer < 6; ++layer) {
        x = tanh(matmul(x, a) * 0.4);
        if (layer == 3) x = bent({matmul(x, b)});
      }
      return x;
    };
    for (const int order : {1, 2}) {
      const GradcheckReport report = gradcheck(deep, {random.normal({3, 6}, f64)}, {.order = order});
      CAPTURE(report.text());
      CHECK(report.wrong());
      REQUIRE(!report.culprits().empty());
      for (const Culprit& culprit : report.culprits()) CHECK(culprit.op == "custom_gradient");
    }
  }
}
