// Backward passes over graphs that are large or live long, and over ops whose gradients are wrong or missing.
#include <doctest/doctest.h>
#include <pthread.h>
#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/record.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/optim/optimizer.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <functional>
#include <thread>

using namespace twopass;

namespace {

Tensor leaf(std::initializer_list<double> values) { return variable(tensor(values, f64)); }

#ifdef __has_feature  // clang's way; g++ defines macros
#define TEST_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define TEST_SANITIZED 0
#endif
#if TEST_SANITIZED || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

void on_stack(std::size_t bytes, const std::function<void()>& f) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, bytes);
  pthread_t thread{};
  REQUIRE(pthread_create(
              &thread, &attributes,
              [](void* context) -> void* {
                (*static_cast<const std::function<void()>*>(context))();
                return nullptr;
              },
              const_cast<std::function<void()>*>(&f)) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

int failures_left = 0;
const TypedOp<>& odd_op(Tensors (*gradient)(const NoArgs&, const Call&, const Tensor&)) {
  return *new TypedOp<>(
      {.name = "odd",
       .doc = "x.",
       .shape = same_shape,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x; }); },
       .gradient = gradient});
}

}  // namespace

TEST_CASE(
    "G1, G2: a chain of a million ops is built, differentiated and released on 256 kB of stack and on 8 MB, from "
    "either "
    "end") {
  const std::int64_t before = Node::live();
  for (const std::size_t stack : {std::size_t{256} << 10, std::size_t{8} << 20})
    on_stack(stack, [] {
      const Tensor x = leaf({1.0});
      Tensor y = x;
      for (int k = 0; k < 1'000'000; ++k) y = y + 1.0;
      CHECK(backward(y)[x].at<double>(0) == 1);
      CHECK(backward(std::move(y))[x].at<double>(0) == 1);
      Tensor head = x;
      for (int k = 0; k < 1'000'000; ++k) head = neg(head);
      std::thread([last = std::move(head)]() mutable { last = Tensor(); }).join();
    });
  CHECK(Node::live() == before);
}

TEST_CASE("G3: y = y + y sixty times is 2^60, in no time that could be measured") {
  const Tensor x = leaf({1.0});
  Tensor y = x;
  for (int k = 0; k < 60; ++k) y = y + y;
  const Gradients g = backward(y);
  CHECK(g[x].at<double>(0) == std::pow(2.0, 60));
  CHECK(g.visited() == 61);
}

TEST_CASE("G4: a leaf with a hundred thousand users has one gradient") {
  const Tensor x = leaf({1.0});
  Tensors parts;
  for (int k = 0; k < 50'000; ++k) parts.push_back(concat({x, x}));  // in two calls: one takes 65,535 inputs at most
  const Gradients g = backward(sum(concat(parts)));
  CHECK(g[x].at<double>(0) == 100'000);
  CHECK(g.visited() == 50'003);
}

TEST_CASE("G4: a thousand tensors that each feed a thousand others have gradients in time linear in the edges") {
  constexpr int kWide = 1000;
  Tensors first;
  for (int k = 0; k < kWide; ++k) first.push_back(leaf({0.1 * k}));
  const auto run = [&] {
    Tensors second;
    for (int k = 0; k < kWide; ++k) second.push_back(tanh(sum(concat(first) * (1e-4 * k))));
    Tensor total = second[0];
    for (int k = 1; k < kWide; ++k) total = total + second[static_cast<std::size_t>(k)];
    return backward(sum(total));
  };
  const Gradients g = run(), again = run();
  // d/dx Σ tanh(s_k Σ x) = Σ s_k (1 - tanh²(s_k Σ x)), the same for every x
  double expected = 0;
  for (int k = 0; k < kWide; ++k) expected += 1e-4 * k / std::pow(std::cosh(1e-4 * k * 0.1 * 499'500), 2);
  for (const int k : {0, 1, 999}) {
    const Tensor& x = first[static_cast<std::size_t>(k)];
    CHECK(g[x].at<double>(0) == doctest::Approx(expected).epsilon(1e-12));
    CHECK(g[x].at<double>(0) == again[x].at<double>(0));
  }
}

TEST_CASE("G15: after a gradient threw, nothing has changed and backward may be called again") {
  static const TypedOp<>& op = odd_op([](const NoArgs&, const Call&, const Tensor& g) -> Tensors {
    if (failures_left-- > 0) throw Error("not now");
    return {g};
  });
  const Tensor x = leaf({1.0, 2.0});
  const Tensor y = sum(apply(op, {x * x}));
  failures_left = 1;
  CHECK_THROWS_WITH_AS(backward(y), "not now\n  in the gradient of odd", Error);
  CHECK(backward(y)[x].values<double>() == std::vector<double>{2, 4});
}

TEST_CASE("G17: gradients of a wrong number, shape or dtype are refused by the op's name; none is zero") {
  const Tensor x = leaf({1.0, 2.0});
  static const TypedOp<>& two = odd_op([](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {g, g}; });
  CHECK_THROWS_WITH_AS(backward(sum(apply(two, {x}))), "the gradient of odd returned 2 gradients for 1 inputs", Error);
  static const TypedOp<>& wide =
      odd_op([](const NoArgs&, const Call&, const Tensor&) -> Tensors { return {ones({3}, f64)}; });
  CHECK_THROWS_WITH_AS(backward(sum(apply(wide, {x}))),
                       doctest::Contains("returned shape (3,) for input 0 of shape (2,)"), Error);
  static const TypedOp<>& narrow =
      odd_op([](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {cast(g, f32)}; });
  CHECK_THROWS_WITH_AS(backward(sum(apply(narrow, {x}))), doctest::Contains("returned f32 for input 0, which is f64"),
                       Error);
  static const TypedOp<>& none =
      odd_op([](const NoArgs&, const Call&, const Tensor&) -> Tensors { return {Tensor()}; });
  CHECK(backward(sum(apply(none, {x})))[x].values<double>() == std::vector<double>{0, 0});
}

TEST_CASE("G19: gradients of gradients, dropped in any order, leave no node behind") {
  const std::int64_t before = Node::live();
  std::array<std::size_t, 5> order{0, 1, 2, 3, 4};
  do {
    std::array<Tensor, 5> held;
    auto& [x, y, first, second, third] = held;
    x = leaf({0.5});
    y = sum(x * x * x * x);
    first = gradients(y, {x}, {.record = true})[0];
    second = gradients(sum(first), {x}, {.record = true})[0];
    third = gradients(sum(second), {x}, {.record = true})[0];
    constexpr std::array<double, 5> kValues{0.5, 0.0625, 0.5, 3, 12};
    for (const std::size_t each : order) {
      CHECK(sum(held[each]).item<double>() == kValues[each]);
      held[each] = Tensor();
    }
    REQUIRE(Node::live() == before);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("derivatives of derivatives, twelve deep") {
  std::function<Tensor(const Tensor&)> f = [](const Tensor& x) { return sum(exp(x * 0.5)); };
  for (int k = 0; k < 12; ++k) f = [g = f](const Tensor& x) { return sum(grad(g)(x)); };
  CHECK(f(tensor({0.0}, f64)).item<double>() == doctest::Approx(std::pow(0.5, 12)));
}

TEST_CASE("G23: a hundred thousand training steps leave memory as it was") {
  const Parameter w(ones({4, 4}), "w");
  const Optimizer optimizer = sgd({.learning_rate = 1e-3});
  const auto step = [&] { optimizer.apply(backward(sum(square(matmul(w, w)))), {w}); };
  for (int k = 0; k < 1000; ++k) step();
  const std::int64_t bytes = memory::live_bytes(), nodes = Node::live(), resident = resident_bytes();
  for (int k = 0; k < 100'000; ++k) step();
  CHECK(memory::live_bytes() == bytes);
  CHECK(Node::live() == nodes);
  if (!kSanitized) CHECK(resident_bytes() - resident < 1'000'000);  // sanitizers hold back what is freed
}

TEST_CASE("G25: a second derivative through an op without one is refused by its name") {
  static const TypedOp<> slope(
      {.name = "slope", .doc = "3 x².", .shape = same_shape, .forward = [](const NoArgs&, Inputs in, Output out) {
         each(in, out, [](auto x) { return 3 * x * x; });
       }});
  static const TypedOp<> cube(
      {.name = "cube",
       .doc = "x³.",
       .shape = same_shape,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x * x * x; }); },
       .keeps = Keep::input,
       .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
         return {g * apply(slope, {call.input(0)})};
       }});
  const Tensor x = leaf({2.0});
  const Tensor first = gradients(sum(apply(cube, {x})), {x}, {.record = true})[0];
  CHECK(first.at<double>(0) == 12);
  CHECK_THROWS_WITH_AS(backward(first), "slope has no gradient, but a derivative through it is asked for", Error);
}
