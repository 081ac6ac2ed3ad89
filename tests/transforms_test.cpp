#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/parameter.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/doctest.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/record.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/shaping.h>

#include <cmath>

using namespace twopass;
using doctest::Approx;

namespace {

Tensor number(double x) { return tensor(x, f64); }

// How often the gradient of `counted` ran.
int passes = 0;
const TypedOp<>& counted_op() {
  static const TypedOp<> op(
      {.name = "counted",
       .doc = "x.",
       .shape = same_floating,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x; }); },
       .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors {
         ++passes;
         return {apply(counted_op(), {g})};
       }});
  return op;
}

// A layer that is computed again in the backward pass.
class Again : public Layer {
 public:
  explicit Again(LayerHandle inner) : inner_(std::move(inner)) {}
  Tensors call(const Tensors& inputs, const CallContext& context) override {
    return {checkpoint([inner = inner_, context](const Tensor& x) { return inner(x, context); }, inputs[0])};
  }
  std::vector<std::pair<std::string, LayerPointer>> parts() const override { return {{"inner", inner_.pointer()}}; }

 private:
  LayerHandle inner_;
};

}  // namespace

TEST_CASE("value_and_grad and grad give the gradient for each of several arguments") {
  const auto f = [](const Tensor& a, const Tensor& b) { return sum(a * a * b); };
  const Tensor a = tensor({1.0, 2.0}, f64), b = tensor({3.0, 5.0}, f64);
  const auto [value, gradients] = value_and_grad(f)(a, b);
  CHECK(value.item<double>() == 23);
  REQUIRE(gradients.size() == 2);
  CHECK(gradients[0].values<double>() == std::vector<double>{6, 20});
  CHECK(gradients[1].values<double>() == std::vector<double>{1, 4});
  const auto list = [&](const Tensors& x) { return f(x[0], x[1]); };
  CHECK(value_and_grad(list)(Tensors{a, b}).second[1].values<double>() == std::vector<double>{1, 4});
  CHECK(grad(f)(a, b)[0].values<double>() == std::vector<double>{6, 20});
  // d²/da db of Σ a² b is 2a, through a gradient of the gradient for a.
  const auto mixed = grad([&](const Tensor& t) { return sum(grad(f)(a, t)[0]); })(b);
  CHECK(mixed.values<double>() == std::vector<double>{2, 4});
  const auto both = grad([&](const Tensor& s, const Tensor& t) { return sum(grad(f)(s, t)[0]); })(a, b);
  CHECK(both[1].values<double>() == std::vector<double>{2, 4});
}

TEST_CASE("derivatives to the fourth order are those of calculus, also through products and reductions") {
  const auto sine = [](const Tensor& x) { return sin(x); };
  const auto fourth = grad(grad(grad(grad(sine))));
  CHECK(fourth(number(0.7)).item<double>() == Approx(std::sin(0.7)).epsilon(1e-12));
  // x⁵ / |x|² · … : Σ x³ has d⁴ = 0 and Σ x⁴ has 24.
  const auto power = [](const Tensor& x) { return sum(matmul(square(x), square(x))); };
  const auto once = [](auto f) { return [f](const Tensor& x) { return sum(grad(f)(x)); }; };
  CHECK(grad(once(once(once(power))))(tensor({0.5, -2.0}, f64)).values<double>()[0] == Approx(24));
}

TEST_CASE("a tall Jacobian is found by columns, a wide one by rows: fewer passes, the same numbers") {
  const auto tall = [](const Tensor& x) {
    return apply(counted_op(), {matmul(arange(0, 40, 1, f64), expand_dims(zeros({40}, f64), 1)) +
                                sum(x) * arange(0, 40, 1, f64) + x * 0.0 + square(sum(x))});
  };
  passes = 0;
  const Tensor x = tensor({2.0}, f64);
  const Tensor found = jacobian(tall, x);
  CHECK(found.shape() == Shape{40, 1});
  for (std::int64_t k = 0; k < 40; ++k) CHECK(found.at<double>(k) == Approx(static_cast<double>(k) + 4));
  CHECK(passes < 10);
  const auto wide = [](const Tensor& t) { return apply(counted_op(), {expand_dims(sum(t * t), 0)}); };
  passes = 0;
  CHECK(jacobian(wide, arange(0, 40, 1, f64)).at<double>(7) == 14);
  CHECK(passes == 1);
}

TEST_CASE(
    "a function that gives no f32 or f64 has no derivative, and each transform says so; stairs of f64 have zeros") {
  const Tensor x = tensor({0.3, 2.0}, f64);
  const auto place = [](const Tensor& t) { return argmax(t, 0, keep_axis); };
  const auto truths = [](const Tensor& t) { return greater(t, number(1)); };
  CHECK_THROWS_WITH_AS(grad(place)(x), "grad: the function gives i64, which has no derivative", Error);
  CHECK_THROWS_WITH_AS(jacobian(place, x), "jacobian: the function gives i64, which has no derivative", Error);
  CHECK_THROWS_WITH_AS(hessian(place, x), "hessian: the function gives i64, which has no derivative", Error);
  CHECK_THROWS_WITH_AS(jvp(place, x, x), "jvp: the function gives i64, which has no derivative", Error);
  CHECK_THROWS_WITH_AS(hvp(place, x, x), "hvp: the function gives i64, which has no derivative", Error);
  CHECK_THROWS_WITH_AS(vjp(place, x, x), "vjp: the function gives i64, which has no derivative", Error);
  CHECK_THROWS_WITH_AS(jacobian(truths, x), "jacobian: the function gives bool, which has no derivative", Error);
  CHECK_THROWS_WITH_AS(backward(place(variable(x))), "backward((1,)): i64 has no derivative", Error);
  CHECK_THROWS_WITH_AS(tangents({truths(variable(x))}, {variable(x)}, {x}),
                       "tangents: output 0 is bool, which has no derivative", Error);
  // What goes through i64 or a rounding on its way to f64 is flat between its jumps.
  const auto flat = [&](const Tensor& t) { return cast(place(t), f64) + round(t); };
  CHECK(jacobian(flat, x).values<double>() == std::vector<double>{0, 0, 0, 0});
  CHECK(jvp(flat, x, x).values<double>() == std::vector<double>{0, 0});
}

TEST_CASE("a function with a gradient of its own has that one, and its derivatives follow from the rule") {
  // Straight through: round, with the derivative of the identity.
  const auto straight = custom_gradient([](const Tensors& x) { return x[0] - sin(x[0]); },
                                        [](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g}; });
  const Tensor x = variable(tensor({0.3, 2.0}, f64));
  const Tensor y = sum(square(straight({x})));
  CHECK(backward(y)[x].at<double>(1) == Approx(2 * (2 - std::sin(2.0))));
  // The implicit function t = x e^-t: dt/dx = t / (x (1 + t)), differentiable again.
  const auto solve = [](const Tensors& in) {
    Tensor t = in[0];
    for (int k = 0; k < 100; ++k) t = t - (t * exp(t) - in[0]) / (exp(t) * (t + 1.0));
    return t;
  };
  const auto lambert = custom_gradient(solve, [](const Tensors& in, const Tensor& t, const Tensor& g) -> Tensors {
    return {g * t / (in[0] * (t + 1.0))};
  });
  const auto report = gradcheck(lambert, {tensor({0.5, 1.0, 3.0}, f64)}, {.order = 3});
  CHECK(report);
  CHECK(lambert({number(1)}).item<double>() == Approx(0.5671432904097838));  // the omega constant
}

TEST_CASE("a checkpoint gives the value and the derivatives of f to the fourth order") {
  const auto f = [](const Tensor& a, const Tensor& b) { return exp(sin(a) * b) * a; };
  const auto again = [&](const Tensors& x) { return checkpoint(f, x[0], x[1]); };
  const Tensors at{tensor({0.5, -0.25}, f64), tensor({1.0, 0.75}, f64)};
  CHECK(again(at).values<double>() == f(at[0], at[1]).values<double>());
  CHECK(gradcheck(again, at, {.order = 3, .relative = 1e-7}));
  const auto by = [&](auto g) {
    return grad(grad(grad(grad([&](const Tensor& x) { return g(x, number(0.7)); }))))(number(0.3))
        .template item<double>();
  };
  CHECK(by([&](const Tensor& a, const Tensor& b) { return checkpoint(f, a, b); }) == Approx(by(f)).epsilon(1e-12));
}

TEST_CASE("a checkpoint has the gradients of what f caught, once each, at the values that it had") {
  const Tensor x = variable(tensor({1.0, 2.0}, f64)), w = variable(tensor({3.0, 4.0}, f64));
  const Tensor caught = exp(w);
  const Parameter p(tensor({0.5, 0.25}, f64));
  const auto f = [&](const Tensor& t) { return t * w * p.tensor() + caught * sin(t) + x * t; };
  const auto g = [&](auto&& through) { return backward(sum(through(x * p.tensor()) * caught)); };
  const Gradients plain = g(f);
  const Gradients again = g([&](const Tensor& t) { return checkpoint(f, t); });
  const auto near = [](const Tensor& a, const Tensor& b) {
    for (std::int64_t k = 0; k < a.elements(); ++k) CHECK(a.at<double>(k) == Approx(b.at<double>(k)).epsilon(1e-14));
  };
  near(again[x], plain[x]);
  near(again[w], plain[w]);
  near(again[p], plain[p]);
  // A parameter that is set in between: the gradient is that of what was computed.
  const Tensor y = sum(checkpoint(f, x));
  const Tensor before = backward(sum(f(x)))[x];
  p.set(tensor({100.0, 100.0}, f64));
  near(backward(y)[x], before);
}

TEST_CASE("a model whose layer is a checkpoint has the gradients of the model without") {
  Random random(3);
  const Tensor data = random.normal({5, 3}), targets = random.normal({5, 2});
  const LayerHandle dense = Dense(4, {.activation = "tanh"});
  const auto model_with = [&](bool again) {
    const Tensor x = input({3}, "x");
    const Tensor hidden = Dense(4)(x);
    Model model(x, Dense(2)(again ? layer<Again>(dense)(hidden) : dense(hidden)), {.seed = 4});
    model.compile({.loss = mean_squared_error()});
    return model;
  };
  Model plain = model_with(false), again = model_with(true);
  CHECK(again.check_gradients(data, targets));
  // Both share the middle layer; the others are given the same weights.
  for (std::size_t k = 0; k < plain.parameters().size(); ++k) plain.parameters()[k].set(again.parameters()[k].value());
  const Gradients a = backward(plain.loss(data, targets)), b = backward(again.loss(data, targets));
  for (std::size_t k = 0; k < plain.parameters().size(); ++k)
    CHECK(a[plain.parameters()[k]].values<float>() == b[again.parameters()[k]].values<float>());
}

TEST_CASE("a model whose layers are checkpoints learns planned as it does eagerly, its dropout too") {
  Random random(5);
  const Tensor data = random.normal({24, 6}), targets = random.normal({24, 2});
  const auto trained = [&](bool again, bool eagerly) {
    const auto wrapped = [&](const LayerHandle& inner) { return again ? LayerHandle(layer<Again>(inner)) : inner; };
    const Tensor x = input({6}, "x");
    const Tensor hidden = wrapped(Dense(8, {.activation = "tanh"}))(x);
    Model model(x, Dense(2)(wrapped(Dropout(0.4, {.name = "noise"}))(hidden)), {.seed = 4});
    model.compile({.optimizer = adam(), .loss = mean_squared_error(), .run_eagerly = eagerly});
    model.fit(data, targets, {.epochs = 3, .batch_size = 8, .verbose = 0});
    std::vector<float> weights;
    for (const Parameter& each : model.parameters())
      for (const float w : each.value().values<float>()) weights.push_back(w);
    return weights;
  };
  const auto planned = trained(true, false), eager = trained(true, true);
  for (std::size_t k = 0; k < planned.size(); ++k) CHECK(planned[k] == Approx(eager[k]).epsilon(1e-5));
}

TEST_CASE("a chain of checkpoints keeps only what lies between them") {
  constexpr std::int64_t kElements = 100'000, kBytes = kElements * 8;
  const Tensor x = variable(ones({kElements}, f64));
  const auto segment = [](const Tensor& t) {
    Tensor y = t;
    for (int k = 0; k < 10; ++k) y = tanh(y);
    return y;
  };
  const auto kept = [&](auto&& step) {
    const std::int64_t before = memory::live_bytes();
    Tensor y = x;
    for (int k = 0; k < 5; ++k) y = step(y);
    const std::int64_t now = memory::live_bytes() - before;
    return std::pair(now, backward(sum(y))[x].at<double>(0));
  };
  const auto [plain, slope] = kept(segment);
  const auto [again, same] = kept([&](const Tensor& t) { return checkpoint(segment, t); });
  CHECK(plain >= 50 * kBytes);
  CHECK(again < 6 * kBytes);
  CHECK(same == slope);
}

TEST_CASE("a plan of checkpoints needs the memory of what lies between them, and gives the same numbers") {
  constexpr std::int64_t kRows = 512, kWidth = 32, kBytes = kRows * kWidth * 4;
  const Parameter w(Random(1).normal({kWidth, kWidth}) * 0.2, "w"), b(zeros({kWidth}), "b");
  // Products keep steps whole; each needs what came before it.
  const auto segment = [&](const Tensor& t) {
    Tensor y = t;
    for (int k = 0; k < 8; ++k) y = tanh(matmul(y, w) + b);
    return y;
  };
  const auto step_of = [&](bool again) {
    return [&segment, &w, &b, again](const Tensors& in) -> Tensors {
      Tensor y = in[0];
      for (int k = 0; k < 4; ++k) y = again ? checkpoint(segment, y) : segment(y);
      const Gradients g = backward(mean(square(y)));
      return {g[w], g[b], y};
    };
  };
  const Tensors x{Random(2).normal({kRows, kWidth})};
  Plan plain = plan(step_of(false), x), again = plan(step_of(true), x);
  const Tensors expected = step_of(true)(x), planned = again(x), without = plain(x);
  for (std::size_t k = 0; k < expected.size(); ++k) {
    CHECK(planned[k].values<float>() == expected[k].values<float>());
    for (std::int64_t at = 0; at < expected[k].elements(); ++at)
      CHECK(without[k].at<float>(at) == Approx(planned[k].at<float>(at)).epsilon(1e-4));
  }
  CHECK(plain.arena_bytes() >= 31 * kBytes);
  CHECK(again.arena_bytes() <= 15 * kBytes);
  // Derivatives of derivatives too.
  const auto second = [&](const Tensors& in) -> Tensors {
    const Tensor g = gradients(sum(checkpoint(segment, in[0])), {in[0]}, {.record = true})[0];
    return gradients(sum(square(g)), {w});
  };
  const auto planned_second = plan(second, x)(x)[0].values<float>(),
             eager_second = second({variable(x[0])})[0].values<float>();
  for (std::size_t k = 0; k < eager_second.size(); ++k)
    CHECK(planned_second[k] == Approx(eager_second[k]).epsilon(1e-3));
}

TEST_CASE("moving moments of a layer in a checkpoint move once in a plan") {
  const BatchNormalization layer({.momentum = 0.5});
  const Tensor x = tensor({{1.0, 2.0}, {3.0, 6.0}});
  layer(x);
  Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor y = checkpoint([&](const Tensor& t) { return Tensor(layer(t, {.training = true})); }, in[0]);
        return {backward(sum(square(y * in[0])))[in[0]]};
      },
      {x});
  step({x});
  CHECK(layer.parameters()[2].value().values<double>() == std::vector<double>{1, 2});
  CHECK(layer.parameters()[3].value().values<double>() == std::vector<double>{1, 2.5});
}
