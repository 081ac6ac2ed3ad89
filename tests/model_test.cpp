#include <doctest/doctest.h>

#include <string>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>

using namespace twopass;
using doctest::Contains;

namespace {

std::string without_spaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The part of a summary that is one row: from a layer's name to the end of its line, without blanks.
std::string row_of(const Model& model, const std::string& name) {
  const std::string text = model.summary_text();
  const std::size_t begin = text.find(name + " (");
  REQUIRE(begin != std::string::npos);
  return without_spaces(text.substr(begin, text.find('\n', begin) - begin));
}

}  // namespace

TEST_CASE("F1: an output that hangs on another input is refused with both names") {
  const Tensor a = input({3}, "a"), b = input({3}, "b");
  const Tensor y = Dense(2)(a), z = Dense(2, {.name = "far"})(b);
  CHECK_THROWS_WITH_AS(Model(a, {y, z}),
                       Contains("output 1 (Dense layer \"far\") is not connected to the inputs \"a\": graph "
                                "disconnected at Dense layer \"far\", which needs \"b\" of shape (None, 3)"),
                       Error);
}

TEST_CASE("F1: a missing input in the middle is named with the layer that needs it") {
  const Tensor a = input({3}, "a"), b = input({3}, "b");
  const Tensor y = Dense(2)(Add({.name = "both"})({a, b}));
  CHECK_THROWS_WITH_AS(Model(a, y), Contains("graph disconnected at Add layer \"both\", which needs \"b\""), Error);
}

TEST_CASE("F1: an output that is no symbol is refused") {
  CHECK_THROWS_WITH_AS(Model(input({3}), ones({2, 3})), Contains("is no symbol"), Error);
}

TEST_CASE("F2: an input that nothing uses is accepted and marked in the summary") {
  const Tensor used = input({3}, "used"), idle = input({5}, "idle");
  const Model model({used, idle}, Dense(2)(used));
  CHECK(row_of(model, "idle").ends_with("(unused)│"));
  CHECK(model(TensorList{ones({4, 3}), ones({4, 5})}).shape() == Shape{4, 2});
}

TEST_CASE("F3: a name that two layers have is refused with its count") {
  const Tensor x = input({3});
  const Tensor y = Dense(2, {.name = "twin"})(Dense(3, {.name = "twin"})(x));
  CHECK_THROWS_WITH_AS(Model(x, y), Contains("the name \"twin\" is used 2 times"), Error);
}

TEST_CASE("F3: names that the model gives depend on the model alone") {
  const auto names = [] {
    const Tensor x = input({3});
    std::string list;
    for (const auto& [name, layer] : Model(x, Dense(2)(Dense(3)(x))).layers()) list += name + " ";
    return list;
  };
  CHECK(names() == "dense dense_1 ");
  CHECK(names() == "dense dense_1 ");
}

TEST_CASE("F4: a wrong number of inputs and wrong names are refused with both lists") {
  const Tensor a = input({3}, "a"), b = input({3}, "b");
  Model model({a, b}, Add()({a, b}));
  CHECK_THROWS_WITH_AS(model.predict(ones({2, 3})), Contains("1 input was given where 2 are expected: \"a\", \"b\""),
                       Error);
  const TensorList misnamed{{"a", ones({2, 3})}, {"c", ones({2, 3})}};
  CHECK_THROWS_WITH_AS(model.predict(misnamed), Contains("inputs \"a\", \"c\" were given where \"a\", \"b\""), Error);
  Model single(a, Dense(1)(a));
  CHECK_THROWS_WITH_AS(single.predict({ones({2, 3}), ones({2, 3})}),
                       Contains("2 inputs were given where 1 is expected: \"a\""), Error);
  const TensorList wrong{{"b", ones({2, 3})}};
  CHECK_THROWS_WITH_AS(single.predict(wrong), Contains("input \"b\" was given where \"a\" is expected"), Error);
}

TEST_CASE("inputs given by name are put in the model's order") {
  const Tensor a = input({1}, "a"), b = input({1}, "b");
  Model model({a, b}, Subtract()({a, b}));
  const TensorList named{{"b", tensor({{1.0}})}, {"a", tensor({{5.0}})}};
  CHECK(model.predict(named).at<float>(0) == 4);
}

TEST_CASE("F5: another size behind the batch axis, and another rank, are refused with both shapes") {
  const Tensor x = input({3}, "image");
  Model model(x, Dense(2)(x));
  CHECK_THROWS_WITH_AS(model.predict(ones({2, 4})),
                       Contains("input \"image\" expects shape (None, 3) but found (2, 4)"), Error);
  CHECK_THROWS_WITH_AS(model.predict(ones({2, 3, 1})),
                       Contains("input \"image\" expects shape (None, 3) but found (2, 3, 1)"), Error);
}

TEST_CASE("F7: a layer that was built for one width refuses another") {
  const Dense dense(2, {.name = "head"});
  dense(input({3}));
  CHECK_THROWS_WITH_AS(dense(input({4})), Contains("layer \"head\" (Dense) was built for (None, 3)"), Error);
}

TEST_CASE("F8: a layer used twice counts once, and its gradient is the sum of both uses") {
  const Tensor x = input({2});
  const Dense shared(2, {.use_bias = false});
  const Model model(x, shared(shared(x)));
  CHECK(model.count_parameters() == 4);
  const Parameter w = model.parameters()[0];
  w.set(tensor({{3.0, 0.0}, {0.0, 3.0}}));
  // y = sum(x W W), so dy/dW at W = 3 I and x = (1, 1) is 3 + 3 everywhere.
  const Gradients gradients = backward(sum(model(ones({1, 2}))));
  for (int k = 0; k < 4; ++k) CHECK(gradients[w].at<float>(k) == 6);
}

TEST_CASE("F8: a model is a layer of another, and its parameters have its name before theirs") {
  const Model inner = Sequential({Dense(3)}, {.input_shape = {2}, .name = "inner"});
  const Tensor x = input({2});
  const Model outer(x, Dense(1)(inner(x)));
  std::string paths;
  for (const auto& [path, parameter] : outer.named_parameters()) paths += path + " ";
  CHECK(paths == "inner/dense/kernel inner/dense/bias dense/kernel dense/bias ");
}

TEST_CASE("F24: one row, one feature and one class work") {
  const Tensor x = input({1});
  Model model(x, Dense(1)(x));
  CHECK(model.predict(ones({1, 1})).shape() == Shape{1, 1});
}

TEST_CASE("a tensor inside a model can end another, with the same weights") {
  const Tensor x = input({3});
  const Tensor inside = Dense(4, {.activation = "relu"})(x);
  Model whole(x, Dense(2)(inside)), part(whole.inputs(), whole.layer("dense").output());
  CHECK(part.predict(ones({5, 3})).shape() == Shape{5, 4});
  CHECK(part.parameters()[0] == whole.parameters()[0]);
}

TEST_CASE("plain ops on symbols are steps of the model, with the values and parameters that they catch") {
  const Tensor x = input({2});
  const Parameter scale(tensor({2.0, 3.0}), "scale");
  Model model(x, exp(x) * scale + 1.0);
  CHECK(model.count_parameters() == 2);
  CHECK(model.predict(zeros({1, 2})).values<float>() == std::vector<float>{3, 4});
}

TEST_CASE("members of an ensemble begin with weights of their own, equal for equal seeds") {
  const auto build = [](std::uint64_t seed) {
    const Tensor x = input({4});
    Tensors votes;
    for (int k = 0; k < 2; ++k) votes.push_back(Sequential({Dense(3)}, {.input_shape = {4}})(x));
    return Model(x, Average()(votes), {.seed = seed});
  };
  const Parameters first = build(7).parameters(), again = build(7).parameters(), other = build(8).parameters();
  CHECK(first[0].value().values<float>() == again[0].value().values<float>());
  CHECK(first[0].value().values<float>() != first[2].value().values<float>());
  CHECK(first[0].value().values<float>() != other[0].value().values<float>());
}

TEST_CASE("the summary of a chain has shapes and parameter counts, and the footer their sums") {
  // Keras counts 784 · 64 + 64 and 64 · 10 + 10 for this model.
  const Model model = Sequential({Dense(64, {.activation = "relu"}), Dropout(0.2), Dense(10)}, {.input_shape = {784}});
  CHECK(row_of(model, "dense") == "dense(Dense)│(None,64)│50,240│");
  CHECK(row_of(model, "dropout") == "dropout(Dropout)│(None,64)│0│");
  CHECK(row_of(model, "dense_1") == "dense_1(Dense)│(None,10)│650│");
  CHECK(has(model.summary_text(), "Total params: 50,890 (198.79 KB)"));
  CHECK_FALSE(has(model.summary_text(), "Connected to"));
}

TEST_CASE("the summary of a graph says what each layer is connected to") {
  const Tensor x = input({4}, "x");
  const Dense shared(4);
  const Model model(x, Add()({shared(x), shared(shared(x))}));
  CHECK(row_of(model, "add").ends_with("│dense[0][0],dense[2][0]│"));
}

TEST_CASE("the summary tells all that a layer is connected to, in several lines where one is too short") {
  const Tensor x = input({2}, "x");
  Tensors parts;
  for (const char* name : {"first_branch", "second_branch", "third_branch"})
    parts.push_back(Dense(2, {.name = name})(x));
  const std::string text = Model(x, Add({.name = "sum"})(parts)).summary_text();
  CHECK(has(text, "│ first_branch[0][0],                │\n"));
  CHECK(has(text, "│ second_branch[0][0],               │\n"));
  CHECK(has(text, "│ third_branch[0][0]                 │\n"));
  CHECK_FALSE(has(text, "…"));
}

TEST_CASE("the summary counts frozen parameters apart") {
  const Model model = Sequential({Dense(2), Dense(3)}, {.input_shape = {4}});
  model.layer("dense").set_trainable(false);
  CHECK(has(model.summary_text(), "Trainable params: 9 "));
  CHECK(has(model.summary_text(), "Non-trainable params: 10 "));
}

TEST_CASE("the summary counts what the optimizer keeps once it has made a step") {
  Model model = Sequential({Dense(2)}, {.input_shape = {4}});
  model.compile({.optimizer = adam(), .loss = mean_squared_error()});
  CHECK_FALSE(has(model.summary_text(), "Optimizer params"));
  model.fit(ones({1, 4}), ones({1, 2}), {.verbose = 0});
  CHECK(has(model.summary_text(), "Optimizer params: 20 (80.00 B)"));  // two slots of 4 · 2 + 2
  CHECK(has(model.summary_text(), "Total params: 30 (120.00 B)"));
}
