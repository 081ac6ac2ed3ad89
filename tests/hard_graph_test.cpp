// Cases of graphs that need more than a few lines: memory that runs out, NaN that is found, reentrance.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/anomaly.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/record.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/softmax.h>
#include <twopass/optim/optimizer.h>

using namespace twopass;
using doctest::Contains;

namespace {

int depth = 0;
constexpr int kDeepest = 100;

const auto kReentrant = define<NoArgs>({
    .name = "test_reentrant",
    .doc = "The identity, whose gradient runs a backward pass of its own through the same op.",
    .shape = same_floating,
    .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x; }); },
    .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors {
      if (++depth < kDeepest) {
        const RecordingScope on(true);
        const Tensor inner = variable(tensor({1.0}, g.dtype()));
        return {g * backward(sum(apply(*find_op("test_reentrant"), {inner})))[inner]};
      }
      return {g};
    },
    .samples = {{.inputs = {sample::uniform({2})}}},
    .examples = {{.inputs = {{8.0, 27.0}}, .output = {8.0, 27.0}}},
    .refuses = {{{}, {tensor({1, 2})}, "i64"}},
});

}  // namespace

TEST_CASE("G20: a backward pass inside a backward pass, a hundred deep") {
  depth = 0;
  const Tensor x = variable(tensor({3.0}, f64));
  CHECK(backward(sum(kReentrant({x}) * 2.0))[x].at<double>(0) == 2);
  CHECK(depth == kDeepest);
}

TEST_CASE("G13: a tensor taken before an update keeps its elements") {
  const Parameter w(tensor({1.0, 2.0}), "w");
  const Tensor before = w.tensor(), shared = w.value();
  sgd({.learning_rate = 1}).apply(backward(sum(square(w.tensor()))), {w});
  CHECK(before.values<float>() == std::vector<float>{1, 2});
  CHECK(shared.values<float>() == std::vector<float>{1, 2});
  CHECK(w.value().values<float>() == std::vector<float>{-1, -2});
}

TEST_CASE("G16: whichever allocation of a step is refused, nothing has changed and the step can be done again") {
  const Parameter w(Random(1).normal({8, 8}), "w");
  const Optimizer optimizer = adam();
  const Tensor x = Random(2).normal({4, 8}), labels = tensor({0, 1, 2, 3});
  const std::vector<float> before = w.value().values<float>();
  const auto nodes = Node::live();
  const auto bytes = memory::live_bytes();
  int refused = 0;
  for (std::int64_t k = 1;; ++k) {
    memory::refuse_allocation(k);
    try {
      Tensor loss = mean(sparse_softmax_cross_entropy(affine(relu(matmul(x, w)), w, Tensor()), labels));
      optimizer.apply(backward(std::move(loss)), {w});
      memory::refuse_allocation(0);
      break;
    } catch (const Error& error) {
      ++refused;
      CHECK_THROWS_WITH_AS(throw error, Contains("out of memory"), Error);
    }
    REQUIRE(w.value().values<float>() == before);
    REQUIRE(Node::live() == nodes);
    REQUIRE(memory::live_bytes() == bytes);
    REQUIRE(optimizer.iterations() == 0);
  }
  CHECK(refused > 20);
  CHECK(w.value().values<float>() != before);
}

TEST_CASE("G18: the first op that makes a NaN is named, with its element, in the forward pass") {
  const Tensor x = variable(tensor({4.0, 1.0, -1.0}, f64));
  CHECK(std::isnan(sum(sqrt(x)).item<double>()));
  const AnomalyScope scope;
  CHECK_THROWS_WITH_AS(sum(sqrt(x)), Contains("sqrt((3,)): the result is nan at 2, though no input is"), Error);
  const Tensor broken = tensor({1.0f, NAN});
  CHECK_THROWS_WITH_AS(exp(broken), Contains("the result is nan at 1, as input 0 is at 1"), Error);
}

TEST_CASE(
    "G18: the first op of the backward pass that makes a NaN is named, with its element and the op whose gradient it "
    "is") {
  const Tensor a = variable(tensor({3.0, 2.0, -2.0}, f64)), b = variable(tensor({2.0, 2.0, 2.0}, f64));
  const Tensor y = sum(exp(pow(a, b)));
  CHECK(std::isnan(backward(y)[b].at<double>(2)));
  const AnomalyScope scope;
  CHECK_THROWS_WITH_AS(backward(y), Contains("log((3,)): the result is nan at 2, though no input is"), Error);
  REQUIRE(scope.found());
  CHECK_THROWS_WITH_AS(backward(y), Contains("in the gradient of pow"), Error);
}

TEST_CASE("G18: a NaN inside a model names the layer") {
  const Tensor x = input({2});
  Model model(x, Lambda([](const Tensor& t) { return log(t); }, {.name = "logarithm"})(Identity()(x)));
  const AnomalyScope scope;
  CHECK_THROWS_WITH_AS(model.predict(tensor({{1.0, -1.0}})), Contains("in layer \"logarithm\""), Error);
}

TEST_CASE("G24: branches and loops that the data decide are recorded as they ran") {
  const auto doubled = [](const Tensor& start) {  // doubles until above 10
    Tensor y = start;
    while (y.item<double>() < 10) y = y * 2.0;
    return y;
  };
  for (const auto& [start, slope] : {std::pair(1.0, 16.0), {3.0, 4.0}, {20.0, 1.0}}) {
    const Tensor x = variable(tensor(start, f64));
    CHECK(backward(doubled(x))[x].item<double>() == slope);
  }
}
