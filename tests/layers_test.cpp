#include <doctest/doctest.h>

#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/optim/initializer.h>

using namespace twopass;
using doctest::Contains;

namespace {

std::vector<float> merged(const LayerHandle& merge) {
  return merge({tensor({{1.0, 8.0}}), tensor({{3.0, 2.0}})}).values<float>();
}

}  // namespace

TEST_CASE("a dense layer gives activation(x kernel + bias) over the last axis of any rank") {
  const Dense dense(1, {.activation = "relu"});
  const Tensor x = tensor({{{1.0, 2.0}, {3.0, 4.0}}});  // (1, 2, 2)
  CHECK(dense(x).shape() == Shape{1, 2, 1});
  dense.parameters()[0].set(tensor({{1.0}, {-1.0}}));
  dense.parameters()[1].set(tensor({1.5}));
  CHECK(dense(x).values<float>() == std::vector<float>{0.5, 0.5});
  dense.parameters()[1].set(tensor({0.5}));
  CHECK(dense(x).values<float>() == std::vector<float>{0, 0});
}

TEST_CASE("a dense layer begins with Glorot's kernel and a bias of zeros, or has no bias where asked") {
  const Dense dense(30);
  dense(ones({1, 20}));
  const float limit = 0.34641016f;  // sqrt(6 / (20 + 30))
  CHECK(max(abs(dense.parameters()[0].value())).item<float>() <= limit);
  CHECK(max(abs(dense.parameters()[0].value())).item<float>() > 0.9f * limit);
  CHECK(max(abs(dense.parameters()[1].value())).item<float>() == 0);
  const Dense bare(30, {.use_bias = false});
  bare(ones({1, 20}));
  CHECK(bare.parameters().size() == 1);
}

TEST_CASE("units below 1 and unknown activations are refused") {
  CHECK_THROWS_WITH_AS(Dense(0), Contains("0"), Error);
  CHECK_THROWS_WITH_AS(Dense(3, {.activation = "rleu"}), Contains("\"rleu\""), Error);
}

TEST_CASE("merges work element by element on two inputs") {
  CHECK(merged(Add()) == std::vector<float>{4, 10});
  CHECK(merged(Subtract()) == std::vector<float>{-2, 6});
  CHECK(merged(Multiply()) == std::vector<float>{3, 16});
  CHECK(merged(Average()) == std::vector<float>{2, 5});
  CHECK(merged(Maximum()) == std::vector<float>{3, 8});
  CHECK(merged(Minimum()) == std::vector<float>{1, 2});
}

TEST_CASE("a concatenation joins along its axis, and refuses parts that do not fit with both shapes") {
  CHECK(merged(Concatenate()) == std::vector<float>{1, 8, 3, 2});
  CHECK(Concatenate({.axis = 1})({input({2}), input({3})}).shape() == Shape({kOpen, 5}));
  CHECK_THROWS_WITH_AS(Concatenate({.axis = 0})({ones({1, 2}), ones({1, 3})}), Contains("(1, 3)"), Error);
}

TEST_CASE("a merge of one input gives it back, of none is refused, and a difference takes two") {
  CHECK(Average()(tensor({5.0})).item<float>() == 5);
  CHECK_THROWS_WITH_AS(Add()(TensorList{}), Contains("Add takes one or more inputs, not 0"), Error);
  CHECK_THROWS_WITH_AS(Subtract()(ones({1, 2})), Contains("Subtract takes 2 inputs, not 1"), Error);
}

TEST_CASE("flatten and reshape keep the batch axis") {
  CHECK(Flatten()(input({2, 3})).shape() == Shape({kOpen, 6}));
  CHECK(Reshape({3, -1})(input({2, 6})).shape() == Shape({kOpen, 3, 4}));
  CHECK(Reshape({3, 2})(ones({5, 6})).shape() == Shape{5, 3, 2});
  CHECK_THROWS_WITH_AS(Reshape({4})(ones({5, 6})), Contains("6 elements a sample do not go into (4,)"), Error);
}

TEST_CASE("dropout is the identity outside training, and draws by the step inside") {
  const Dropout dropout(0.5);
  const Tensor x = ones({100});
  CHECK(dropout(x).values<float>() == x.values<float>());
  const auto at = [&](std::int64_t step) {
    return dropout(x, {.training = true, .seed = 3, .step = tensor(step)}).values<float>();
  };
  CHECK(at(0) == at(0));
  CHECK(at(0) != at(1));
}

TEST_CASE("an activation by name is the function of that name, and a lambda is what it is given") {
  const Tensor x = tensor({-1.0, 2.0});
  CHECK(Activation("relu")(x).values<float>() == std::vector<float>{0, 2});
  CHECK(Activation("linear")(x).values<float>() == x.values<float>());
  CHECK(Identity()(x).values<float>() == x.values<float>());
  CHECK(Lambda([](const Tensor& t) { return t * 3.0; })(x).values<float>() == std::vector<float>{-3, 6});
}

TEST_CASE("an error inside a layer says which") {
  const Tensor x = input({3}, "image");
  CHECK_THROWS_WITH_AS(Reshape({2}, {.name = "wrong"})(x), Contains("in layer \"wrong\""), Error);
  CHECK_THROWS_WITH_AS(Reshape({2})(x), Contains("in a Reshape layer on \"image\""), Error);
}

namespace {

struct Late : Layer {
  Tensors call(const Tensors& inputs, const CallContext&) override {
    return {inputs[0] * add_weight("late", {}, ones_initializer()).tensor()};
  }
  std::string type() const override { return "Late"; }
};

}  // namespace

TEST_CASE("a layer that is built takes no more weights, which no optimizer would see") {
  CHECK_THROWS_WITH_AS(layer<Late>()(ones({2, 3})),
                       doctest::Contains("is built: weights and states are added in its constructor or in build()"),
                       Error);
}

TEST_CASE(
    "a second weight or state of a name that the layer has is refused at once, as no file could tell them apart") {
  struct Twice : Layer {
    bool state;
    explicit Twice(bool is_state) : state(is_state) {}
    void build(const Shapes&) override {
      add_weight("gain", {}, ones_initializer());
      state ? add_state("gain", {}, ones_initializer()) : add_weight("gain", {}, ones_initializer());
    }
    Tensors call(const Tensors& inputs, const CallContext&) override { return inputs; }
    std::string type() const override { return "Twice"; }
  };
  CHECK_THROWS_WITH_AS(layer<Twice>(false)(input({3}, "x")),
                       Contains("add_weight(\"gain\"): a Twice layer has a weight of this name already"), Error);
  CHECK_THROWS_WITH_AS(layer<Twice>(true)(input({3}, "x")), Contains("add_state(\"gain\")"), Error);
}

TEST_CASE("an input whose samples would have no elements is refused; {} is one number a sample") {
  CHECK_THROWS_WITH_AS(input({0}, "x"), Contains("input \"x\" has shape (0,), so that a sample has no elements"),
                       Error);
  CHECK_THROWS_WITH_AS(input({3, 0}, "x"), Contains("(3, 0)"), Error);
  CHECK(input({}).shape() == Shape({kOpen}));
}
