// Layers of one's own that are made of layers: handles that are called in a layer's call.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/dot/dot.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

using namespace twopass;
using doctest::Contains;

namespace {

using Parts = std::vector<std::pair<std::string, LayerPointer>>;

// Two dense layers, each called by its handle, with the context or without, or run.
struct Two : Layer {
  enum class How { context, plain, run };
  How how;
  LayerHandle a = Dense(4, {.activation = "tanh"}), b = Dense(4);
  explicit Two(How by = How::context) : how(by) {}
  Tensors call(const Tensors& in, const CallContext& context) override {
    if (how == How::run) return b->run(a->run(in, context), context);
    return {how == How::context ? b(a(in, context), context) : b(a(in))};
  }
  Parts parts() const override { return {{"a", a.pointer()}, {"b", b.pointer()}}; }
  std::string type() const override { return "Two"; }
};

// A layer of that, called by its handle too.
struct Deep : Layer {
  LayerHandle two = layer<Two>();
  Tensors call(const Tensors& in, const CallContext& context) override { return {two(in, context)}; }
  Parts parts() const override { return {{"two", two.pointer()}}; }
  std::string type() const override { return "Deep"; }
};

// A part that looks at values.
struct Halves : Layer {
  LayerHandle a = Lambda([](const Tensor&x) { return mean(x).item<double>() > 0 ? x * 0.5 : x; }), b = Dense(3);
  Tensors call(const Tensors& in, const CallContext& context) override { return {b(a(in, context), context)}; }
  Parts parts() const override { return {{"a", a.pointer()}, {"b", b.pointer()}}; }
};

// A part that looks at values and has weights.
struct Gate : Layer {
  struct Gated : Layer {
    Parameter factor;
    void build(const Shapes&) override { factor = add_weight("factor", {}, ones_initializer()); }
    Tensors call(const Tensors& in, const CallContext&) override {
      return {mean(in[0]).item<double>() > 0 ? in[0] * factor : in[0]};
    }
    std::string type() const override { return "Gated"; }
  };
  LayerHandle gated = layer<Gated>();
  Tensors call(const Tensors& in, const CallContext& context) override { return {gated(in, context)}; }
  Parts parts() const override { return {{"gated", gated.pointer()}}; }
};

// Makes a model of layers when it is called first.
struct Lazy : Layer {
  std::vector<LayerHandle> model;
  Tensors call(const Tensors& in, const CallContext& context) override {
    if (model.empty()) {
      const Tensor x = input({4}, "inside");
      model.push_back(Model(x, Dense(2)(Dense(3)(x))));
    }
    return {model[0](in, context)};
  }
  Parts parts() const override { return model.empty() ? Parts() : Parts{{"model", model[0].pointer()}}; }
};

Tensor x_of(std::int64_t size) { return input({size}, "x"); }

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

}  // namespace

TEST_CASE("pictures show what layers inside a layer do, however they are called") {
  for (const Two::How how : {Two::How::context, Two::How::plain, Two::How::run})
    for (const bool behind : {false, true})
      for (const bool before : {false, true}) {
        CAPTURE(static_cast<int>(how));
        CAPTURE(behind);
        CAPTURE(before);
        const Tensor x = x_of(4);
        const Tensor y = layer<Two>(how)(before ? Dense(4)(x) : x);
        const Model model(x, behind ? Dense(1)(y) : y);
        const int dense = 2 + behind + before;
        const std::string ops = to_dot(model, {.level = DotLevel::op});
        CHECK(count(ops, "kernel\\n") == dense);
        CHECK(count(ops, "label=\"a/kernel\\n(4, 4) f32\"") == 1);
        CHECK(count(ops, "label=\"b/kernel\\n(4, 4) f32\"") == 1);
        const std::string both = to_dot(model, {.level = DotLevel::backward, .batch_size = 2});
        CHECK(count(both, "label=\"two/a/kernel\\n(4, 4) f32\"") == 1);
        CHECK(count(both, "d loss / d two/a/kernel") == 1);
        // A product for each kernel, and one to hand on for each layer but the first.
        CHECK(count(both, "label=\"matmul") == 2 * dense - 1);
        CHECK(to_dot(model).find("Two") != std::string::npos);
      }
}

TEST_CASE("pictures show the ops of layers that are made of layers made of layers") {
  const Tensor x = x_of(4);
  const Model model(x, layer<Deep>()(x));
  CHECK(count(to_dot(model, {.level = DotLevel::op}), "label=\"two/b/kernel\\n") == 1);
  const std::string both = to_dot(model, {.level = DotLevel::backward, .batch_size = 2});
  CHECK(count(both, "label=\"deep/two/a/kernel\\n") == 1);
  CHECK(count(both, "label=\"matmul") == 3);
}

TEST_CASE(
    "a layer with a part that looks at values has its shapes, trains, and is drawn as a box, not differentiated") {
  const Tensor x = x_of(4);
  const Tensor y = layer<Halves>()(x);
  CHECK(y.shape() == Shape{kOpen, 3});
  Model model(x, y, {.seed = 1});
  CHECK(count(to_dot(model, {.level = DotLevel::op}), "label=\"Lambda") == 1);
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  const History history = model.fit(ones({8, 4}), ones({8, 3}), {.epochs = 20, .verbose = 0});
  CHECK(history["loss"].back() < history["loss"].front());
  const Model gate(x, Dense(1)(layer<Gate>()(x)));
  CHECK(count(to_dot(gate, {.level = DotLevel::op}), "label=\"Gated") == 1);
  CHECK_THROWS_WITH_AS(
      to_dot(gate, {.level = DotLevel::backward}),
      "to_dot: the backward pass of model \"model\" cannot be drawn, as a Gated layer inside another looks at values",
      Error);
}

TEST_CASE("a layer may make a model of layers in its call") {
  const Tensor x = x_of(4);
  const Model model(x, layer<Lazy>()(x));
  CHECK(model.named_parameters().size() == 4);
  CHECK(model.named_parameters()[2].first == "lazy/model/dense_1/kernel");
  CHECK(model(ones({2, 4})).shape() == Shape{2, 2});
  CHECK(count(to_dot(model, {.level = DotLevel::op}), "kernel") == 2);
}

TEST_CASE("plans know parameters and slots of layers inside layers by the names that the model has for them") {
  for (const Two::How how : {Two::How::context, Two::How::plain, Two::How::run}) {
    const Tensor x = x_of(4);
    const Model inner(x, Dense(4)(layer<Two>(how)(x)), {.name = "inner"});
    Model model(x, Dense(1)(layer<Deep>()(inner(x))), {.seed = 1});
    model.compile({.optimizer = adam(), .loss = mean_squared_error()});
    const std::string text = model.step_plan(ones({2, 4}), ones({2, 1})).text();
    CAPTURE(text);
    const auto named = model.named_parameters();
    CHECK(named.size() == 12);
    for (const auto& each : named) {
      const std::string& path = each.first;
      CAPTURE(path);
      CHECK(count(text, "= parameter \"" + path + "\"\n") == 1);
      CHECK(count(text, "sets \"" + path + "\" to") == 1);
      for (const char* slot : {"momentum", "velocity"}) {
        CHECK(count(text, "= parameter \"adam/" + path + "/" + slot + "\"\n") == 1);
        CHECK(count(text, "sets \"adam/" + path + "/" + slot + "\" to") == 1);
      }
    }
    CHECK(text.find("; inner/two/a") != std::string::npos);
    CHECK(text.find("; deep/two/b") != std::string::npos);
  }
}

TEST_CASE("two parts of one name are refused where a model is made of them, before anything is trained") {
  struct Twins : Layer {
    LayerHandle a = Dense(4), b = Dense(4);
    Tensors call(const Tensors& in, const CallContext& context) override { return {b(a(in, context), context)}; }
    Parts parts() const override { return {{"a", a.pointer()}, {"a", b.pointer()}}; }
    std::string type() const override { return "Twins"; }
  };
  const Tensor x = input({4});
  const Tensor y = layer<Twins>()(x);
  CHECK_THROWS_WITH_AS(Model(x, y), Contains("layer class Twins: two weights are named \"a/kernel\""), Error);
}
