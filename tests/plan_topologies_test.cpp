// Training steps of models of every topology, of random widths and depths: planned against op by op.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

using namespace twopass;

namespace {

constexpr std::int64_t kRows = 90, kClasses = 4;

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

// A model with what it is trained on.
struct Task {
  Model model;
  CompileOptions options;
  TensorList inputs, targets;
};

// The same draws for the same seed.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : random_(seed) {}
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return random_.integers({}, low, high + 1).item<std::int64_t>();
  }
  // Of a layer: narrow mostly.
  std::int64_t width() { return between(1, between(0, 2) ? 40 : 160); }
  std::string activation() {
    static const std::vector<std::string> names{"relu", "sigmoid", "tanh", "gelu", "linear"};
    return names[static_cast<std::size_t>(between(0, 4))];
  }
  Tensor data(const Shape& row) { return random_.normal(row.inserted(0, kRows)); }
  Tensor classes() { return one_hot(random_.integers({kRows}, 0, kClasses), kClasses); }
  Tensor answers(std::int64_t count) { return cast(random_.integers({kRows, count}, 0, 2), f32); }
  Optimizer optimizer() {
    switch (between(0, 3)) {
      case 0:
        return sgd({.learning_rate = 0.05, .momentum = 0.9});
      case 1:
        return rmsprop();
      case 2:
        return adamw({.global_clipnorm = 0.5});
      default:
        return adam();
    }
  }
  Tensor dense(const Tensor& x, std::int64_t units) { return Dense(units, {.activation = activation()})(x); }
  Tensor chain(Tensor x) {
    for (std::int64_t depth = between(1, 4); depth > 0; --depth) x = dense(x, width());
    return x;
  }

 private:
  Random random_;
};

Tensor softmax_of(const Tensor& x) { return Dense(kClasses, {.activation = "softmax"})(x); }

Task task(const Tensor& x, const Tensor& y, Draws& draws, std::uint64_t seed) {
  return {Model(x, y, {.seed = seed}),
          {.optimizer = draws.optimizer(), .loss = categorical_crossentropy(), .metrics = {accuracy()}},
          draws.data({x.shape()[1]}),
          draws.classes()};
}

Task nested(Draws& draws, std::uint64_t seed) {
  const Tensor x = input({draws.between(2, 30)}, "x"), inner_x = input({draws.between(2, 20)}, "inner");
  const Tensor core_x = input({inner_x.shape()[1]}, "core");
  const Model core(core_x, draws.chain(core_x));
  const Model inner(inner_x, Dropout(0.2)(core(inner_x)));
  return task(x, softmax_of(inner(draws.dense(x, inner_x.shape()[1]))), draws, seed);
}

Task shared(Draws& draws, std::uint64_t seed) {
  const std::int64_t width = draws.between(2, 30);
  const Tensor x = input({width}, "x");
  const Dense same(width, {.activation = draws.activation()});
  Tensor h = same(x);
  for (std::int64_t k = draws.between(1, 4); k > 0; --k) h = k % 2 ? same(h) : same(same(h) - x);
  return task(x, softmax_of(h), draws, seed);
}

Task of_several_inputs(Draws& draws, std::uint64_t seed) {
  Tensors inputs, ways, data;
  for (std::int64_t k = draws.between(2, 4); k > 0; --k) {
    inputs.push_back(input({draws.between(1, 30)}, "x" + std::to_string(k)));
    ways.push_back(draws.chain(inputs.back()));
    data.push_back(draws.data({inputs.back().shape()[1]}));
  }
  return {Model(inputs, softmax_of(Concatenate()(ways)), {.seed = seed}),
          {.optimizer = draws.optimizer(), .loss = categorical_crossentropy()},
          data,
          draws.classes()};
}

Task of_several_outputs(Draws& draws, std::uint64_t seed) {
  const Tensor x = input({draws.between(2, 30)}, "x");
  const Tensor trunk = draws.chain(x);
  const std::int64_t width = draws.between(1, 9);
  const Tensor number = Dense(width, {.name = "number"})(draws.chain(trunk));
  const Tensor kind = Dense(kClasses, {.activation = "softmax", .name = "kind"})(trunk);
  return {Model(x, {number, kind}, {.seed = seed}),
          {.optimizer = draws.optimizer(),
           .loss = {{"number", mean_squared_error()}, {"kind", categorical_crossentropy()}},
           .loss_weights = {{"number", 0.3}},
           .metrics = {{"kind", {accuracy()}}}},
          draws.data({x.shape()[1]}),
          {draws.data({width}), draws.classes()}};
}

Task of_several_labels(Draws& draws, std::uint64_t seed) {
  const Tensor x = input({draws.between(2, 30)}, "x");
  const std::int64_t labels = draws.between(1, 7);
  return {Model(x, Dense(labels, {.activation = "sigmoid"})(draws.chain(x)), {.seed = seed}),
          {.optimizer = draws.optimizer(), .loss = binary_crossentropy(), .metrics = {binary_accuracy()}},
          draws.data({x.shape()[1]}),
          draws.answers(labels)};
}

Task ensemble(Draws& draws, std::uint64_t seed) {
  const Tensor x = input({draws.between(2, 30)}, "x");
  Tensors votes;
  for (std::int64_t k = draws.between(2, 6); k > 0; --k) {
    const Tensor own = input({x.shape()[1]}, "own");
    votes.push_back(Model(own, softmax_of(draws.chain(own)))(x));
  }
  return task(x, Average()(votes), draws, seed);
}

Task residual(Draws& draws, std::uint64_t seed) {
  const std::int64_t width = draws.between(2, 40);
  const Tensor x = input({draws.between(2, 30)}, "x");
  Tensor h = draws.dense(x, width);
  for (std::int64_t k = draws.between(1, 5); k > 0; --k) {
    const Tensor inner = draws.dense(h, draws.width());
    h = k % 2 ? h + Dense(width)(inner) : relu(Dense(width)(inner) + h);
  }
  return task(x, softmax_of(h), draws, seed);
}

Task convolutional(Draws& draws, std::uint64_t seed) {
  const std::int64_t size = draws.between(5, 9), filters = draws.between(1, 6);
  const Tensor image = input({2, size, size}, "image");
  Tensor h = Conv2D(filters, 3, {.padding = "same", .activation = "relu"})(image);
  for (std::int64_t k = draws.between(1, 2); k > 0; --k) h = relu(Conv2D(filters, 3, {.padding = "same"})(h) + h);
  return {Model(image, softmax_of(Flatten()(h)), {.seed = seed}),
          {.optimizer = draws.optimizer(), .loss = categorical_crossentropy(), .metrics = {accuracy()}},
          draws.data({2, size, size}),
          draws.classes()};
}

using Topology = Task (*)(Draws&, std::uint64_t);

// What training leaves: the history's losses, the predictions and all weights.
Tensors trained(Topology topology, std::uint64_t seed, bool eagerly, const std::vector<std::string>& without) {
  Draws draws(seed);
  Task made = topology(draws, seed);
  made.options.run_eagerly = eagerly;
  made.options.without = without;
  made.model.compile(made.options);
  // Where a step could not be traced it would run op by op either way.
  if (!eagerly) CHECK(made.model.step_plan(made.inputs, made.targets).steps() > 1);
  const History history = made.model.fit(made.inputs, made.targets, {.epochs = 2, .batch_size = 40, .verbose = 0});
  Tensors all;
  for (const double loss : history["loss"]) all.push_back(tensor(loss, f64));
  for (const Tensor& each : made.model.predict_all(made.inputs)) all.push_back(each);
  for (const auto& [path, parameter] : made.model.named_parameters()) all.push_back(parameter.value());
  return all;
}

// Any passes, by the bits of a drawn number.
std::vector<std::string> some_passes(std::uint64_t seed) {
  Random random(seed_of(seed, "passes"));
  std::vector<std::string> names;
  for (const PlanPass& pass : plan_passes())
    if (random.integers({}, 0, 2).item<std::int64_t>()) names.push_back(pass.name);
  return names;
}

void check(Topology topology) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    const Tensors eager = trained(topology, seed, true, {});
    for (const auto& without : {std::vector<std::string>{}, some_passes(seed)}) {
      const Tensors planned = trained(topology, seed, false, without);
      REQUIRE(planned.size() == eager.size());
      for (std::size_t k = 0; k < eager.size(); ++k) {
        CAPTURE(k);
        CHECK(equal_bits(planned[k], eager[k]));
      }
    }
  }
}

}  // namespace

TEST_CASE("nested models train planned as they do op by op, to the bit") { check(nested); }
TEST_CASE("models with shared layers train planned as they do op by op, to the bit") { check(shared); }
TEST_CASE("models of several inputs train planned as they do op by op, to the bit") { check(of_several_inputs); }
TEST_CASE("models of several outputs train planned as they do op by op, to the bit") { check(of_several_outputs); }
TEST_CASE("models of several labels train planned as they do op by op, to the bit") { check(of_several_labels); }
TEST_CASE("ensembles train planned as they do op by op, to the bit") { check(ensemble); }
TEST_CASE("residual networks train planned as they do op by op, to the bit") { check(residual); }
TEST_CASE("convolutional networks train planned as they do op by op, to the bit") { check(convolutional); }

TEST_CASE("compile and step_plan leave out the passes that they are told, refuse others, and keep stages") {
  const Tensor x = input({6}, "x");
  Model model(x, Dense(3)(Dense(5, {.activation = "relu"})(x)));
  CHECK_THROWS_WITH_AS(model.compile({.optimizer = sgd(), .loss = mean_squared_error(), .without = {"tile"}}),
                       doctest::Contains("compile: there is no pass \"tile\": it must be one of constants, "), Error);
  CHECK(!model.compiled());
  const Tensor inputs = ones({8, 6}), targets = ones({8, 3});
  const auto stages = [&](const std::vector<std::string>& compiled, const std::vector<std::string>& asked) {
    model.compile({.optimizer = sgd(), .loss = mean_squared_error(), .without = compiled});
    std::string names;
    for (const auto& stage : model.step_plan(inputs, targets, {.without = asked, .keep_stages = true}).stages())
      names += stage.pass + " ";
    return names;
  };
  CHECK(stages({"code"}, {}) ==
        "trace constants common broadcasts dead absorb channels views order tiles strands layout turn ");
  CHECK(stages({"code", "tiles"}, {"common", "turn"}) ==
        "trace constants broadcasts dead absorb channels views order strands layout ");
  CHECK_THROWS_WITH_AS(model.step_plan(inputs, targets, {.without = {"tile"}}), doctest::Contains("no pass \"tile\""),
                       Error);
}
