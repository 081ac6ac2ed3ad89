// Functions, names and layers that are not there: refused where they are given.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/numerical.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/recurrent.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/optim/optimizer.h>

using namespace twopass;
using doctest::Contains;

TEST_CASE("a function that is empty is refused where it is given, by what it was to be") {
  CHECK_THROWS_WITH_AS(Lambda(nullptr), "Lambda needs a function", Error);
  CHECK_THROWS_WITH_AS(Lambda(nullptr, {.name = "twice"}), "Lambda \"twice\" needs a function", Error);
  const std::function<Tensor(const Tensor&)> none;
  CHECK_THROWS_WITH_AS(Dense(1, {.activation = none}), "an activation is an empty function: \"linear\" stands for none",
                       Error);
  const char* nameless = nullptr;
  CHECK_THROWS_WITH_AS(Activation{nameless}, "an activation is a null pointer: \"linear\" stands for none", Error);
  CHECK_THROWS_WITH_AS(register_layer("Missing", nullptr), "register_layer: \"Missing\" needs a function that makes it",
                       Error);
  CHECK_THROWS_WITH_AS(layer_from("Missing", {}), Contains("there is no layer class \"Missing\""), Error);
  CHECK_THROWS_WITH_AS(Schedule("own", {}, nullptr), "a schedule needs a name and a function", Error);
  CHECK_THROWS_WITH_AS(Optimizer({.name = "own", .update = nullptr}, 0.1), "an optimizer needs a name and an update",
                       Error);
  CHECK_THROWS_WITH_AS(loss("own", nullptr), "a loss needs a name and a function", Error);
  CHECK_THROWS_WITH_AS(metric("own", nullptr), "a metric needs a name and a function", Error);
  CHECK_THROWS_WITH_AS(plan(nullptr, {ones({1})}), "plan: the function is empty", Error);
  CHECK_THROWS_WITH_AS(Dense(1, {.kernel_initializer = nullptr})(ones({1, 1})),
                       "parameter \"kernel\" has no initializer\n  in a Dense layer", Error);
}

TEST_CASE("a layer made of a null pointer is refused, and one that was moved from says so") {
  CHECK_THROWS_WITH_AS(LayerHandle(nullptr), "a layer is made of a null pointer", Error);
  LayerHandle dense = Dense(1);
  const LayerHandle taken = std::move(dense);
  const char* moved = "a layer or model was used that was never given a value, or moved from";
  CHECK_THROWS_WITH_AS(dense(ones({1, 1})), moved, Error);
  CHECK_THROWS_WITH_AS(dense.parameters(), moved, Error);
  CHECK_THROWS_WITH_AS(dense->type(), moved, Error);
  CHECK_THROWS_WITH_AS(Sequential({dense}, {.input_shape = {1}}), moved, Error);
  CHECK(taken->type() == "Dense");
}

TEST_CASE("plans, models, layers and optimizers may be empty until they are assigned, and say so where they are used") {
  struct Training {
    Model model;
    Plan step;
    Optimizer optimizer;
    LayerHandle first;
  } training;
  const char* never = "used that was never given a value, or moved from";
  CHECK_THROWS_WITH_AS(training.model.predict(ones({1, 1})), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.model.summary_text(), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.model(input({1}, "x")), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.step({}), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.step.text(), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.step.profile(), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.step.steps(), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.optimizer.name(), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.optimizer.apply(Tensors{}, Parameters{}), Contains(never), Error);
  CHECK_THROWS_WITH_AS(training.first(ones({1, 1})), Contains(never), Error);

  training.model = Sequential({Dense(1)}, {.input_shape = {1}});
  CHECK_THROWS_WITH_AS(training.model.compile({.optimizer = training.optimizer, .loss = mean_squared_error()}),
                       Contains(never), Error);
  training.optimizer = sgd();
  training.model.compile({.optimizer = training.optimizer, .loss = mean_squared_error()});
  training.step = plan([](const Tensors& in) { return Tensors{in[0] * 2.0}; }, {ones({2})});
  CHECK(training.model.predict(ones({1, 1})).shape() == Shape{1, 1});
  CHECK(training.step({ones({2})})[0].at<float>(1) == 2);
}

TEST_CASE("a layer that gives no tensor is named") {
  const auto nothing = Lambda([](const Tensor&) { return Tensor(); }, {.name = "nothing"});
  const char* undefined =
      "Lambda gives an undefined tensor: one that was never given a value, or moved from\n  in layer \"nothing\"";
  CHECK_THROWS_WITH_AS(nothing(ones({1})), undefined, Error);
  CHECK_THROWS_WITH_AS(nothing(input({1})), undefined, Error);
  class Second : public Layer {
    Tensors call(const Tensors& inputs, const CallContext&) override { return {inputs[0], Tensor()}; }
  };
  CHECK_THROWS_WITH_AS(layer<Second>().call({ones({1})}),
                       "Second gives an undefined tensor for output 1: one that was never given a value, or moved "
                       "from\n  in a Second layer",
                       Error);
}

TEST_CASE("a loss, a metric and a function of a plan that give no tensor are named") {
  const Tensor x = input({1}), one = ones({1, 1});
  const auto nothing = [](const Tensor&, const Tensor&) { return Tensor(); };
  Model model(x, Dense(1)(x));
  model.compile({.loss = loss("void", nothing)});
  CHECK_THROWS_WITH_AS(model.fit(one, one),
                       "void((1, 1), (1, 1)): gives an undefined tensor: one that was never given a value, or moved "
                       "from\n  in a trial on the first row",
                       Error);
  model.compile({.loss = mean_squared_error(), .metrics = {metric("none", nothing)}});
  CHECK_THROWS_WITH_AS(model.fit(one, one), Contains("none((1, 1), (1, 1)): gives an undefined tensor: "), Error);
  CHECK_THROWS_WITH_AS(plan(
                           [](const Tensors& in) {
                             return Tensors{in[0], Tensor()};
                           },
                           {one}),
                       "plan: the function gives an undefined tensor as output 1: one that was never given a value, or "
                       "moved from",
                       Error);
}

TEST_CASE("a layer without a name is told with its article, as it is spoken") {
  CHECK_THROWS_WITH_AS(Add()({input({3}, "a"), input({4})}), Contains("in an Add layer on \"a\""), Error);
  CHECK_THROWS_WITH_AS(Reshape({2})(input({3}, "a")), Contains("in a Reshape layer on \"a\""), Error);
  CHECK_THROWS_WITH_AS(LSTM(2)(input({3}, "a")), Contains("in an LSTM layer on \"a\""), Error);
}

TEST_CASE("F7: a layer that was built for another width is told by name and class, or by its class alone") {
  const auto built_for = [](const LayerHandle& dense) {
    dense(ones({1, 3}));
    dense(ones({1, 4}));
  };
  CHECK_THROWS_WITH_AS(built_for(Dense(2)), Contains("a Dense layer was built for (1, 3) and is given (1, 4): "),
                       Error);
  CHECK_THROWS_WITH_AS(built_for(Dense(2, {.name = "twice"})), Contains("layer \"twice\" (Dense) was built for "),
                       Error);
}

TEST_CASE("names are none or one for each, of plans and of gradient checks") {
  const auto doubled = [](const Tensors& in) { return Tensors{in[0] * 2.0}; };
  CHECK_THROWS_WITH_AS(plan(doubled, {ones({1})}, {.input_names = {"a", "b"}}), "plan: 2 input names for 1 input",
                       Error);
  CHECK_THROWS_WITH_AS(plan(doubled, {ones({1})}, {.output_names = {"a", "b"}}), "plan: 2 output names for 1 output",
                       Error);
  const auto product = [](const Tensors& in) { return in[0] * in[1]; };
  const Tensors x{ones({1}, f64), ones({1}, f64)};
  CHECK_THROWS_WITH_AS(gradcheck(product, x, {.names = {"a"}}), "gradcheck: 1 name for 2 inputs", Error);
  CHECK(gradcheck(product, x, {.names = {"a", "b"}, .outputs = {"y"}}).ok());
}

TEST_CASE("F3: two inputs, or two outputs, that are given the same name are refused") {
  const Tensor a = input({1}, "a"), b = input({1}, "b");
  CHECK_THROWS_WITH_AS(Model({{"x", a}, {"x", b}}, Add()({a, b})),
                       "two inputs of a model are named \"x\": every input's name must be unique", Error);
  const Tensor y = Dense(1)(a), z = Dense(1)(a);
  CHECK_THROWS_WITH_AS(Model(a, {{"y", y}, {"y", z}}), Contains("two outputs of a model are named \"y\""), Error);
}

namespace {

// What an error says of a call, up to the colon behind which it explains.
std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    const std::string text = error.what();
    return text.substr(0, text.find(": one that was never given a value, or moved from"));
  }
  return "";
}

const Tensor kPair = tensor({1.0, 2.0}, f64), kTriple = tensor({1.0, 2.0, 3.0}, f64), kUndefined;
const Function kSine = [](const Tensor&x) { return sin(x); }, kSum = [](const Tensor&x) { return sum(sin(x)); };
const FunctionOfMany kProduct = [](const Tensors&x) { return sin(x[0]) * x[1]; },
                     kDot = [](const Tensors&x) { return sum(sin(x[0]) * x[1]); };

}  // namespace

TEST_CASE("a layer whose call gives no tensors is refused, on symbols and on values") {
  struct Nothing : Layer {
    Tensors call(const Tensors&, const CallContext&) override { return {}; }
  };
  const char* reason = "Nothing gives no tensor: call() returns its outputs, at least one\n  in a Nothing layer";
  CHECK_THROWS_WITH_AS(layer<Nothing>()(ones({1, 1})), reason, Error);
  CHECK_THROWS_WITH_AS(layer<Nothing>().call(input({1}, "x")), Contains("Nothing gives no tensor: "), Error);
}

TEST_CASE("a transform of undefined tensors is refused by which it is, before anything is computed") {
  const Tensors second = {kPair, kUndefined}, both = {kPair, kPair};
  CHECK(refusal([] { grad(kSum)(kUndefined); }) == "grad: x is an undefined tensor");
  CHECK(refusal([&] { value_and_grad(kDot)(second); }) == "grad: x 1 is an undefined tensor");
  CHECK(refusal([] {
          value_and_grad([](const Tensor& a, const Tensor& b) { return sum(a * b); })(kUndefined, kPair);
        }) == "grad: x 0 is an undefined tensor");
  CHECK(refusal([] { vjp(kSine, kUndefined, kPair); }) == "vjp: x is an undefined tensor");
  CHECK(refusal([] { vjp(kSine, kPair, kUndefined); }) == "vjp: v is an undefined tensor");
  CHECK(refusal([&] { vjp(kProduct, second, kPair); }) == "vjp: x 1 is an undefined tensor");
  CHECK(refusal([] { jvp(kSine, kUndefined, kPair); }) == "jvp: x is an undefined tensor");
  CHECK(refusal([] { jvp(kSine, kPair, kUndefined); }) == "jvp: v is an undefined tensor");
  CHECK(refusal([&] { jvp(kProduct, second, both); }) == "jvp: x 1 is an undefined tensor");
  CHECK(refusal([&] { jvp(kProduct, both, second); }) == "jvp: v 1 is an undefined tensor");
  CHECK(refusal([] { hvp(kSum, kUndefined, kPair); }) == "hvp: x is an undefined tensor");
  CHECK(refusal([&] { hvp(kDot, second, both); }) == "hvp: x 1 is an undefined tensor");
  CHECK(refusal([&] { hvp(kDot, both, second); }) == "hvp: v 1 is an undefined tensor");
  CHECK(refusal([] { jacobian(kSine, kUndefined); }) == "jacobian: x is an undefined tensor");
  CHECK(refusal([&] { jacobian(kProduct, second); }) == "jacobian: x 1 is an undefined tensor");
  CHECK(refusal([] { hessian(kSum, kUndefined); }) == "hessian: x is an undefined tensor");
  CHECK(refusal([&] { hessian(kDot, second); }) == "hessian: x 1 is an undefined tensor");
  CHECK(refusal([&] { checkpoint(FunctionOfTensors(kProduct), second); }) ==
        "checkpoint: input 1 is an undefined tensor");
  CHECK(refusal([] { checkpoint([](const Tensor& x) { return sin(x); }, kUndefined); }) ==
        "checkpoint: the input is an undefined tensor");
  CHECK(refusal([&] { gradcheck(kProduct, second); }) == "gradcheck: input 1 is an undefined tensor");
  CHECK(refusal([&] { numerical_gradients(kDot, second); }) == "numerical_gradients: input 1 is an undefined tensor");
  CHECK(refusal([] { backward(kUndefined); }) == "backward: y is an undefined tensor");
  CHECK(refusal([] { gradients(sum(variable(kPair)), {kUndefined}); }) ==
        "gradients: the input is an undefined tensor");
  const auto same = custom_gradient([](const Tensors& in) { return in[0]; },
                                    [](const Tensors&, const Tensor&, const Tensor& g) {
                                      return Tensors{g, g};
                                    });
  CHECK(refusal([&] { same(second); }) == "custom_gradient: input 1 is an undefined tensor");
}

TEST_CASE("a transform of a function that is null, or gives an undefined tensor, says so") {
  const Function null, nothing = [](const Tensor&) { return Tensor(); };
  const auto refused = [&](const std::string& name, const std::function<void(const Function&)>& call) {
    CHECK(refusal([&] { call(null); }) == name + ": the function is null");
    CHECK(refusal([&] { call(nothing); }) == name + ": the function gives an undefined tensor");
  };
  refused("grad", [](const Function& f) { value_and_grad(f)(kPair); });
  refused("vjp", [](const Function& f) { vjp(f, kPair, kPair); });
  refused("jvp", [](const Function& f) { jvp(f, kPair, kPair); });
  refused("hvp", [](const Function& f) { hvp(f, kPair, kPair); });
  refused("jacobian", [](const Function& f) { jacobian(f, kPair); });
  refused("hessian", [](const Function& f) { hessian(f, kPair); });
  refused("checkpoint", [](const Function& f) { checkpoint(f, kPair); });
  refused("checkpoint", [](const Function& f) { checkpoint(f, variable(kPair)); });
  const std::function<Tensors(const Tensors&)> half = [](const Tensors& in) { return Tensors{in[0], Tensor()}; };
  CHECK(refusal([&] { checkpoint(half, {variable(kPair)}); }) ==
        "checkpoint: the function gives an undefined tensor for output 1");
  CHECK(refusal([&] { gradcheck(half, {kPair}); }) == "gradcheck: the function gives an undefined tensor for output 1");
}

TEST_CASE("a transform refuses tangents and cotangents of other shapes and dtypes by their number, and i64 inputs") {
  const Tensors both = {kPair, kPair}, other = {kPair, kTriple}, narrow = {kPair, tensor({1.0, 2.0})};
  CHECK(refusal([] { vjp(kSine, kPair, kTriple); }) == "vjp: v is f64 (3,) but f(x) is f64 (2,)");
  CHECK(refusal([] { jvp(kSine, kPair, kTriple); }) == "jvp: v is f64 (3,) but x is f64 (2,)");
  CHECK(refusal([&] { jvp(kProduct, both, other); }) == "jvp: v 1 is f64 (3,) but x 1 is f64 (2,)");
  CHECK(refusal([&] { jvp(kProduct, both, narrow); }) == "jvp: v 1 is f32 (2,) but x 1 is f64 (2,)");
  CHECK(refusal([&] { jvp(kProduct, both, Tensors{kPair}); }) == "jvp: v has 1 tensor but x has 2");
  CHECK(refusal([&] { hvp(kDot, both, other); }) == "hvp: v 1 is f64 (3,) but x 1 is f64 (2,)");
  CHECK(refusal([] { jacobian(kSine, tensor({1, 2})); }) == "jacobian: x is i64, which has no derivative");
  CHECK(refusal([] {
          hvp(kDot, Tensors{kPair, tensor({1, 2})}, Tensors{kPair, tensor({1, 2})});
        }) == "hvp: x 1 is i64, which has no derivative");
}
