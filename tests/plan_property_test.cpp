// Plans against eager execution: every record, and programs of random ops.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <string>

using namespace twopass;

namespace {

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

Tensors drawn(const std::vector<sample::Input>& inputs, DType dtype, std::uint64_t seed) {
  Random random(seed);
  Tensors made;
  for (const auto& each : inputs) {
    made.push_back(each.draw(random, dtype));
    if (is_floating(made.back().dtype()) && made.back().dtype() != dtype) made.back() = cast(made.back(), dtype);
  }
  return made;
}

// y and its gradients for all floating inputs.
PlanFunction with_gradients(const Op& op, const ArgumentsPointer& arguments) {
  return [&op, arguments](const Tensors& in) -> Tensors {
    Tensors at, of;
    for (const Tensor& x : in) {
      at.push_back(x.symbolic() || !is_floating(x.dtype()) ? x : variable(x));
      if (is_floating(x.dtype())) of.push_back(at.back());
    }
    const Tensor y = apply(op, arguments, at);
    Tensors found{detach(y)};
    if (!op.differentiable() || !y.recorded()) return found;
    const Tensors gradients_of_y = gradients(y, of, {.seed = full(y.shape(), 0.75, y.dtype())});
    found.insert(found.end(), gradients_of_y.begin(), gradients_of_y.end());
    return found;
  };
}

// A program of random ops on [r, c] tensors, the same for values and symbols.
class RandomProgram {
 public:
  explicit RandomProgram(std::uint64_t seed) : seed_(seed) {}

  Tensors operator()(const Tensors& in) const {
    Random random(seed_);
    const auto below = [&](std::int64_t n) { return random.integers({}, 0, n).item<std::int64_t>(); };
    Tensors known = in;
    for (int k = 0; k < 25; ++k) {
      const auto pick = [&] { return known[static_cast<std::size_t>(below(static_cast<std::int64_t>(known.size())))]; };
      const Tensor a = pick(), b = pick();
      known.push_back(next(below(16), a, b));
    }
    return {known.end() - 4, known.end()};
  }

 private:
  static bool goes_with(const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() || b.elements() == 1 || (b.shape()[1] == 1 && b.shape()[0] == a.shape()[0]) ||
           (b.shape()[0] == 1 && b.shape()[1] == a.shape()[1]);
  }
  static Tensor next(std::int64_t op, const Tensor& a, const Tensor& b) {
    const Tensor with = goes_with(a, b) ? b : a;
    switch (op) {
      case 0:
        return a + with;
      case 1:
        return a * with * 0.25;
      case 2:
        return tanh(a);
      case 3:
        return relu(a - 0.1);
      case 4:
        return mean(a, 1, keep_axis);
      case 5:
        return softmax(a, 1);
      case 6:
        return matmul(a, b,
                      {.transpose_a = a.shape()[0] == b.shape()[0] && a.shape()[1] != b.shape()[0],
                       .transpose_b = a.shape()[1] == b.shape()[1] && a.shape()[1] != b.shape()[0]}) *
               0.1;
      case 7:
        return reshape(a, {a.shape()[1], a.shape()[0]});
      case 8:
        return sum(a, 0, keep_axis);
      case 9:
        return a - max(a, 1, keep_axis);
      case 10:
        return exp(a * 0.1);
      case 11:
        return slice(a, 0, 0, std::max<std::int64_t>(1, a.shape()[0] - 1));
      case 12:
        return concat({a, a * 0.5}, 1);
      case 13:
        return where(a > 0.0, a, with * 0.5 + a * 0.0);
      case 14:
        return a / (square(with) + 1.0);
      default:
        return neg(a);
    }
  }
  std::uint64_t seed_;
};

}  // namespace

TEST_CASE("every record gives the same bits in a plan as eagerly, and so do its gradients") {
  for (const Op* op : all_ops())
    for (std::size_t k = 0; k < op->samples().size(); ++k)
      for (const DType dtype : {f32, f64}) {
        CAPTURE(op->name());
        CAPTURE(k);
        const Op::Sample& sample = op->samples()[k];
        const Tensors inputs = drawn(sample.inputs, dtype, 11 + k);
        const PlanFunction f = with_gradients(*op, sample.arguments);
        const Tensors eager = f(inputs), planned = plan(f, inputs)(inputs);
        REQUIRE(eager.size() == planned.size());
        for (std::size_t at = 0; at < eager.size(); ++at) CHECK(equal_bits(planned[at], eager[at]));
      }
}

TEST_CASE("what a record says of rows is so: a row of the output follows from the inputs' rows") {
  int tried = 0;
  for (const Op* op : all_ops())
    for (const Op::Sample& sample : op->samples()) {
      CAPTURE(op->name());
      const Tensors inputs = drawn(sample.inputs, f32, 5);
      const unsigned split =
          inputs.empty() ? 0 : op->rows(sample.arguments.get(), Specs(std::span<const Tensor>(inputs)));
      if (split == 0) continue;
      const Tensor whole = apply(*op, sample.arguments, inputs);
      for (std::int64_t row = 0; row < whole.shape()[0]; ++row) {
        Tensors part = inputs;
        for (std::size_t k = 0; k < part.size(); ++k)
          if (split >> k & 1) part[k] = slice(part[k], 0, row, row + 1);
        CHECK(equal_bits(apply(*op, sample.arguments, part), slice(whole, 0, row, row + 1)));
        ++tried;
      }
    }
  CHECK(tried > 50);
}

TEST_CASE(
    "programs of random ops give the same bits planned and eagerly, with their gradients, whatever passes are on") {
  Random random(1);
  const Tensors inputs{random.normal({6, 4}), random.normal({4, 6}), random.normal({6, 6}), random.normal({1, 4})};
  int compared = 0;
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    const RandomProgram program(seed);
    const PlanFunction f = [&](const Tensors& in) -> Tensors {
      Tensors at;
      for (const Tensor& x : in) at.push_back(x.symbolic() ? x : variable(x));
      const Tensors y = program(at);
      Tensor total;
      for (const Tensor& each : y) total = total.defined() ? total + sum(each) : sum(each);
      Tensors found = gradients(total, at);
      for (const Tensor& each : y) found.push_back(detach(each));
      return found;
    };
    Tensors eager;
    try {
      eager = f(inputs);
    } catch (const Error&) {
      continue;  // shapes that do not go together
    }
    ++compared;
    for (const auto& without :
         {std::vector<std::string>{}, {"tiles"}, {"views"}, {"broadcasts", "common"}, {"absorb"}}) {
      const Tensors planned = plan(f, inputs, {.without = without})(inputs);
      for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(planned[k], eager[k]));
    }
  }
  CHECK(compared > 50);
}

TEST_CASE("a plan gives equal bits for 1, 2, 4 and 8 threads") {
  Random random(2);
  const Tensor x = random.normal({700, 300}), w = random.normal({300, 300});
  const PlanFunction f = [&](const Tensors& in) -> Tensors {
    const Tensor h = softmax(matmul(in[0], w), -1) * in[0];
    return {h, sum(h, 0), mean(exp(h))};
  };
  const Plan planned = plan(f, {x});
  const int before = threads::count();
  threads::set_count(1);
  const Tensors one = planned({x});
  for (const int count : {2, 4, 8}) {
    threads::set_count(count);
    const Tensors several = planned({x});
    for (std::size_t k = 0; k < one.size(); ++k) CHECK(equal_bits(several[k], one[k]));
  }
  threads::set_count(before);
}

TEST_CASE("a model's steps are planned, and train it as running them op by op does") {
  const auto digits = data::glyphs({.samples = 300});
  const Tensor targets = one_hot(digits.labels, 10);
  std::vector<Tensors> found;
  for (const bool eagerly : {false, true}) {
    const Tensor image = input({784}, "image");
    const Tensor h = Dropout(0.3)(Dense(32, {.activation = "tanh"})(image));
    Model model(image, Dense(10, {.activation = "softmax"})(h + Dense(32, {.activation = "relu"})(h)), {.seed = 3});
    model.compile({.optimizer = adamw({.global_clipnorm = 1}),
                   .loss = categorical_crossentropy(),
                   .metrics = {accuracy()},
                   .run_eagerly = eagerly});
    // Where a step could not be traced both runs would be eager.
    CHECK(model.step_plan(slice(digits.inputs, 0, 0, 32), slice(targets, 0, 0, 32)).steps() > 5);
    const History history = model.fit(digits.inputs, targets, {.epochs = 2, .validation_split = 0.1, .verbose = 0});
    Tensors all{tensor(history["loss"].back(), f64), tensor(history["val_accuracy"].back(), f64),
                model.predict(digits.inputs)};
    for (const auto& [path, parameter] : model.named_parameters()) all.push_back(parameter.value());
    found.push_back(all);
  }
  for (std::size_t k = 0; k < found[0].size(); ++k) {
    CAPTURE(k);
    CHECK(equal_bits(found[0][k], found[1][k]));
  }
}

TEST_CASE("a rate that decays trains planned as it does op by op, and a layer that reads values trains unplanned") {
  Random random(3);
  const Tensor inputs = random.normal({64, 8}), targets = random.normal({64, 1});
  std::vector<std::vector<float>> weights;
  for (const bool eagerly : {false, true}) {
    const Tensor x = input({8}, "x");
    Model model(x, Dense(1)(Dense(16, {.activation = "relu"})(x)), {.seed = 1});
    model.compile({.optimizer = adam({.learning_rate = exponential_decay({0.1, 3, 0.5})}),
                   .loss = mean_squared_error(),
                   .run_eagerly = eagerly});
    model.fit(inputs, targets, {.epochs = 5, .batch_size = 16, .verbose = 0});
    weights.push_back(model.parameters()[0].value().values<float>());
  }
  CHECK(weights[0] == weights[1]);

  const Tensor x = input({8}, "x");
  // While the model is made, sizes are open and there is nothing to be read.
  const auto read = [](const Tensor& h) { return !h.shape().open() && h.at<double>(0) > 1e9 ? h * 0.0 : h; };
  Model reading(x, Dense(1)(Lambda(read)(x)));
  reading.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  CHECK_THROWS_AS(reading.step_plan(inputs, targets), Error);
  const std::vector<float> before = reading.parameters()[0].value().values<float>();
  CHECK(reading.fit(inputs, targets, {.verbose = 0})["loss"].size() == 1);
  CHECK(reading.parameters()[0].value().values<float>() != before);
}
