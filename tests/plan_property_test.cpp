// Plans against eager execution: every record, and programs of random ops.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

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

// A program of random ops on tensors of up to four axes, the same for values and symbols.
class RandomProgram {
 public:
  RandomProgram(std::uint64_t seed, DType dtype) : seed_(seed), dtype_(dtype) {}

  Tensors operator()(const Tensors& in) const {
    Random random(seed_);
    Drawing drawing{random, dtype_, in};
    for (int k = 0; k < 30; ++k) drawing.known.push_back(drawing.next());
    return {drawing.known.end() - 8, drawing.known.end()};
  }

 private:
  struct Drawing {
    Random& random;
    DType dtype;
    Tensors known;

    std::int64_t below(std::int64_t n) { return random.integers({}, 0, n).item<std::int64_t>(); }
    Tensor pick() { return known[static_cast<std::size_t>(below(static_cast<std::int64_t>(known.size())))]; }
    Tensor constant(const Shape& shape) { return random.normal(shape, dtype) * 0.5; }
    // The next value from a random place on, or a itself, that `fits`.
    template <typename F>
    Tensor pick_for(const Tensor& a, const F& fits) {
      const std::size_t from = static_cast<std::size_t>(below(static_cast<std::int64_t>(known.size())));
      for (std::size_t k = 0; k < known.size(); ++k)
        if (const Tensor& b = known[(from + k) % known.size()]; fits(b)) return b;
      return a;
    }
    // What broadcasts with a to no more than four axes and some elements.
    Tensor pick_beside(const Tensor& a) {
      return pick_for(a, [&](const Tensor& b) {
        std::int64_t elements = 1;
        for (int back = 1; back <= std::max(a.rank(), b.rank()); ++back) {
          const std::int64_t left = back > a.rank() ? 1 : a.shape()[-back];
          const std::int64_t right = back > b.rank() ? 1 : b.shape()[-back];
          if (left != right && left != 1 && right != 1) return false;
          elements *= std::max(left, right);
        }
        return elements <= 500;
      });
    }
    Tensor activated(const Tensor& x) {
      switch (below(4)) {
        case 0:
          return relu(x);
        case 1:
          return sigmoid(x);
        case 2:
          return tanh(x);
        default:
          return x;
      }
    }

    Tensor next() {
      const Tensor a = pick();
      if (a.rank() == 0 || below(2) == 0) return of_elements(a, pick_beside(a));
      return a.rank() > 1 && below(3) == 0 ? product(a) : of_axes(a, static_cast<int>(below(a.rank())));
    }
    Tensor of_elements(const Tensor& a, const Tensor& b) {
      switch (below(9)) {
        case 0:
          return a + b;
        case 1:
          return a * b * 0.25;
        case 2:
          return b - a;
        case 3:
          return activated(a);
        case 4:
          return exp(tanh(a) * 0.5);
        case 5:
          return where(a > 0.0, a, b * 0.5);
        case 6:
          return a / (square(b) + 1.0);
        case 7:
          return activated(a + b);
        default:
          return neg(stop_gradient(a)) + b;
      }
    }
    Tensor of_axes(const Tensor& a, int axis) {
      switch (below(10)) {
        case 0:
          return mean(a, axis, keep_axis);
        case 1:
          return sum(a, axis) * 0.5;
        case 2:
          return softmax(a, axis);
        case 3:
          return a - max(a, axis, keep_axis);
        case 4:
          return slice(a, axis, 0, std::max<std::int64_t>(1, a.shape()[axis] - 1));
        case 5:
          return a.elements() > 200 ? a : concat({a, tanh(a)}, axis);
        case 6:
          return reshape(a, {a.shape()[axis], -1});
        case 7:
          return transpose(a, {axis, (axis + 1) % a.rank()}, a.rank());
        case 8:
          return a.rank() < 4 ? expand_dims(a, axis) : sum(a, {axis, (axis + 1) % 4}) * 0.5;
        default:
          return a.rank() < 4 && a.elements() < 200 ? broadcast_to(a, a.shape().inserted(0, 2)) + 0.5 : tanh(a);
      }
    }
    static Tensor transpose(const Tensor& a, const std::array<int, 2>& swapped, int rank) {
      std::vector<std::int64_t> axes(static_cast<std::size_t>(rank));
      std::iota(axes.begin(), axes.end(), 0);
      std::swap(axes[static_cast<std::size_t>(swapped[0])], axes[static_cast<std::size_t>(swapped[1])]);
      return twopass::transpose(a, axes);
    }
    // Products and convolutions with what may stand behind them.
    Tensor product(const Tensor& a) {
      const std::int64_t k = a.shape().back(), n = 1 + below(6);
      if (a.rank() == 4 && below(2)) return convolved(a);
      switch (below(6)) {
        case 0:
          return activated(affine(a, constant({k, n}), below(2) ? constant({n}) : Tensor()));
        case 1:
          return activated(a + affine(a, constant({k, k}), constant({k})));
        case 2:
          return activated(matmul(a, constant({n, k}), {.transpose_b = true}) + constant({n}));
        case 3: {
          const Tensor b = pick_for(a, [&](const Tensor& x) { return x.shape() == a.shape(); });
          return below(2) ? matmul(a, b, {.transpose_b = true}) * 0.1 : matmul(a, b, {.transpose_a = true}) * 0.1;
        }
        case 4:
          return tanh(matmul(a, a, {.transpose_a = true}) * 0.1 + 1.0);
        default: {
          const Tensor h = matmul(a, constant({k, n}));
          return below(2) ? h + tanh(h) : activated(h) * 0.5;  // read twice, or once
        }
      }
    }
    Tensor convolved(const Tensor& a) {
      const std::int64_t channels = a.shape()[1], filters = below(3) ? channels : 1 + below(3);
      Tensor y = conv2d(a, constant({filters, channels, 1 + 2 * below(2), 1}), {}, {.padding = "same"});
      if (below(2)) y = y + constant({filters, 1, 1});
      if (filters == channels && below(3)) y = y + a;
      return activated(y);
    }
  };
  std::uint64_t seed_;
  DType dtype_;
};

// Any of the passes.
std::vector<std::string> some_passes(Random& random) {
  std::vector<std::string> names;
  for (const PlanPass& pass : plan_passes())
    if (random.integers({}, 0, 2).item<std::int64_t>()) names.push_back(pass.name);
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += name + " ";
  return list;
}

bool all_finite(const Tensors& tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& x) {
    const auto values = x.values<double>();
    return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
  });
}

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

// What forward makes of an output of this shape, whatever the arguments say of the whole one.
Tensor forward_to(const Shape& shape, const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                  DType dtype) {
  const Tensor made = uninitialised(shape, dtype);
  std::vector<View> views;
  for (const Tensor& input : inputs) views.push_back({input.node().data, &input.shape(), input.dtype()});
  op.forward(arguments.get(), views, {made.node().data, &shape, dtype});
  return made;
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
        CHECK(equal_bits(forward_to(whole.shape().with(0, 1), *op, sample.arguments, part, whole.dtype()),
                         slice(whole, 0, row, row + 1)));
        ++tried;
      }
    }
  CHECK(tried > 50);
}

TEST_CASE(
    "programs of random ops give the same bits planned and eagerly, with their gradients, whatever passes are on") {
  int compared = 0;
  std::string texts;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const DType dtype = seed % 2 ? f32 : f64;
    CAPTURE(seed);
    Random random(seed_of(seed, "inputs"));
    Tensors inputs;
    for (const Shape& shape :
         {Shape{}, Shape{4}, Shape{1, 4}, Shape{3, 1}, Shape{3, 4}, Shape{2, 3, 4}, Shape{2, 2, 3, 4}})
      inputs.push_back(random.normal(shape, dtype));
    const RandomProgram program(seed, dtype);
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
    const Tensors eager = f(inputs);
    if (!all_finite(eager)) continue;  // which NaN comes of two is nobody's promise
    ++compared;
    for (const auto& without : {std::vector<std::string>{}, some_passes(random), some_passes(random)}) {
      INFO("without ", listed(without));
      const Plan made = plan(f, inputs, {.without = without});
      const Tensors planned = made(inputs);
      for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(planned[k], eager[k]));
      texts += made.text();
    }
  }
  CHECK(compared > 250);
  for (const std::string op :
       {"fused_product", "fused_product_add", "affine_relu", "affine_tanh", "multiply_add", "conv2d", "conv2d_relu",
        "conv2d_add", "conv2d_add_relu", "conv2d_input_gradient", "broadcast_to"}) {
    CAPTURE(op);
    CHECK(texts.find("= " + op + "(") != std::string::npos);
  }
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

TEST_CASE("a rate that decays trains planned as it does op by op, and a layer that reads values trains too") {
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
  const std::vector<float> before = reading.parameters()[0].value().values<float>();
  CHECK(reading.fit(inputs, targets, {.verbose = 0})["loss"].size() == 1);
  CHECK(reading.parameters()[0].value().values<float>() != before);
}
