#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/random.h>
#include <twopass/core/threads.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/eagerly.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/draws.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/random.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

using namespace twopass;
using doctest::Contains;

namespace {

using Values = std::vector<double>;

// While a model is made, sizes are open and there is nothing to be read.
bool large(const Tensor& x) {
  return !x.shape().open() && sum(x * x).item<double>() > 8.0 * static_cast<double>(x.shape()[0]);
}

// One of two layers, as the input is large or small.
struct Either : Layer {
  Parameter shift, first, second;
  void build(const Shapes& in) override {
    const auto normal = [](const Shape& shape, DType dtype, Random& random) {
      return random.normal(shape, dtype, 0, 0.3);
    };
    shift = add_weight("shift", {in[0][1]}, normal);
    first = add_weight("first", {in[0][1], 8}, normal);
    second = add_weight("second", {in[0][1], 8}, normal);
  }
  Tensors call(const Tensors& in, const CallContext& context) override {
    Tensor x = in[0] + shift;
    if (context.training) x = dropout(x, 0.25, context.seed, context.step);
    return {tanh(matmul(x, large(x) ? first.tensor() : second.tensor()))};
  }
};

struct Trained {
  std::vector<Values> found;
  std::string plan;  // its text, or why there is none
};

// Losses, predictions and weights of a model that is trained planned, or op by op.
Trained trained(bool eagerly, const std::function<Tensor(const Tensor&)>& body, const Loss& with = mean_squared_error(),
                const MetricMap& metrics = {}) {
  const Tensor x = input({8}, "x");
  Model model(x, Dense(1)(body(Dense(8, {.activation = "tanh"})(x))), {.seed = 5});
  model.compile({.optimizer = adam({.learning_rate = 0.02}), .loss = with, .metrics = metrics, .run_eagerly = eagerly});
  const Tensor inputs = Random(3).normal({72, 8}), targets = Random(4).normal({72, 1});
  Trained result;
  try {
    result.plan = model.step_plan(slice(inputs, 0, 0, 16), slice(targets, 0, 0, 16)).text();
  } catch (const Error& error) {
    result.plan = error.what();
  }
  const History history =
      model.fit(inputs, targets, {.epochs = 4, .batch_size = 16, .validation_split = 0.2, .verbose = 0});
  for (const std::string& name : history.names()) result.found.push_back(history[name]);
  result.found.push_back(model.predict(inputs).values<double>());
  for (const Parameter& each : model.parameters()) result.found.push_back(each.value().values<double>());
  return result;
}

// Training planned is training op by op, to the bit; what the plan says.
std::string same_planned(const std::function<Tensor(const Tensor&)>& body, const Loss& with = mean_squared_error(),
                         const MetricMap& metrics = {}) {
  const Trained planned = trained(false, body, with, metrics), op_by_op = trained(true, body, with, metrics);
  REQUIRE(planned.found.size() == op_by_op.found.size());
  for (std::size_t k = 0; k < planned.found.size(); ++k) {
    CAPTURE(k);
    CHECK(planned.found[k] == op_by_op.found[k]);
  }
  return planned.plan;
}

}  // namespace

TEST_CASE("a layer that looks at values is part of a model: its shapes are asked for with ones, weights undrawn") {
  const auto either = [](const Tensor& h) { return mean(h).item<float>() > 0 ? h * 2.0 : concat({h, h}, 1); };
  const Tensor x = input({3}, "x");
  const auto model_of = [&] {
    Model model(x, Dense(2)(Lambda([](const Tensor& h) {
                  return mean(h).item<float>() > 0.1 ? h * 2.0 : square(h);
                })(Dense(4)(x))),
                {.seed = 5});
    return model;
  };
  CHECK(Lambda(either)(x).shape() == Shape({kOpen, 3}));
  Model planned = model_of(), eager = model_of();
  CHECK(planned.outputs()[0].shape() == Shape({kOpen, 2}));
  planned.compile({.loss = mean_squared_error()});
  eager.compile({.loss = mean_squared_error(), .run_eagerly = true});
  const Tensor rows = Random(1).normal({8, 3}), targets = Random(2).normal({8, 2});
  const FitOptions options{.epochs = 3, .verbose = 0};
  CHECK(planned.fit(rows, targets, options)["loss"] == eager.fit(rows, targets, options)["loss"]);
  CHECK(planned.step_plan(rows, targets).text().find("lambda; runs eagerly") != std::string::npos);
}

TEST_CASE("a layer that reads values runs eagerly within the plan, which says so, and trains to the bits of op by op") {
  const auto gated = [](const Tensor& h) { return large(h * 10.0) ? h * 0.5 : h; };
  const std::string text = same_planned([&](const Tensor& h) { return Lambda(gated)(h); });
  CHECK(text.find("lambda; runs eagerly: a symbol of shape () has no elements") != std::string::npos);
  CHECK(text.find("affine_tanh") != std::string::npos);
}

TEST_CASE("parameters of a layer that runs eagerly have their gradients, and its draws are those of op by op") {
  const std::string text = same_planned([](const Tensor& h) { return layer<Either>()(h * 0.1); });
  CHECK(text.find("either; runs eagerly") != std::string::npos);
}

TEST_CASE("a layer that reads other parameters in another step trains to the bits of op by op") {
  bool small = false, big = false;
  const auto swinging = [&](const Tensor& x) {
    if (x.shape().open()) return x;
    const bool up = x.at<double>(0) > 0;
    (up ? big : small) = true;
    return x * (up ? 20.0 : 0.1);
  };
  const std::string text = same_planned([&](const Tensor& h) { return layer<Either>()(Lambda(swinging)(h)); });
  CHECK(text.find("either; runs eagerly") != std::string::npos);
  CHECK((small && big));
}

TEST_CASE("a nested model with a layer that reads values, a shared one and a normalisation beside it are planned") {
  const std::string text = same_planned([](const Tensor& h) {
    const Tensor x = input({8}, "inner");
    const LayerHandle shared = Lambda([](const Tensor& at) { return large(at * 10.0) ? at * 0.5 : sin(at); });
    const Model inner(x, shared(BatchNormalization()(x)), {.name = "inner"});
    return shared(inner(h)) + h;
  });
  CHECK(text.find("inner/lambda; runs eagerly") != std::string::npos);
  CHECK(text.find("batch_normalization") != std::string::npos);
}

TEST_CASE("a loss and a metric of one's own that read values run eagerly within the plan") {
  const auto error = [](const Tensor& target, const Tensor& prediction) {
    const Tensor difference = target - prediction;
    return mean(large(difference) ? abs(difference) : square(difference), -1);
  };
  const std::string text =
      same_planned([](const Tensor& h) { return h; }, loss("mine", error), {metric("seen", error)});
  CHECK(text.find("runs eagerly") != std::string::npos);
}

TEST_CASE("eagerly() in a plan has the values and gradients of the branch that is taken") {
  const Parameter w(tensor({3.0}), "w");
  const auto branch = [&](const Tensors& in) { return in[0].at<double>(0) > 0 ? in[0] * in[0] * w : w * 5.0 * in[0]; };
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor y = sum(eagerly(branch, in));
        const Gradients found = backward(y);
        return {y, found[in[0]], found[w]};
      },
      {ones({2})});
  const Tensors above = step({tensor({2.0, 5.0})}), below = step({tensor({-2.0, 5.0})});
  CHECK(above[0].item<double>() == 87);
  CHECK(above[1].values<double>() == Values{12, 30});
  CHECK(above[2].values<double>() == Values{29});
  CHECK(below[0].item<double>() == 45);
  CHECK(below[1].values<double>() == Values{15, 15});
  CHECK(below[2].values<double>() == Values{15});
  CHECK(step.text().find("runs eagerly: it is asked to") != std::string::npos);
}

TEST_CASE("eagerly() sees what the plan has set before it") {
  const Parameter w(tensor({1.0}), "w");
  const auto scaled = [&](const Tensors& in) { return in[0].at<double>(0) > 0 ? in[0] * w : in[0]; };
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        w.set(w * 10.0);
        return {eagerly(scaled, in)};
      },
      {ones({1})});
  CHECK(step({tensor({2.0})})[0].item<double>() == 20);
  CHECK(step({tensor({2.0})})[0].item<double>() == 200);
  CHECK(w.value().item<double>() == 100);
}

TEST_CASE("a function that runs eagerly may differentiate something itself, in a plan without a gradient too") {
  const auto cubed = [](const Tensors& in) {
    const Tensor v = variable(in[0]);
    return backward(sum(v * v * v))[v];
  };
  const Plan slopes = plan([&](const Tensors& in) -> Tensors { return {eagerly(cubed, in)}; }, {ones({2})});
  CHECK(slopes({tensor({2.0f, 3.0f})})[0].values<double>() == std::vector<double>{12, 27});
}

TEST_CASE("a layer that throws on the ones that a plan is made with trains op by op") {
  const Tensor x = input({2}, "x");
  const auto picky = [](const Tensor& t) {
    if (t.shape().open()) return t;
    if (t.at<double>(0) == 1) throw std::runtime_error("no ones");
    return t * 2.0;
  };
  Model model(x, Dense(1)(Lambda(picky)(x)));
  model.compile({.loss = mean_squared_error()});
  CHECK(model.fit(zeros({4, 2}), ones({4, 1}), {.epochs = 1, .verbose = 0})["loss"].size() == 1);
}

TEST_CASE("runs that a plan was not made for are refused with what differs, and change nothing") {
  const Parameter w(tensor({1.0}), "w"), other(tensor({1.0}), "other");
  const auto planned = [&](const std::function<Tensor(const Tensors&)>& f) {
    return plan(
        [&, f](const Tensors& in) -> Tensors {
          const Tensor y = sum(eagerly(f, in) * w);
          w.set(w - backward(y)[w]);
          return {y};
        },
        {ones({2})});
  };
  const auto refused = [&](const std::function<Tensor(const Tensors&)>& f, const char* why) {
    const Plan step = planned(f);
    CHECK_THROWS_WITH_AS(step({zeros({2})}), Contains(why), Error);
    CHECK(w.value().item<double>() == 1);
  };
  const auto one = [](const Tensors& in) { return in[0].at<double>(0) == 1; };
  refused([&](const Tensors& in) { return one(in) ? in[0] : slice(in[0], 0, 0, 1); },
          "it gives f32 (1,) where the plan was made for f32 (2,)");
  refused([&](const Tensors& in) { return one(in) ? in[0] : in[0] * other; },
          "parameter \"other\" is read, which was not when the plan was made");
  refused([&](const Tensors& in) { return one(in) ? in[0] : detach(in[0]); }, "depends on other inputs or parameters");
  refused(
      [&](const Tensors& in) {
        const Tensor read = other;
        return one(in) ? in[0] : in[0] * read;
      },
      "depends on other inputs or parameters");
  refused(
      [&](const Tensors& in) {
        if (!one(in)) other.set(zeros({1}));
        return in[0];
      },
      "parameter \"other\" is set");
  CHECK(other.value().item<double>() == 1);
  const Tensor caught = variable(ones({2}));
  CHECK_THROWS_WITH_AS(planned([&](const Tensors& in) { return one(in) ? in[0] * caught : in[0]; }),
                       Contains("recorded tensor that is none of its inputs"), Error);
}

TEST_CASE("what runs eagerly within a plan never runs beside itself on several threads, in its order in each run") {
  const int before = threads::count();
  threads::set_count(4);
  std::atomic<int> at_once{0}, most{0};
  const auto busy = [&](const Tensors& in) {
    most = std::max(most.load(), ++at_once);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const Tensor y = in[0].at<double>(0) > 1e9 ? in[0] : tanh(in[0]);
    --at_once;
    return y;
  };
  const Tensor x = Random(1).normal({64, 64});
  const auto branches = [&](const Tensors& in) -> Tensors {
    Tensor votes;
    for (int k = 0; k < 8; ++k) {
      const Tensor vote = matmul(eagerly(busy, {matmul(in[0], in[0] * static_cast<double>(k))}), in[0]);
      votes = votes.defined() ? votes + vote : vote;
    }
    return {votes};
  };
  const Plan step = plan(branches, {x});
  const Values wanted = branches({x})[0].values<double>();
  for (int k = 0; k < 20; ++k) CHECK(step({x})[0].values<double>() == wanted);
  CHECK(most == 1);
  threads::set_count(before);
}

TEST_CASE("a plan that runs a function eagerly holds no more after a run than before") {
  const Parameter w(Random(1).normal({64, 64}), "w");
  const auto f = [&](const Tensors& in) { return in[0].at<double>(0) > 1e9 ? in[0] : tanh(matmul(in[0], w)); };
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor y = mean(square(eagerly(f, in)));
        w.set(w - 0.1 * backward(y)[w]);
        return {y};
      },
      {ones({64, 64})});
  const Tensor x = Random(2).normal({64, 64});
  for (int k = 0; k < 3; ++k) step({x});
  const std::int64_t bytes = memory::live_bytes(), nodes = Node::live();
  for (int k = 0; k < 20; ++k) step({x});
  CHECK(memory::live_bytes() == bytes);
  CHECK(Node::live() == nodes);
}

TEST_CASE("without a plan eagerly() is its function") {
  const Tensor x = variable(tensor({2.0}));
  const Tensor y = eagerly([](const Tensors& in) { return in[0] * in[0]; }, {x});
  CHECK(backward(y)[x].item<double>() == 4);
}
