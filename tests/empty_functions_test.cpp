// Functions, names and layers that are not there: refused where they are given.
#include <doctest/doctest.h>

#include <functional>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/recurrent.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
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
  const char* moved = "a layer was used that was moved to another variable";
  CHECK_THROWS_WITH_AS(dense(ones({1, 1})), moved, Error);
  CHECK_THROWS_WITH_AS(dense.parameters(), moved, Error);
  CHECK_THROWS_WITH_AS(dense->type(), moved, Error);
  CHECK_THROWS_WITH_AS(Sequential({dense}, {.input_shape = {1}}), moved, Error);
  CHECK(taken->type() == "Dense");
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
