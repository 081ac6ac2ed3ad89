// Every allocation refused in turn, those of operator new and of the pool: a program of its own, since it replaces
// operator new.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/softmax.h>
#include <twopass/optim/optimizer.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <vector>

using namespace twopass;

namespace {

std::atomic<std::int64_t> refuse_in{0};  // counted down by each allocation of any thread; 0: none is refused
std::atomic<std::int64_t> blocks{0};     // what was allocated and not freed

void* allocated(std::size_t size, std::size_t alignment) {
  if (refuse_in.load() > 0 && --refuse_in == 0) throw std::bad_alloc();
  void* block = alignment ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                          : std::malloc(size > 0 ? size : 1);
  if (!block) throw std::bad_alloc();
  ++blocks;
  return block;
}

void released(void* block) noexcept {
  if (!block) return;
  --blocks;
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) { return allocated(size, 0); }
void* operator new[](std::size_t size) { return allocated(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocated(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocated(size, static_cast<std::size_t>(alignment));
}
// Those that do not throw are replaced as well: a sanitizer's own would not go with the deletes below.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept try {
  return allocated(size, 0);
} catch (const std::bad_alloc&) {
  return nullptr;
}
void* operator new[](std::size_t size, const std::nothrow_t& refusal) noexcept { return operator new(size, refusal); }
void operator delete(void* block) noexcept { released(block); }
void operator delete[](void* block) noexcept { released(block); }
void operator delete(void* block, std::size_t) noexcept { released(block); }
void operator delete[](void* block, std::size_t) noexcept { released(block); }
void operator delete(void* block, std::align_val_t) noexcept { released(block); }
void operator delete[](void* block, std::align_val_t) noexcept { released(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { released(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { released(block); }

namespace {

using Numbers = std::vector<double>;
using Work = std::function<Numbers()>;

// Does `work` with the k-th allocation of operator new refused, for every k; how many were. Whatever happens, as much
// is alive afterwards as before, and the next time it gives the same.
int refuse_each(
    const Work& work, const std::function<void()>& unchanged = [] {}) {
  const Numbers expected = work();
  work();  // what is kept for ever is there now
  const auto nodes = Node::live();
  const auto bytes = memory::live_bytes();
  int refused = 0;
  std::int64_t alive = 0;
  for (std::int64_t k = 1;; ++k) {
    bool done = false;
    {
      refuse_in = k;
      try {
        const Numbers found = work();
        done = refuse_in > 0;
        refuse_in = 0;
        CHECK(found == expected);  // an allocation may be one that can be done without
      } catch (const std::bad_alloc&) {
        refuse_in = 0;
        ++refused;
      } catch (const Error& error) {
        refuse_in = 0;
        ++refused;
        CHECK(std::string(error.what()).find("memory") != std::string::npos);
      }
    }
    if (done) break;
    REQUIRE(Node::live() == nodes);
    REQUIRE(memory::live_bytes() == bytes);
    unchanged();
    if (k % 16 == 0) REQUIRE(work() == expected);
  }
  // A second round through the same refusals keeps nothing more.
  for (int round = 0; round < 2; ++round) {
    const std::int64_t before = blocks;
    for (std::int64_t k = 1; k <= refused; ++k) {
      refuse_in = k;
      try {
        work();
      } catch (const std::exception&) {
      }
      refuse_in = 0;
    }
    alive = blocks - before;
  }
  CHECK(alive == 0);
  return refused;
}

}  // namespace

TEST_CASE(
    "G16: whichever allocation of a forward and a backward pass is refused, nothing leaks and nothing has changed") {
  const Tensor w = variable(Random(1).normal({8, 8}, f64)), x = Random(2).normal({4, 8}, f64),
               labels = tensor({0, 1, 2, 3});
  const Numbers before = w.values<double>();
  CHECK(refuse_each(
            [&] {
              const Tensor hidden = affine(relu(matmul(x, w)), w, Tensor());
              return backward(mean(sparse_softmax_cross_entropy(tanh(hidden) + hidden * 2.0, labels)))[w]
                  .values<double>();
            },
            [&] { REQUIRE(w.values<double>() == before); }) > 50);
}

TEST_CASE(
    "G16: so of a backward pass that consumes its graph, of one that is kept and done again, and of a long chain") {
  const Tensor x = variable(Random(1).normal({3}, f64));
  CHECK(refuse_each([&] {
          Tensor y = sum(exp(sin(x) * x));
          return backward(std::move(y))[x].values<double>();
        }) > 10);
  const Tensor y = sum(exp(sin(x) * x) / 3.0);
  CHECK(refuse_each([&] { return backward(y)[x].values<double>(); }) > 5);
  CHECK(refuse_each([&] {
          Tensor chain = x;
          for (int k = 0; k < 200; ++k) chain = sin(chain);
          return backward(sum(chain))[x].values<double>();
        }) > 200);
}

TEST_CASE("G16: so of second derivatives, of Jacobians both ways, and of what is computed again") {
  const Tensor x = Random(1).normal({3}, f64), v = Random(2).normal({3}, f64);
  const Function f = [](const Tensor&t) { return sum(exp(sin(t) * t)); },
                 g = [](const Tensor&t) { return tanh(t) * t; };
  CHECK(refuse_each(
            [&] { return grad([&](const Tensor& t) { return sum(square(grad(f)(t))); })(x).values<double>(); }) > 20);
  CHECK(refuse_each([&] { return hvp(f, x, v).values<double>(); }) > 20);
  CHECK(refuse_each([&] { return hessian(f, x).values<double>(); }) > 20);
  CHECK(refuse_each([&] { return jvp(g, x, v).values<double>(); }) > 10);
  CHECK(refuse_each([&] { return jacobian(g, x).values<double>(); }) > 10);
  CHECK(refuse_each([&] {
          const Tensor at = variable(x);
          return backward(sum(checkpoint(g, at) * 2.0))[at].values<double>();
        }) > 10);
  const auto own = custom_gradient([](const Tensors& in) { return exp(in[0]); },
                                   [](const Tensors&, const Tensor& y, const Tensor& t) { return Tensors{t * y}; });
  CHECK(refuse_each([&] {
          const Tensor at = variable(x);
          return backward(sum(own({at})))[at].values<double>();
        }) > 10);
}

TEST_CASE("G16: so of a step of an optimizer, which changes weights and slots all together or not at all") {
  const Tensor start = Random(1).normal({8, 8}, f64), x = Random(2).normal({4, 8}, f64);
  const auto step = [&](const Parameter& w, const Optimizer& optimizer) {
    Tensor loss = mean(square(matmul(x, w)));
    optimizer.apply(backward(std::move(loss)), {w});
  };
  const Parameter other(start, "other");
  step(other, adam());
  const Numbers before = start.values<double>(), after = other.value().values<double>();
  int refused = 0;
  for (std::int64_t k = 1, none = 0; !none; ++k) {
    const Parameter w(start, "w");
    const Optimizer optimizer = adam();
    const auto nodes = Node::live();
    refuse_in = k;
    try {
      step(w, optimizer);
      none = refuse_in > 0;
      refuse_in = 0;
      REQUIRE(w.value().values<double>() == after);  // an allocation may be one that can be done without
    } catch (const std::bad_alloc&) {
      refuse_in = 0;
      ++refused;
      REQUIRE(Node::live() == nodes);
      REQUIRE(w.value().values<double>() == before);
      REQUIRE(optimizer.iterations() == 0);
      step(w, optimizer);
      REQUIRE(w.value().values<double>() == after);
    }
  }
  CHECK(refused > 20);
}

TEST_CASE("G16: so of a plan's run, whose parameters change only if its results are given") {
  const Tensor x = Random(2).normal({4, 8}, f64);
  const Parameter w(Random(1).normal({8, 8}, f64), "w");
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor loss = mean(square(matmul(in[0], w)));
        w.set(w - 0.1 * backward(loss)[w]);
        return {loss};
      },
      {x});
  step({x});
  const Numbers before = w.value().values<double>();
  step({x});
  const Numbers after = w.value().values<double>();
  for (const bool kept : {false, true})
    for (std::int64_t k = 1, refused = 1; refused; ++k) {
      w.set(from_values(before, {8, 8}, f64));
      Tensors results;
      refused = 0;
      refuse_in = k;
      try {
        kept ? step.run_into(results, {x}) : (results = step({x}), void());
        refuse_in = 0;
        REQUIRE(w.value().values<double>() == after);
      } catch (const std::bad_alloc&) {
        refused = 1;
        refuse_in = 0;
        REQUIRE(w.value().values<double>() == before);
      }
    }
}

TEST_CASE("G16: so of fit, which throws and leaves states as they were") {
  const Tensor x = Random(2).normal({6, 3}), y = Random(3).normal({6, 1});
  const Tensor in = input({3}, "x");
  Model model(in, Dense(1)(BatchNormalization()(Dense(4)(in))));
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  // oneDNN, where there is one, does not survive that its lists are refused memory: they are made here.
  model.fit(x, y, {.batch_size = 6, .verbose = 0});
  std::int64_t refused = 0;
  for (std::int64_t k = 1, again = 1; again; k += k < 400 ? 1 : 37) {
    const auto values = [&] {
      std::vector<Numbers> all;
      for (const Parameter& each : model.parameters())
        if (!each.trainable()) all.push_back(cast(each.value(), f64).values<double>());
      return all;
    };
    const std::vector<Numbers> before = values();
    const std::int64_t steps = model.optimizer().iterations();
    refuse_in = k;
    try {
      model.fit(x, y, {.batch_size = 6, .verbose = 0});
      again = refuse_in > 0 ? 0 : 1;
      refuse_in = 0;
    } catch (const std::exception&) {
      refuse_in = 0;
      ++refused;
      if (model.optimizer().iterations() == steps) REQUIRE(values() == before);
    }
  }
  CHECK(refused > 100);
}
