#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/numerical.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/optim/optimizer.h>

#include <cmath>
#include <limits>
#include <thread>

using namespace twopass;

namespace {

const double kInfinity = std::numeric_limits<double>::infinity();

Tensor leaf(std::initializer_list<double> values) { return variable(tensor(values, f64)); }
std::vector<double> gradient_of(const Tensor& y, const Tensor& x) { return backward(sum(y))[x].values<double>(); }

}  // namespace

TEST_CASE("a tensor used twice receives the sum of both gradients") {
  const Tensor x = leaf({2, 3});
  CHECK(gradient_of(x * x + x, x) == std::vector<double>{5, 7});
}

TEST_CASE("one backward pass visits each node once: two passes for any number of weights, N + 1 numerically") {
  const Tensor w = leaf({1, 2, 3, 4, 5});
  const auto f = [](const Tensors& in) { return sum(square(in[0])); };
  CHECK(backward(f({w})).visited() == 3);
  const NumericalGradients numerical = numerical_gradients(f, {detach(w)});
  CHECK(numerical.passes == 6);
  for (std::int64_t k = 0; k < 5; ++k)
    CHECK(numerical.gradients[0].at<double>(k) == doctest::Approx(2.0 * static_cast<double>(k + 1)).epsilon(1e-6));
}

TEST_CASE("N1: relu passes no gradient at zero of either sign, and NaN stays NaN") {
  const Tensor x = leaf({0.0, -0.0, 1.0});
  CHECK(gradient_of(relu(x), x) == std::vector<double>{0, 0, 1});
  CHECK(std::isnan(relu(tensor(std::nan(""), f64)).item<double>()));
}

TEST_CASE("N2: abs and sign have gradient 0 at 0") {
  const Tensor x = leaf({0.0});
  CHECK(gradient_of(abs(x), x) == std::vector<double>{0});
  CHECK(gradient_of(sign(x), x) == std::vector<double>{0});
}

TEST_CASE("N3: the root has gradient infinity at 0, unless nothing comes from above") {
  const Tensor x = leaf({0.0});
  CHECK(gradient_of(sqrt(x), x) == std::vector<double>{kInfinity});
  CHECK(gradient_of(sqrt(x) * 0.0, x) == std::vector<double>{0});
  CHECK(std::isnan(sqrt(tensor(-1.0, f64)).item<double>()));
}

TEST_CASE("N12: ties of maximum and minimum share the gradient evenly") {
  const Tensor a = leaf({1.0}), b = leaf({1.0});
  CHECK(gradient_of(maximum(a, b), a) == std::vector<double>{0.5});
  CHECK(gradient_of(minimum(a, b), b) == std::vector<double>{0.5});
  CHECK(gradient_of(maximum(a, a), a) == std::vector<double>{1});
}

TEST_CASE("N24: strong zero: only the chosen branch of where has a gradient") {
  const Tensor x = leaf({0.0});
  CHECK(gradient_of(where(x > 0.0, sqrt(x), zeros_like(x)), x) == std::vector<double>{0});
  const Tensor big = leaf({1000.0});
  CHECK(gradient_of(where(tensor({false}), exp(big), big), big) == std::vector<double>{1});
  CHECK(gradient_of(where(equal(x, zeros_like(x)), ones_like(x), sin(x) / x), x) == std::vector<double>{0});
}

TEST_CASE("S1: gradients of broadcast inputs come back in their own shapes") {
  const Tensor scalar = variable(tensor(2.0, f64)), column = variable(ones({3, 1}, f64)),
               row = variable(ones({1, 2}, f64));
  const Gradients g = backward(sum(scalar * (column + row)));
  CHECK(g[scalar].shape() == Shape());
  CHECK(g[scalar].item<double>() == 12);
  CHECK(g[column].shape() == Shape{3, 1});
  CHECK(g[row].values<double>() == std::vector<double>{6, 6});
}

TEST_CASE("S2: a broadcast leaf's gradient has the leaf's shape also where a reduction lost the axis") {
  const Tensor x = variable(ones({1, 3}, f64));
  CHECK(backward(sum(sum(x + ones({4, 3}, f64), 0)))[x].shape() == Shape{1, 3});
}

TEST_CASE("S3: shapes that do not go together are refused with both") {
  CHECK_THROWS_WITH_AS(ones({3}) + ones({4}), "add((3,), (4,)): shapes (3,) and (4,) do not broadcast", Error);
  CHECK_THROWS_WITH_AS(matmul(ones({2, 3}), ones({4, 5})), doctest::Contains("matmul((2, 3), (4, 5)"), Error);
}

TEST_CASE("S4: empty tensors broadcast, and their gradients are zeros") {
  const Tensor x = variable(ones({1, 3}, f64));
  const Tensor y = zeros({0, 3}, f64) + x;
  CHECK(y.shape() == Shape{0, 3});
  CHECK(backward(sum(y))[x].values<double>() == std::vector<double>{0, 0, 0});
  CHECK_THROWS_AS(zeros({0}) + ones({2}), Error);
}

TEST_CASE("S15: a reshaped tensor shares memory that nobody writes") {
  const Tensor x = tensor({1.0, 2.0, 3.0, 4.0}, f64);
  CHECK(reshape(x, {2, 2}).data<double>() == x.data<double>());
}

TEST_CASE("S16: sizes beyond 63 bits and negative ones are refused before memory is asked for") {
  CHECK_THROWS_AS((Shape{std::int64_t{1} << 32, std::int64_t{1} << 32}), Error);
  CHECK_THROWS_AS((Shape{std::int64_t{1} << 62, std::int64_t{1} << 62}), Error);
  CHECK_THROWS_WITH_AS((Shape{-2}), doctest::Contains("negative size -2"), Error);
}

TEST_CASE("S17: four terabytes are refused and the process goes on") {
  CHECK_THROWS_WITH_AS(ones({std::int64_t{1} << 40}), doctest::Contains("out of memory"), Error);
  CHECK(ones({2}).elements() == 2);
}

TEST_CASE("S20: a seed of another shape and a rank above the maximum are refused") {
  const Tensor x = leaf({1, 2});
  CHECK_THROWS_WITH_AS(backward(x * x, {.seed = ones({3}, f64)}), doctest::Contains("the seed is f64 (3,)"), Error);
  CHECK_THROWS_WITH_AS(Shape(std::vector<std::int64_t>(17, 1)), doctest::Contains("above the maximum of 16"), Error);
}

TEST_CASE("G5: a tensor that meets itself") {
  const Tensor x = leaf({3.0});
  CHECK(gradient_of(x * x, x) == std::vector<double>{6});
  CHECK(gradient_of(x - x, x) == std::vector<double>{0});
  CHECK(gradient_of(x / x, x)[0] == doctest::Approx(0));
  CHECK(gradient_of(concat({x, x}), x) == std::vector<double>{2});
  CHECK(gradient_of(maximum(x, x), x) == std::vector<double>{1});
  const Tensor a = variable(tensor({{1.0, 2.0}, {3.0, 4.0}}, f64));
  CHECK(gradient_of(matmul(a, a), a) == std::vector<double>{7, 11, 9, 13});
}

TEST_CASE("G6: what the output does not depend on has gradient zeros, or is refused where asked") {
  const Tensor x = leaf({1.0}), other = leaf({2.0, 3.0});
  const Gradients g = backward(sum(x));
  CHECK(!g.contains(other));
  CHECK(g[other].values<double>() == std::vector<double>{0, 0});
  CHECK_THROWS_WITH_AS(gradients(sum(x), {other}, {.unreachable = Unreachable::refuse}),
                       doctest::Contains("does not depend on tensor 0"), Error);
}

TEST_CASE("G7: of a leaf itself 1; what is not recorded, and several elements without a seed, are refused") {
  const Tensor x = leaf({5.0});
  CHECK(backward(x)[x].at<double>(0) == 1);
  CHECK_THROWS_WITH_AS(backward(tensor(1.0)), doctest::Contains("not recorded"), Error);
  CHECK_THROWS_WITH_AS(backward(leaf({1, 2})), doctest::Contains("needs a seed"), Error);
}

TEST_CASE("G8: a second pass over a graph that is kept gives equal bits") {
  const Tensor x = leaf({0.3, 0.7});
  const Tensor y = sum(tanh(x * x));
  CHECK(backward(y)[x].values<double>() == backward(y)[x].values<double>());
}

TEST_CASE("G8: a graph that was consumed refuses a second pass with how it went; what others hold goes on") {
  const Tensor x = leaf({0.3, 0.7});
  const Tensor inner = x * x;
  Tensor y = sum(tanh(inner)), also = sum(neg(x));  // the second keeps no values
  const auto first = backward(std::move(y))[x].values<double>();
  CHECK_THROWS_WITH_AS(backward(y), doctest::Contains("moved from (as backward(std::move(y)) does)"), Error);
  backward(std::move(also));
  CHECK_THROWS_WITH_AS(backward(also), doctest::Contains("backward(std::move(y))"), Error);
  CHECK(backward(sum(tanh(inner)))[x].values<double>() == first);
}

TEST_CASE("G9: two losses over one graph, and a parameter without a gradient is skipped") {
  const Parameter w(tensor({1.0, 2.0}), "w"), unused(tensor({7.0}), "unused");
  const Tensor h = w.tensor() * 2.0;
  CHECK((backward(sum(h))[w] + backward(sum(h * h))[w]).values<double>() == std::vector<double>{10, 18});
  sgd({.learning_rate = 0.5}).apply(backward(sum(h)), {w, unused});
  CHECK(unused.value().at<double>(0) == 7);
  CHECK(w.value().values<double>() == std::vector<double>{0, 1});
}

TEST_CASE("G10: no derivative passes through stop_gradient") {
  const Tensor x = leaf({3.0});
  CHECK(gradient_of(x * stop_gradient(x), x) == std::vector<double>{3});
}

TEST_CASE("G10: no derivative passes through stop_gradient in plans") {
  const auto slope = [](const Tensors& in) { return gradients(sum(in[0] * stop_gradient(in[0])), in); };
  const Tensor x = tensor({3.0, -2.0}, f64);
  CHECK(plan(slope, {x})({x})[0].values<double>() == std::vector<double>{3, -2});
}

TEST_CASE("G11: no_record nests, ends with an exception, and is each thread's own") {
  const Tensor x = leaf({1.0});
  CHECK(!no_record([&] { return no_record([&] { return x * x; }) + x; }).recorded());
  CHECK_THROWS(no_record([]() -> Tensor { throw Error("stop"); }));
  CHECK((x * x).recorded());
  no_record([&] {
    std::thread([&] { CHECK((x * x).recorded()); }).join();
    return 0;
  });
}

TEST_CASE("G14: an optimizer's step between forward and backward leaves gradients at the old weights, exactly") {
  const Parameter w(tensor({3.0, -1.5}, f64), "w");
  const Tensor x = tensor({2.0, 5.0}, f64);
  const auto loss = [&] { return sum(square(w.tensor() * x)); };
  const Tensor before = loss();
  const std::vector<double> old = w.value().values<double>();
  for (const Optimizer& optimizer : {sgd({.learning_rate = 0.125}), adam({.learning_rate = 0.5})})
    optimizer.apply(backward(loss()), {w});
  CHECK(w.value().values<double>() != old);
  // 2 w x²
  CHECK(backward(before)[w].values<double>() == std::vector<double>{24, -75});
}

TEST_CASE("G12: a parameter that is set after it was recorded leaves the record as it was") {
  const Parameter w(tensor({3.0}), "w");
  const Tensor y = sum(w.tensor() * w.tensor());
  w.set(tensor({100.0}));
  CHECK(backward(y)[w].at<double>(0) == 6);
}

TEST_CASE("G21: the graph keeps what it needs, and a tensor that was moved from says so") {
  const Tensor x = leaf({2.0});
  Tensor y;
  {
    const Tensor inner = x * x;
    y = sum(inner * inner);
  }
  CHECK(backward(y)[x].at<double>(0) == 32);
  Tensor from = x;
  const Tensor to = std::move(from);
  CHECK_THROWS_WITH_AS(from.shape(), doctest::Contains("undefined tensor"), Error);
}

TEST_CASE("G26: two passes add in the same order: equal bits") {
  const auto run = [] {
    const Tensor x = leaf({0.1, 0.2, 0.3});
    Tensor y = x;
    for (int k = 0; k < 30; ++k) y = tanh(y + x * 0.1) * (x + 1.0);
    return gradient_of(y, x);
  };
  CHECK(run() == run());
}

TEST_CASE("gradients of tensors between leaves and output are kept only where asked") {
  const Tensor x = leaf({1.0, 2.0});
  const Tensor a = x * x;
  const Tensor y = sum(a * a);
  CHECK(backward(y, {.intermediates = true})[a].values<double>() == std::vector<double>{2, 8});
  CHECK_THROWS_WITH_AS(backward(y)[a], doctest::Contains("intermediates"), Error);
}

TEST_CASE("transforms agree with closed forms") {
  const auto f = [](const Tensor& x) { return sum(x * x * x); };
  const Tensor p = tensor({1.0, 2.0}, f64);
  CHECK(grad(f)(p).values<double>() == std::vector<double>{3, 12});
  CHECK(hessian(f, p).values<double>() == std::vector<double>{6, 0, 0, 12});
  CHECK(hvp(f, p, ones({2}, f64)).values<double>() == std::vector<double>{6, 12});
  CHECK(jvp(f, p, ones({2}, f64)).item<double>() == 15);
  CHECK(jacobian([](const Tensor& x) { return x * x; }, p).values<double>() == std::vector<double>{2, 0, 0, 4});
  CHECK(vjp([](const Tensor& x) { return x * x; }, p, tensor({1.0, 10.0}, f64)).second.values<double>() ==
        std::vector<double>{2, 40});
  CHECK(value_and_grad(f)(p).first.item<double>() == 9);
  CHECK(!grad(f)(p).recorded());
}
