#include <doctest/doctest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/parameter.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/optim/optimizer.h>

using namespace twopass;
using doctest::Contains;

namespace {

Tensor ones_of(const Shape& shape, DType dtype, Random&) { return ones(shape, dtype); }

// Assigned in a test and released after main, with gradients that hold tensors of their own.
Parameter late_parameter;
Tensor late_loss;

// Made before its thread's first allocation, so that it is released after the thread's cache of blocks.
thread_local Tensor of_thread;

}  // namespace

TEST_CASE("copies of a parameter are one cell, and others have a number of their own") {
  const Parameter p(tensor({1.0}), "p"), copy = p, other(tensor({1.0}), "p");
  copy.set(tensor({2.0}));
  CHECK(p.value().at<float>(0) == 2);
  CHECK(p == copy);
  CHECK_FALSE(p == other);
  CHECK(p.id() != other.id());
}

TEST_CASE("a parameter that is set before it is read is never drawn") {
  const Parameter p("p", {1}, f32, [](const Shape&, DType, Random&) -> Tensor { throw Error("drawn"); });
  p.set(tensor({4.0}));
  CHECK(p.value().at<float>(0) == 4);
}

TEST_CASE("an initializer that fails is asked again at the next reading") {
  int asked = 0;
  const Parameter p("p", {1}, f32, [&](const Shape& shape, DType dtype, Random&) {
    if (++asked == 1) throw Error("not yet");
    return ones(shape, dtype);
  });
  CHECK_THROWS_WITH_AS(p.value(), Contains("not yet"), Error);
  CHECK(p.value().at<float>(0) == 1);
}

TEST_CASE("a fixed seed is not overruled") {
  const Parameter p("p", {4}, f64,
                    [](const Shape& shape, DType dtype, Random& random) { return random.uniform(shape, dtype); });
  p.seed(5, true);
  p.seed(6);
  CHECK(p.value().values<double>() == Random(5).uniform({4}, f64).values<double>());
}

TEST_CASE("a parameter that is not trainable is read without a record, until it is again") {
  const Parameter p(tensor({1.0}), "p");
  p.set_trainable(false);
  CHECK_FALSE(p.tensor().recorded());
  p.set_trainable(true);
  CHECK(p.tensor().recorded());
}

TEST_CASE("a leaf outlives its parameter and then has none") {
  Tensor leaf;
  {
    const Parameter p(tensor({3.0}), "p");
    leaf = p.tensor();
  }
  CHECK_FALSE(Parameter::of(leaf).defined());
  CHECK(leaf.at<float>(0) == 3);
  CHECK(leaf.name() == "p");
}

TEST_CASE("a parameter set to what was computed from it keeps nothing of the record") {
  const Parameter p(tensor({3.0}), "p");
  p.set(p.tensor() * 2.0);  // the first call of an op makes its record
  const std::int64_t before = Node::live();
  for (int k = 0; k < 9; ++k) p.set(p.tensor() * 2.0);
  CHECK(Node::live() == before);
  CHECK(p.value().at<float>(0) == 3072);
}

TEST_CASE("parameters of integers, of open shapes and undefined ones are refused in words") {
  CHECK_THROWS_WITH_AS(Parameter("n", {2}, i64, ones_of), Contains("parameter \"n\": only f32 and f64"), Error);
  CHECK_THROWS_WITH_AS(Parameter("n", {kOpen}, f32, ones_of), Contains("(None,) is open"), Error);
  CHECK_THROWS_WITH_AS(Parameter().value(), Contains("has not been built"), Error);
}

TEST_CASE("the inner of two substitutions wins and ends first, and their sides must have one length") {
  const Parameter p(tensor({1.0}), "p");
  const Substitution outer({p}, {tensor({2.0})});
  {
    const Substitution inner({p}, {tensor({3.0})});
    CHECK(p.tensor().at<float>(0) == 3);
  }
  CHECK(p.tensor().at<float>(0) == 2);
  CHECK_THROWS_WITH_AS(Substitution({p}, {}), Contains("1 parameters cannot be given 0 tensors"), Error);
}

TEST_CASE("G13: Parameter::set changes neither the tensors taken before nor the one it was given") {
  const Parameter p(tensor({1.0, 2.0}), "p");
  const Tensor taken = p.tensor(), value = p.value(), next = tensor({5.0, 6.0});
  p.set(next);
  p.set(tensor({7.0, 8.0}));
  CHECK(taken.values<float>() == std::vector<float>{1, 2});
  CHECK(value.values<float>() == std::vector<float>{1, 2});
  CHECK(next.values<float>() == std::vector<float>{5, 6});
}

TEST_CASE("G13: every optimizer leaves the values, gradients and slots that were taken before its update") {
  for (const Optimizer& optimizer :
       {sgd({.momentum = 0.9, .weight_decay = 0.1}), rmsprop({.momentum = 0.9, .centered = true}), adamw()}) {
    const Parameter p(tensor({1.0, 2.0}, f64), "p");
    const Tensor gradient = tensor({0.5, 3.0}, f64), taken = p.tensor();
    optimizer.apply(Tensors{gradient}, {p});
    const Tensor slot = optimizer.slots().front();
    const auto slot_before = slot.values<double>();
    optimizer.apply(Tensors{gradient}, {p});
    CHECK(taken.values<double>() == std::vector<double>{1, 2});
    CHECK(gradient.values<double>() == std::vector<double>{0.5, 3});
    CHECK(slot.values<double>() == slot_before);
    CHECK(optimizer.slots().front().values<double>() != slot_before);
  }
}

TEST_CASE("G22: globals that are given a graph by a test are released after main") {
  late_parameter = Parameter(tensor({3.0}), "late");
  late_loss = sum(square(late_parameter.tensor()));
  CHECK(backward(late_loss)[late_parameter].at<float>(0) == 6);
}

TEST_CASE("G22: a recorded graph in thread storage is released when its thread ends") {
  square(ones({1}));  // the first call of an op makes its record
  const std::int64_t nodes = Node::live(), bytes = memory::live_bytes();
  std::int64_t nodes_within = 0;
  std::thread([&] {
    of_thread = square(variable(uninitialised({1000}, f32)));
    nodes_within = Node::live();
  }).join();
  CHECK(nodes_within == nodes + 2);
  CHECK(Node::live() == nodes);
  CHECK(memory::live_bytes() == bytes);
}

TEST_CASE("an initializer that gives another shape or dtype is refused when it is asked, an empty one at once") {
  const auto with = [](const Tensor& first) {
    return Parameter("p", {2}, f32, [first](const Shape&, DType, Random&) { return first; });
  };
  CHECK_THROWS_WITH_AS(with(ones({3})).value(), doctest::Contains("holds f32 (2,) and cannot be set to f32 (3,)"),
                       Error);
  CHECK_THROWS_WITH_AS(with(ones({2}, f64)).value(), doctest::Contains("f64"), Error);
  CHECK_THROWS_WITH_AS(Parameter("p", {2}, f32, Initializer()), doctest::Contains("no initializer"), Error);
}
