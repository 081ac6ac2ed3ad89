// Plans, predictions and models inside of layers that run eagerly, and plans inside of plans.
#include <doctest/doctest.h>

#include <twopass/core/error.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/eagerly.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

using namespace twopass;
using doctest::Contains;

namespace {

using Values = std::vector<double>;

Values weights_of(const Model& model) {
  Values all;
  for (const Parameter& each : model.parameters())
    for (const double value : each.value().values<double>()) all.push_back(value);
  return all;
}

Model teacher_of() {
  const Tensor x = input({4}, "x");
  return {x, Dense(4, {.activation = "tanh"})(x), {.seed = 9}};
}

// Looks at what another model predicts, and then calls that model, so that its weights have gradients.
struct Guided : Layer {
  Model teacher = teacher_of();
  std::vector<std::pair<std::string, LayerPointer>> parts() const override { return {{"teacher", teacher.pointer()}}; }
  Tensors call(const Tensors& in, const CallContext&) override {
    if (in[0].shape().open()) return {in[0]};
    const bool up = mean(teacher.predict(detach(in[0]))).item<double>() > 0;
    const Tensor h = teacher(in[0]);
    return {up ? h * 2.0 : h - 1.0};
  }
};

// The same with a plan of its own, of which it also sets a state.
struct Planning : Layer {
  Parameter w, seen;
  void build(const Shapes&) override {
    w = add_weight("w", {4}, [](const Shape& s, DType d, Random& random) { return random.normal(s, d); });
    seen = add_state("seen", {}, [](const Shape& s, DType d, Random&) { return zeros(s, d); });
  }
  Tensors call(const Tensors& in, const CallContext& context) override {
    if (in[0].shape().open()) return {in[0]};
    const Tensor plain = detach(in[0]);
    const Plan own = plan(
        [&](const Tensors& x) -> Tensors {
          const Tensor found = mean(x[0] * w);
          if (context.training) seen.set(seen + found);
          return {found};
        },
        {plain});
    const double found = own({plain})[0].item<double>();
    return {found > 0 ? in[0] * w : in[0] * w * 0.5 + seen.tensor() * 0.1};
  }
};

template <typename L>
void check_trained() {
  std::vector<Values> weights;
  const Tensor rows = Random(1).normal({32, 4}), targets = Random(2).normal({32, 1});
  for (const bool eagerly : {false, true}) {
    const Tensor x = input({4}, "x");
    Model model(x, Dense(1)(layer<L>()(Dense(4)(x))), {.seed = 2});
    model.compile({.optimizer = adam({.learning_rate = 0.1}), .loss = mean_squared_error(), .run_eagerly = eagerly});
    if (!eagerly) {
      const Plan step = model.step_plan(rows, targets);  // weights have not been drawn by then
      CHECK(step.text().find("runs eagerly") != std::string::npos);
      Model other(x, Dense(1)(layer<L>()(Dense(4)(x))), {.seed = 2});
      CHECK(weights_of(model) == weights_of(other));
      step({rows, targets, tensor(0), tensor(0.1, f64), tensor(1.0, f64)});
      other.compile({.optimizer = adam({.learning_rate = 0.1}), .loss = mean_squared_error(), .run_eagerly = true});
      other.fit(rows, targets, {.epochs = 1, .batch_size = 32, .shuffle = false, .verbose = 0});
      CHECK(weights_of(model) == weights_of(other));
    }
    Model fresh(x, Dense(1)(layer<L>()(Dense(4)(x))), {.seed = 2});
    fresh.compile({.optimizer = adam({.learning_rate = 0.1}), .loss = mean_squared_error(), .run_eagerly = eagerly});
    fresh.fit(rows, targets, {.epochs = 4, .batch_size = 16, .validation_split = 0.25, .verbose = 0});
    weights.push_back(weights_of(fresh));
    for (const double value : fresh.predict(rows).template values<double>()) weights.back().push_back(value);
  }
  CHECK(weights[0] == weights[1]);
}

}  // namespace

TEST_CASE("a layer that predicts with a model whose weights are not drawn yet gives them their gradients in a plan") {
  check_trained<Guided>();
}

TEST_CASE("a layer that makes and runs a plan of its own in each call trains planned as op by op") {
  check_trained<Planning>();
}

TEST_CASE("a plan that a function makes while it runs eagerly holds no weights of that run") {
  const Parameter w(tensor({2.0}), "w");
  std::optional<Plan> kept;
  const auto f = [&](const Tensors& in) {
    if (!kept) kept = plan([&](const Tensors& x) -> Tensors { return {x[0] * w}; }, in);
    return (*kept)({detach(in[0])})[0] + (in[0].at<double>(0) > 100 ? 1.0 : 2.0);
  };
  const Plan step = plan([&](const Tensors& in) -> Tensors { return {eagerly(f, in)}; }, {ones({1})});
  kept.reset();
  CHECK(step({tensor({3.0})})[0].item<double>() == 8);
  w.set(tensor({5.0}));
  CHECK((*kept)({tensor({3.0})})[0].item<double>() == 15);
  CHECK(step({tensor({3.0})})[0].item<double>() == 17);
  const Substitution other({w}, {tensor({7.0})});
  CHECK((*kept)({tensor({3.0})})[0].item<double>() == 21);
}

TEST_CASE("a plan that is made where parameters have other values reads them anew in each run") {
  const Parameter w(tensor({2.0}), "w");
  const auto twice = [&](const Tensors& x) -> Tensors { return {x[0] * w}; };
  const Plan made = [&] {
    const Substitution other({w}, {tensor({7.0})});
    return plan(twice, {ones({1})});
  }();
  CHECK(made({ones({1})})[0].item<double>() == 2);
}

TEST_CASE("a checkpoint whose function runs a plan first has the gradients of what it computes after that") {
  const Parameter w(tensor({2.0}), "w");
  const Plan look = plan([&](const Tensors& x) -> Tensors { return {x[0] * w}; }, {ones({1})});
  const auto f = [&](const Tensors& in) {
    return look({detach(in[0])})[0].item<double>() > 0 ? square(in[0] * w) : in[0];
  };
  const Tensor x = variable(tensor({3.0}));
  const Gradients found = backward(sum(checkpoint(FunctionOfTensors(f), {x})));
  CHECK(found[x].item<double>() == 24);
  CHECK(found[w].item<double>() == 36);
}

TEST_CASE("training a model in a function that runs eagerly within a plan is refused, and it runs op by op") {
  const Tensor x = input({4}, "x");
  Model inner = teacher_of();
  inner.compile({.loss = mean_squared_error()});
  const auto training = [&](const Tensor& h) {
    if (h.shape().open()) return h;
    inner.fit(detach(h), zeros(h.shape()), {.verbose = 0});
    return h * 1.0;
  };
  const auto in_plan = [&](const Tensors& in) -> Tensors {
    return {eagerly([&](const Tensors& at) { return training(at[0]); }, in)};
  };
  const Values before = weights_of(inner);
  CHECK_THROWS_WITH_AS(plan(in_plan, {ones({2, 4})}),
                       Contains("is trained in a function that a plan is made of, or that runs eagerly within one"),
                       Error);
  CHECK(weights_of(inner) == before);
  Model outer(x, Dense(1)(Lambda(training)(x)));
  outer.compile({.loss = mean_squared_error()});
  outer.fit(ones({2, 4}), ones({2, 1}), {.verbose = 0});
  CHECK(weights_of(inner) != before);
}

TEST_CASE("a plan that is called while another is traced is what its function was, derivatives and updates included") {
  const Parameter w(tensor({2.0}), "w"), count(tensor(0.0), "count");
  count.set_trainable(false);
  const PlanFunction f = [&](const Tensors& in) -> Tensors {
    count.set(count + 1.0);
    return {square(in[0] * w) + detach(in[0]) + w.value(), in[0] * count};
  };
  const Plan inner = plan(f, {ones({2})});
  const auto outer_of = [&](const PlanFunction& called) {
    return plan(
        [&, called](const Tensors& in) -> Tensors {
          const Tensors y = called({in[0] + 1.0}), z = called({y[0]});
          const Tensor total = sum(y[1] * z[0] + z[1]);
          const Gradients found = backward(total);
          w.set(w + 1.0);
          return {y[0], z[0], y[1], z[1], found[in[0]], found[w]};
        },
        {ones({2})});
  };
  std::vector<Values> results[2];
  for (const bool inlined : {false, true}) {
    w.set(tensor({2.0}));
    count.set(tensor(0.0));
    const Plan outer = outer_of(inlined ? [&](const Tensors& in) { return inner(in); } : f);
    for (int k = 0; k < 2; ++k)
      for (const Tensor& each : outer({tensor({3.0, -1.0})})) results[inlined].push_back(each.values<double>());
    CHECK(count.value().item<double>() == 4);
    CHECK(w.value().item<double>() == 4);
  }
  CHECK(results[0] == results[1]);
  CHECK(results[1][0] == Values{70, 2});  // (4 * 2)² + 4 + 2, 0 + 0 + 2
}

TEST_CASE("a plan with functions that run eagerly is called while another is traced, and both run by themselves") {
  const Parameter w(tensor({2.0}), "w");
  const auto parts = [&](const Tensors& in) -> Tensors {
    return {in[0].at<double>(0) > 0 ? in[0] * in[0] * w : in[0] * w, in[0] * w};
  };
  const Plan inner = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensors y = eagerly(parts, in);
        return {y[0] + y[1], gradients(sum(y[0] * y[1]), {in[0]}, {.record = true})[0]};
      },
      {ones({1})});
  const Plan outer = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensors y = inner(in);
        const Gradients found = backward(sum(y[0] + y[1]));
        return {y[0], y[1], found[in[0]], found[w]};
      },
      {ones({1})});
  for (int k = 0; k < 2; ++k) {
    const Tensors own = inner({tensor({3.0})}), found = outer({tensor({3.0})});
    CHECK(own[0].item<double>() == 24);   // x² w + x w
    CHECK(own[1].item<double>() == 108);  // 3 x² w²
    CHECK(found[0].item<double>() == 24);
    CHECK(found[1].item<double>() == 108);
    CHECK(found[2].item<double>() == 14 + 72);   // 2 x w + w, 6 x w²
    CHECK(found[3].item<double>() == 12 + 108);  // x² + x, 6 x² w
  }
}

TEST_CASE("a plan may be made while another is traced, and be called there") {
  const Parameter w(tensor({2.0}), "w");
  const Plan outer = plan(
      [&](const Tensors& in) -> Tensors {
        const Plan inner = plan([&](const Tensors& x) -> Tensors { return {x[0] * w}; }, in);
        const Tensor y = sum(inner(in)[0]);
        return {y, backward(y)[w]};
      },
      {ones({2})});
  const Tensors found = outer({tensor({3.0, 4.0})});
  CHECK(found[0].item<double>() == 14);
  CHECK(found[1].item<double>() == 7);
}

TEST_CASE(
    "what a plan computes from recorded inputs would have no derivative, so it refuses them and says what to do") {
  const Plan twice = plan([](const Tensors& in) -> Tensors { return {in[0] * 2.0}; }, {ones({1})});
  const Tensor x = variable(tensor({3.0}));
  CHECK_THROWS_WITH_AS(twice({x}), Contains("take it in the plan's function, or give the plan detach(x)"), Error);
  CHECK(twice({detach(x)})[0].item<double>() == 6);
  CHECK(no_record([&] { return twice({x}); })[0].item<double>() == 6);
}

TEST_CASE("a plan's function that updates weights by apply, or times another plan, is refused, and nothing changes") {
  const Parameter w(ones({3, 1}), "w");
  const Tensor x = ones({4, 3});
  for (const Optimizer& optimizer : {sgd(), adam()}) {
    const auto step = [&](const Tensors& in) -> Tensors {
      const Tensor loss = mean(square(matmul(in[0], w)));
      optimizer.apply(backward(loss), {w});
      return {loss};
    };
    CHECK_THROWS_WITH_AS(plan(step, {x}),
                         (optimizer.name() + ": apply reads elements, which a plan's function has none of: "
                                             "trace_update makes the update a part of the plan")
                             .c_str(),
                         Error);
    CHECK(optimizer.iterations() == 0);
  }
  CHECK(w.value().values<double>() == Values{1, 1, 1});
  const Plan inner = plan([](const Tensors& in) -> Tensors { return {exp(in[0])}; }, {x});
  for (const bool given : {true, false})
    CHECK_THROWS_WITH_AS(
        plan(
            [&](const Tensors& in) -> Tensors {
              given ? inner.profile({in[0]}) : inner.profile();
              return {in[0]};
            },
            {x}),
        "profile: a plan is timed in the function of another plan, where nothing runs: time it outside", Error);
}

TEST_CASE("a model predicts as a part of a plan, without derivatives, and cannot be trained there") {
  Model teacher = teacher_of();
  teacher.compile({.loss = mean_squared_error()});
  const Parameter w(ones({4}), "w");
  const Tensor x = Random(1).normal({3, 4});
  const auto f = [&](const Tensors& in) -> Tensors {
    const Tensor target = teacher.predict(in[0] * w);
    const Gradients found = backward(mean(square(in[0] * w - target)));
    return {target, found[w]};
  };
  const Plan step = plan(f, {x});
  const Tensors planned = step({x}), op_by_op = f({x});
  for (std::size_t k = 0; k < 2; ++k) CHECK(planned[k].values<double>() == op_by_op[k].values<double>());
  CHECK_THROWS_WITH_AS(plan(
                           [&](const Tensors& in) -> Tensors {
                             teacher.fit(x, x, {.verbose = 0});
                             return in;
                           },
                           {x}),
                       Contains("is trained in a function that a plan is made of"), Error);
}
