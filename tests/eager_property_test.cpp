// Random models of layers that are planned and layers that run eagerly within the plan.
#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>

#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/eagerly.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/shaping.h>

#include "looking_layers.h"

using namespace twopass;

namespace {

constexpr std::int64_t kWidth = 6;

// A model of some layers of [n, 6] on one another; equal seeds give equal models.
class RandomModel {
 public:
  explicit RandomModel(std::uint64_t seed) : random_(seed), seed_(seed) {}

  Model model(bool eagerly) {
    const Tensor x = input({kWidth}, "x");
    known_ = {Dense(kWidth, {.activation = "tanh"})(x)};
    for (int k = 0; k < 6; ++k) add();
    known_.push_back(known_.back() + pick());
    Model made(x, Dense(1)(known_.back()), {.seed = seed_});
    made.compile({.optimizer = below(2) ? adamw({.learning_rate = 0.01, .global_clipnorm = 1})
                                        : sgd({.learning_rate = 0.05, .momentum = 0.9}),
                  .loss = mean_squared_error(),
                  .run_eagerly = eagerly});
    return made;
  }

 private:
  std::int64_t below(std::int64_t n) { return random_.integers({}, 0, n).item<std::int64_t>(); }
  Tensor pick() { return known_[static_cast<std::size_t>(below(static_cast<std::int64_t>(known_.size())))]; }

  void add() {
    const Tensor h = below(2) ? known_.back() : pick();
    switch (below(10)) {
      case 0:
        return known_.push_back(layer<Scaling>()(h));
      case 1:
        return known_.push_back(layer<Noisy>()(h));
      case 2: {
        const Tensors out = layer<Gate>().call({h});
        known_.push_back(out[0] + out[1]);
        return known_.push_back(h + cast(expand_dims(out[2], -1), f32) * 0.1);
      }
      case 3:
        return known_.push_back(layer<Gate>().call({h})[static_cast<std::size_t>(below(2))]);
      case 4: {
        const LayerHandle shared = layer<Scaling>();
        return known_.push_back(shared(Dropout(0.25)(shared(h))));
      }
      case 5: {
        const Tensor x = input({kWidth}, "inner");
        const Model inner(x, layer<Noisy>()(Dense(kWidth, {.activation = "relu"})(layer<Scaling>()(x))));
        return known_.push_back(inner(h));
      }
      case 6:
        return known_.push_back(BatchNormalization()(h));
      case 7:
        return known_.push_back(Dropout(0.3)(h));
      case 8:
        return known_.push_back(Dense(kWidth, {.activation = "relu"})(h) + pick());
      default:
        return known_.push_back(
            Lambda([](const Tensor& at) { return !at.shape().open() && large(at) ? at * 0.5 : at * 1.5; })(h));
    }
  }

  Random random_;
  std::uint64_t seed_;
  Tensors known_;
};

std::vector<double> weights_of(const Model& model) {
  std::vector<double> all;
  for (const Parameter& each : model.parameters())
    for (const double value : each.value().values<double>()) all.push_back(value);
  return all;
}

}  // namespace

TEST_CASE("random models of layers that look at values and layers that do not train planned as they do op by op") {
  int eager_calls = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    Model planned = RandomModel(seed).model(false), op_by_op = RandomModel(seed).model(true);
    const Tensor rows = Random(seed + 1).normal({40, kWidth}), targets = Random(seed + 2).normal({40, 1});
    const Plan step = planned.step_plan(rows, targets);
    CHECK(weights_of(planned) == weights_of(op_by_op));
    const std::string text = step.text();
    for (std::size_t at = text.find("runs eagerly"); at != std::string::npos; at = text.find("runs eagerly", at + 1))
      ++eager_calls;
    // The plan itself, so that nothing hides that fit might run a step op by op that a plan refuses.
    for (int k = 0; k < 2; ++k) step({rows, targets, tensor(k), tensor(0.01, f64), tensor(k + 1.0, f64)});
    Model fresh = RandomModel(seed).model(false);
    const FitOptions options{.epochs = 2, .batch_size = 16, .validation_split = 0.2, .verbose = 0};
    CHECK(fresh.fit(rows, targets, options)["val_loss"] == op_by_op.fit(rows, targets, options)["val_loss"]);
    CHECK(weights_of(fresh) == weights_of(op_by_op));
    CHECK(fresh.predict(rows).values<float>() == op_by_op.predict(rows).values<float>());
  }
  CHECK(eager_calls > 100);
}

TEST_CASE("functions of several outputs called eagerly have the bits and gradients that they have without a plan") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    const auto f = [seed](const Tensors& in) -> Tensors {
      Random random(seed);
      const auto below = [&](std::int64_t n) { return random.integers({}, 0, n).item<std::int64_t>(); };
      Tensors known = in;
      for (int k = 0; k < 8; ++k) {
        const auto pick = [&] {
          return known[static_cast<std::size_t>(below(static_cast<std::int64_t>(known.size())))];
        };
        const auto look = [&, scale = random.normal({3, 3})](const Tensors& at) -> Tensors {
          const Tensor a = at[0] * 1.0;
          return {large(a) ? tanh(a) : a * 0.5, matmul(a, scale), argmax(a, -1), sin(a) * (large(at[1]) ? 1.0 : 2.0)};
        };
        if (below(2)) {
          known.push_back(pick() * pick() * 0.5);
          continue;
        }
        const Tensors more = eagerly(look, {pick(), pick()});
        known.push_back(more[0] * more[3]);
        known.push_back(more[1] + cast(more[2], f32));
      }
      Tensors at;
      for (const Tensor& x : in) at.push_back(x);
      Tensor total;
      for (const Tensor& x : known) total = total.defined() ? total + mean(x) : mean(x);
      Tensors found = gradients(total, at);
      for (const Tensor& x : known) found.push_back(detach(x));
      return found;
    };
    const Tensors in{Random(seed + 5).normal({3, 3}), Random(seed + 6).normal({3, 3})};
    Tensors variables;
    for (const Tensor& x : in) variables.push_back(variable(x));
    const Tensors op_by_op = f(variables), planned = plan(f, in)(in);
    REQUIRE(planned.size() == op_by_op.size());
    for (std::size_t k = 0; k < planned.size(); ++k) CHECK(planned[k].values<float>() == op_by_op[k].values<float>());
  }
}
