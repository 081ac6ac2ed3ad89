// Parameters that a layer or a loss uses and the model does not know; and what fit leaves alone before its first step.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

using namespace twopass;
using doctest::Contains;

namespace {

Model model_with(const LayerHandle& layer, bool run_eagerly, const Loss& loss = mean_squared_error()) {
  const Tensor x = input({2}, "x");
  Model model(x, Dense(1)(layer(x)), {.name = "net"});
  model.compile({.optimizer = sgd(), .loss = loss, .run_eagerly = run_eagerly});
  return model;
}

void fit(Model& model, const std::vector<CallbackHandle>& callbacks = {}) {
  model.fit(ones({6, 2}), ones({6, 1}), {.batch_size = 4, .verbose = 0, .callbacks = callbacks});
}

std::string refusal(Model& model) {
  try {
    fit(model);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Keeps a parameter as a member that nobody else hears of; `own` names it.
struct Shift : Layer {
  Parameter shift;
  bool own;
  Shift(const Parameter& by, bool owns) : shift(by), own(owns) {}
  Tensors call(const Tensors& inputs, const CallContext&) override { return {inputs[0] + shift}; }
  std::vector<std::pair<std::string, Parameter>> own_parameters() const override {
    return own ? std::vector{std::pair(std::string("shift"), shift)} : Layer::own_parameters();
  }
};

}  // namespace

TEST_CASE("a parameter that a layer uses and the model does not know is refused before the first step, by layer") {
  for (const bool run_eagerly : {false, true}) {
    const Parameter w(ones({2}), "w");
    const Lambda scale([&](const Tensor& x) { return x * w; });
    Model model = model_with(scale, run_eagerly);
    const std::string text =
        "layer \"lambda\" (Lambda) uses parameter \"w\" of shape (2,), which model \"net\" does not know: it would be "
        "neither trained nor saved; make it by add_weight() in a layer class, or name it in own_parameters() there, or "
        "its "
        "layer in parts(), or freeze it by set_trainable(false)";
    for (int k = 0; k < 2; ++k) CHECK_THROWS_WITH_AS(fit(model), Contains(text.c_str()), Error);
    CHECK(model.optimizer().iterations() == 0);
    Model nested = model_with(model, run_eagerly);
    CHECK_THROWS_WITH_AS(fit(nested), Contains("layer \"net/lambda\" (Lambda) uses parameter \"w\""), Error);
    Model other = model_with(layer<Shift>(w, false), run_eagerly);
    CHECK_THROWS_WITH_AS(fit(other), Contains("layer \"shift\" (Shift) uses parameter \"w\""), Error);
  }
}

TEST_CASE(
    "an unknown parameter that was frozen is refused once it is no more, also where its step was planned before") {
  for (const bool run_eagerly : {false, true}) {
    const Parameter w(ones({2}), "w");
    w.set_trainable(false);
    Model model = model_with(Lambda([&](const Tensor& x) { return x * w; }), run_eagerly);
    fit(model);
    w.set_trainable(true);
    for (int k = 0; k < 2; ++k)
      CHECK_THROWS_WITH_AS(fit(model), Contains("layer \"lambda\" (Lambda) uses parameter \"w\""), Error);
    w.set_trainable(false);
    fit(model);
  }
}

TEST_CASE("a planned fit refuses an unknown parameter before callbacks are called") {
  const Parameter w(ones({2}), "w");
  Model model = model_with(Lambda([&](const Tensor& x) { return x * w; }), false);
  struct Begun : Callback {
    bool begun = false;
    void on_train_begin(TrainingState&) override { begun = true; }
  };
  const auto watcher = std::make_shared<Begun>();
  CHECK_THROWS_AS(fit(model, {watcher}), Error);
  CHECK(!watcher->begun);
}

TEST_CASE("a parameter that a function makes anew in each call is refused as one that the model does not know") {
  for (const bool run_eagerly : {false, true}) {
    Model model = model_with(Lambda([](const Tensor& x) { return x * Parameter(ones({2}), "fresh"); }), run_eagerly);
    CHECK_THROWS_WITH_AS(fit(model), Contains("layer \"lambda\" (Lambda) uses parameter \"fresh\""), Error);
  }
}

TEST_CASE("a parameter that a loss uses and the model does not know is refused") {
  for (const bool run_eagerly : {false, true}) {
    const Parameter weight(ones({1}));
    const Loss weighted =
        loss("weighted", [&](const Tensor& t, const Tensor& p) { return mean(square(t - p) * weight, -1); });
    Model model = model_with(Dense(2), run_eagerly, weighted);
    CHECK_THROWS_WITH_AS(fit(model),
                         Contains("a loss uses a parameter of shape (1,), which model \"net\" does not know"), Error);
  }
}

TEST_CASE("parameters that are frozen, named by a layer, another layer's, or read without a derivative are allowed") {
  for (const bool run_eagerly : {false, true}) {
    const Parameter w(ones({2}), "w");
    Model owning = model_with(layer<Shift>(w, true), run_eagerly);
    CHECK(refusal(owning) == "");
    CHECK(w.value().values<float>()[0] != 1);

    const Dense shared(2);
    const Tensor x = input({2}, "x");
    const Tensor y = shared(x);
    Model tied(x, Dense(1)(Lambda([&](const Tensor& z) { return z * shared.parameters()[1]; })(y)));
    tied.compile({.loss = mean_squared_error(), .run_eagerly = run_eagerly});
    CHECK(refusal(tied) == "");

    const Dense teacher(2);
    teacher(ones({1, 2}));
    Model taught =
        model_with(Lambda([&](const Tensor& z) { return z + no_record([&] { return teacher(z); }); }), run_eagerly);
    CHECK(refusal(taught) == "");

    const Parameter constant(full({2}, 3.0), "constant");
    constant.set_trainable(false);
    Model frozen = model_with(layer<Shift>(constant, false), run_eagerly);
    CHECK(refusal(frozen) == "");
    CHECK(constant.value().values<float>() == std::vector<float>{3, 3});
  }
}

TEST_CASE(
    "fit refused for its data, and its trial on a row, leave the state that a layer sets in every call as it was") {
  struct Counting : Layer {
    Parameter calls;
    void build(const Shapes&) override { calls = add_state("calls", {}, zeros_initializer()); }
    Tensors call(const Tensors& inputs, const CallContext&) override {
      calls.set(calls.value() + 1.0);
      return {identity(inputs[0])};
    }
  };
  for (const bool run_eagerly : {false, true}) {
    const LayerHandle counting = layer<Counting>();
    Model model = model_with(counting, run_eagerly);
    const auto calls = [&] { return model.layer("counting").parameters()[0].value().item<double>(); };
    model.fit(ones({6, 2}), ones({6, 1}), {.epochs = 0, .verbose = 0});
    CHECK(calls() == 0);
    CHECK_THROWS_AS(model.fit(ones({6, 2}), ones({6, 3}), {.verbose = 0}), Error);
    CHECK(calls() == 0);
    fit(model);
    CHECK(calls() == 2);
  }
}
