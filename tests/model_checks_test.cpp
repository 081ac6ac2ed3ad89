// Gradient checks of models of all kinds: none that is right is called wrong, and what is slightly wrong is found.
#include <doctest/doctest.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/layers/attention.h>
#include <twopass/graph/layers/convolutional.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/layers/pooling.h>
#include <twopass/graph/layers/recurrent.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/softmax.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace twopass;

namespace {

constexpr std::int64_t kRows = 6;

// The outputs of a model of these inputs.
struct Topology {
  std::string name;
  std::vector<Tensor> inputs;
  std::function<Tensors(const Tensors&)> outputs;
};

Tensor votes(const Tensor& x) {
  Tensors all;
  for (int k = 0; k < 3; ++k)
    all.push_back(Dense(3, {.activation = "softmax"})(Dropout(0.2)(Dense(7, {.activation = "relu"})(x))));
  return Average()(all);
}

Tensor residual(Tensor y) {
  for (int k = 0; k < 4; ++k) y = Add()({y, Dense(6)(Dense(6, {.activation = "relu"})(BatchNormalization()(y)))});
  return y;
}

Tensor convolved(const Tensor& x) {
  const Tensor y = BatchNormalization({.axis = 1})(Conv2D(3, {3, 3}, {.padding = "same", .activation = "relu"})(x));
  return Flatten()(Conv2D(2, {2, 2}, {.activation = "tanh"})(MaxPooling2D(2)(y)));
}

std::vector<Topology> topologies() {
  const auto row = [] { return input({6}, "x"); };
  return {
      {"sequential",
       {row()},
       [](const Tensors& x) -> Tensors { return {Dense(3)(Dense(8, {.activation = "relu"})(x[0]))}; }},
      {"ensemble", {row()}, [](const Tensors& x) -> Tensors { return {votes(x[0])}; }},
      {"several inputs",
       {row(), input({4}, "facts")},
       [](const Tensors& x) -> Tensors {
         return {
             Dense(3)(Concatenate()({Dense(5, {.activation = "relu"})(x[0]), Dense(3, {.activation = "tanh"})(x[1])}))};
       }},
      {"several labels",
       {row()},
       [](const Tensors& x) -> Tensors {
         const Tensor trunk = Dense(9, {.activation = "relu"})(x[0]);
         return {Dense(3, {.activation = "softmax"})(trunk), Dense(2, {.activation = "sigmoid"})(trunk)};
       }},
      {"residual", {row()}, [](const Tensors& x) -> Tensors { return {Dense(3)(residual(x[0]))}; }},
      {"batch normalisation and dropout",
       {row()},
       [](const Tensors& x) -> Tensors {
         const Tensor y = Dropout(0.4)(Activation("relu")(BatchNormalization()(Dense(8)(x[0]))));
         return {Dense(3)(LayerNormalization()(y))};
       }},
      {"recurrent",
       {input({5, 3}, "steps")},
       [](const Tensors& x) -> Tensors { return {Dense(3)(GRU(3)(LSTM(4, {.return_sequences = true})(x[0])))}; }},
      {"convolutional",
       {input({2, 6, 6}, "image")},
       [](const Tensors& x) -> Tensors { return {Dense(3)(convolved(x[0]))}; }},
      {"embedding",
       {input({4}, "words", i64)},
       [](const Tensors& x) -> Tensors { return {Dense(3)(LSTM(4)(Embedding(7, 3)(x[0])))}; }},
      {"attention",
       {input({4, 6}, "steps")},
       [](const Tensors& x) -> Tensors {
         return {Dense(3)(
             GlobalAveragePooling1D({.channels_last = true})(LayerNormalization()(MultiHeadAttention(2, 3)(x[0]))))};
       }},
  };
}

GradcheckReport checked(const Topology& topology, std::uint64_t seed, bool in_f32) {
  Tensors outputs = topology.outputs(topology.inputs), inputs, targets;
  const Tensor one = tensor(1.0f);  // caught by a layer, which then takes f32 alone
  if (in_f32)
    for (Tensor& y : outputs) y = Lambda([one](const Tensor& t) { return t * one; })(y);
  Model model(topology.inputs, outputs, {.seed = seed});
  model.compile({.loss = seed % 2 ? mean_squared_error() : huber()});
  Random random(seed);
  for (const Tensor& x : topology.inputs) {
    const Shape shape = x.shape().with(0, kRows);
    inputs.push_back(x.dtype() == i64 ? cast(random.uniform(shape, f64, 0, 6.99), i64) : random.normal(shape));
  }
  for (const Tensor& y : outputs) targets.push_back(random.normal(y.shape().with(0, kRows)));
  return model.check_gradients(inputs, targets, {.seed = seed});
}

// tanh, with a gradient that is off by a share: in all of it, where x is positive, or by what passes to the neighbour.
class Off : public Layer {
 public:
  Off(double share, int kind) : share_(share), kind_(kind) {}
  Tensors call(const Tensors& inputs, const CallContext&) override {
    const auto rule = [share = share_, kind = kind_](const Tensors& in, const Tensor& y, const Tensor& g) {
      const Tensor right = g * (1.0 - square(y));
      if (kind == 0) return Tensors{right * (1.0 + share)};
      if (kind == 1) return Tensors{right + right * cast(greater(in[0], zeros_like(in[0])), right.dtype()) * share};
      return Tensors{right + g * in[0] * share};
    };
    return {custom_gradient([](const Tensors& in) { return tanh(in[0]); }, rule)(inputs)};
  }

 private:
  double share_;
  int kind_;
};

}  // namespace

TEST_CASE("models of every topology are not called wrong, whatever their seed, in f64 and in f32") {
  for (const Topology& topology : topologies())
    for (std::uint64_t seed = 1; seed <= 2; ++seed)
      for (const bool in_f32 : {false, true}) {
        CAPTURE(topology.name);
        CAPTURE(seed);
        CAPTURE(in_f32);
        const GradcheckReport report = checked(topology, seed, in_f32);
        CAPTURE(report.text());
        CHECK(!report.wrong());
        CHECK(!report.pairs().empty());
        if (!in_f32) CHECK(report.ok());
      }
}

TEST_CASE("in the midst of a deep model a gradient that is off by 1e-3 to 1e-6 is found, and its layer blamed") {
  for (const double share : {1e-3, 1e-4, 1e-5, 1e-6})
    for (const int kind : {0, 1, 2})
      for (const bool deep : {false, true}) {
        CAPTURE(share);
        CAPTURE(kind);
        CAPTURE(deep);
        const LayerHandle off = layer<Off>(share, kind);
        const Tensor x = deep ? input({6}) : input({5, 3});
        Tensor y = x;
        if (deep) {
          for (int k = 0; k < 12; ++k) {
            y = Dense(8, {.activation = k % 2 ? "relu" : "tanh"})(y);
            if (k == 5) y = off(y);
          }
        } else {
          y = GRU(3)(off(LSTM(4, {.return_sequences = true})(x)));
        }
        Model model(x, Dense(2)(y), {.seed = 3});
        model.compile({.loss = mean_squared_error()});
        const GradcheckReport report =
            model.check_gradients(Random(4).normal(x.shape().with(0, 5)), Random(5).normal({5, 2}));
        CAPTURE(report.text());
        CHECK(report.wrong());
        REQUIRE(report.culprits().size() == 1);
        CHECK(report.culprits()[0].op == "custom_gradient");
        CHECK(report.culprits()[0].layer.find("off") != std::string::npos);
      }
}
