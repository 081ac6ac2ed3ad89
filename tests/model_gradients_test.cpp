// Model::check_gradients: what it looks at, and in which precision.
#include <doctest/doctest.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/doctest.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/optim/initializer.h>

#include <string>
#include <vector>

using namespace twopass;

namespace {

Tensor drawn(const Shape& shape, std::uint64_t seed) { return Random(seed).normal(shape); }

std::vector<std::string> inputs_of(const GradcheckReport& report) {
  std::vector<std::string> names;
  for (const GradcheckPair& pair : report.pairs()) names.push_back(pair.input);
  return names;
}

bool holds(const std::vector<std::string>& names, const std::string& end) {
  for (const std::string& name : names)
    if (name.ends_with(end)) return true;
  return false;
}

// Twice its input, with a gradient that is wrong in training alone.
class WrongInTraining : public Layer {
 public:
  Tensors call(const Tensors& inputs, const CallContext& context) override {
    const double claim = context.training ? 2.1 : 2;
    return {custom_gradient(
        [](const Tensors& in) { return in[0] * 2.0; },
        [claim](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * claim}; })(inputs)};
  }
};

}  // namespace

TEST_CASE("a model's gradients are checked as its next training step has them, or as in inference") {
  const Tensor x = input({3}, "x");
  Model model(x, Dense(2)(layer<WrongInTraining>()(Dense(4)(x))));
  model.compile({.loss = mean_squared_error()});
  const Tensor rows = drawn({5, 3}, 1), targets = drawn({5, 2}, 2);
  const GradcheckReport training = model.check_gradients(rows, targets);
  CHECK(!training.ok());
  CHECK(training.text().find("to blame: custom_gradient((5, 4))") != std::string::npos);
  CHECK(model.check_gradients(rows, targets, {}, {}));
}

TEST_CASE("dropout and moments of the batch are part of the check, moving moments of that of inference") {
  const Tensor x = input({3}, "x");
  Model model(x, Dense(2)(Dropout(0.5)(BatchNormalization()(Dense(6, {.activation = "tanh"})(x)))));
  model.compile({.loss = mean_squared_error()});
  const Tensor rows = drawn({8, 3}, 3), targets = drawn({8, 2}, 4);
  const GradcheckReport training = model.check_gradients(rows, targets);
  CHECK(training);
  CHECK(holds(inputs_of(training), "/gamma"));
  CHECK(!holds(inputs_of(training), "/moving_mean"));
  const GradcheckReport inference = model.check_gradients(rows, targets, {}, {});
  CHECK(inference);
  CHECK(holds(inputs_of(inference), "/moving_mean"));
  const auto slope = [](const GradcheckReport& report) { return report.pairs()[0].analytic; };
  CHECK(slope(training) != slope(inference));
}

TEST_CASE("a model of which a part is frozen is checked in f64 all the same, for what training changes") {
  for (const bool normed : {false, true}) {
    const Tensor x = input({3}, "x");
    const auto frozen = normed ? LayerHandle(BatchNormalization()) : LayerHandle(Dense(4, {.activation = "relu"}));
    Model model(x, Dense(2)(Dense(5, {.activation = "tanh"})(frozen(x))), {.seed = 4});
    frozen.set_trainable(false);
    model.compile({.loss = mean_squared_error()});
    const GradcheckReport report = model.check_gradients(drawn({6, 3}, 9), drawn({6, 2}, 10));
    CAPTURE(report);
    CHECK(report.ok());
    CHECK(report.text().find("f32") == std::string::npos);
    CHECK(report.pairs()[0].bound < 1e-6);
  }
}

TEST_CASE("moments of the batch that cancel a bias leave derivatives of roundings alone, which are not wrong") {
  const Tensor x = input({3}, "x");
  Model model(x, Dense(2)(BatchNormalization()(Dense(4)(x))));
  model.compile({.loss = mean_squared_error()});
  const GradcheckReport report = model.check_gradients(drawn({6, 3}, 11), drawn({6, 2}, 12), {.order = 2});
  CAPTURE(report);
  CHECK(report.ok());
}

TEST_CASE("a layer that caught f32 numbers is checked in f32, which is said with the reason") {
  const Tensor scale = tensor({1.0f, 2.0f, 3.0f, 4.0f});
  const Tensor x = input({3}, "x");
  const Tensor scaled = Lambda([scale](const Tensor& t) { return t * scale; }, {.name = "scaling"})(Dense(4)(x));
  Model model(x, Dense(1)(tanh(scaled)));
  model.compile({.loss = mean_squared_error()});
  const GradcheckReport report = model.check_gradients(drawn({5, 3}, 5), drawn({5, 1}, 6));
  CAPTURE(report);
  CHECK(report.ok());
  CHECK(report.text().find("f takes f32 only (") != std::string::npos);
  CHECK(report.text().find("f64") != std::string::npos);
}

TEST_CASE("a rule of a custom gradient that caught f32 numbers is checked in f32 too") {
  const Tensor scale = full({4}, 2.0);
  const auto squared = custom_gradient(
      [](const Tensors& in) { return square(in[0]); },
      [scale](const Tensors& in, const Tensor&, const Tensor& g) { return Tensors{g * in[0] * scale}; });
  const Tensor x = input({3}, "x");
  Model model(x, Dense(1)(Lambda([squared](const Tensor& t) { return squared({t}); })(Dense(4)(x))));
  model.compile({.loss = mean_squared_error()});
  const GradcheckReport report = model.check_gradients(drawn({5, 3}, 5), drawn({5, 1}, 6));
  CAPTURE(report);
  CHECK(report.ok());
  CHECK(report.text().find("f takes f32 only (") != std::string::npos);
}

TEST_CASE("relu networks on inputs with many zeros have kinks, which are no mistakes") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Tensor x = input({6}, "x");
    Model model(x, Dense(3, {.activation = "softmax"})(Dense(5, {.activation = "relu"})(x)), {.seed = seed});
    model.compile({.loss = sparse_categorical_crossentropy()});
    const Tensor rows = concat({zeros({2, 6}), drawn({2, 6}, seed)}, 0);
    const GradcheckReport report = model.check_gradients(rows, cast(tensor({0.0, 1.0, 2.0, 0.0}), i64));
    CAPTURE(report);
    CHECK(report.ok());
  }
}

TEST_CASE("small models are checked whole, large ones in part") {
  const auto notes = [](std::int64_t size) {
    const Tensor x = input({20}, "x");
    Model model(x, Dense(1)(Dense(size)(x)));
    model.compile({.loss = mean_squared_error()});
    return model.check_gradients(drawn({3, 20}, 7), drawn({3, 1}, 8)).text();
  };
  CHECK(notes(30).find("not every derivative was tried") == std::string::npos);
  CHECK(notes(3000).find("not every derivative was tried") != std::string::npos);
}

namespace {

struct Moving : Layer {
  Parameter average;
  void build(const Shapes& inputs) override { average = add_state("average", {inputs[0].back()}, zeros_initializer()); }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    const Tensor now = mean(inputs[0], 0);
    average.set(average.tensor() * 0.9 + now * 0.1);
    return {inputs[0] - now};
  }
  std::string type() const override { return "Moving"; }
};

}  // namespace

TEST_CASE(
    "a layer that moves a state, in no dtype of its own choice, is checked in f64, and a mistake before it found") {
  for (const double factor : {1.0, 1.01}) {
    const auto scaled = custom_gradient(
        [](const Tensors& in) { return in[0] * 2.0; },
        [factor](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * (2.0 * factor)}; });
    const Tensor x = input({3}, "x");
    const LayerHandle moving = layer<Moving>();
    Model model(x, Dense(2)(moving(Lambda([scaled](const Tensor& t) { return scaled({t}); })(Dense(4)(x)))));
    model.compile({.loss = mean_squared_error()});
    const GradcheckReport report = model.check_gradients(drawn({6, 3}, 21), drawn({6, 2}, 22));
    CAPTURE(report);
    CHECK(report.ok() == (factor == 1));
    CHECK(report.text().find("f32") == std::string::npos);
  }
}

TEST_CASE(
    "kinks within the steps of f32 are no mistakes of a layer that takes f32 only, and what is 1 % wrong is found") {
  const Tensor one = tensor(1.0f);
  const auto narrow = [one](const Tensor& t) { return t * one; };
  int kinks = 0;
  for (const std::uint64_t seed : {3, 19, 20, 37})  // of 40 those whose kinks differences in f32 do not step around
    for (const double factor : {1.0, 1.01}) {
      const auto scaled =
          custom_gradient([](const Tensors& in) { return in[0] * 1.0; },
                          [factor](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * factor}; });
      const Tensor x = input({6}, "x");
      const Tensor hidden = BatchNormalization()(Dense(6, {.activation = "relu"})(x));
      Model model(x, Dense(2)(Lambda(narrow)(Lambda([scaled](const Tensor& t) { return scaled({t}); })(hidden))),
                  {.seed = seed});
      model.compile({.loss = mean_squared_error()});
      const GradcheckReport report = model.check_gradients(drawn({8, 6}, 1), drawn({8, 2}, 2));
      CAPTURE(report);
      CHECK(report.ok() == (factor == 1));
      CHECK(report.wrong() == (factor != 1));
      for (const GradcheckPair& pair : report.pairs()) kinks += pair.verdict == Verdict::kink;
    }
  CHECK(kinks > 4);
}
