// That a plan's run takes no memory, neither from the pool nor by operator new. Sanitizers have their own operator new.
#include <doctest/doctest.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <twopass/twopass.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const memory = std::malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

using namespace twopass;

namespace {

// By operator new in ten runs, after what the first ones take.
std::int64_t allocations_of(const Plan& planned, const Tensors& inputs) {
  Tensors outputs;
  for (int run = 0; run < 3; ++run) planned.run_into(outputs, inputs);
  const std::int64_t before = allocations;
  for (int run = 0; run < 10; ++run) planned.run_into(outputs, inputs);
  return allocations - before;
}

}  // namespace

// In f64, whose products are the library's own: oneDNN's executions take memory.
TEST_CASE("a training step that runs again allocates nothing, on one thread and on two") {
  Random random(1);
  Parameters weights;
  for (const Shape& shape : {Shape{12, 20}, Shape{20}, Shape{20, 10}, Shape{10}})
    weights.emplace_back(random.normal(shape, f64), "w");
  const Optimizer optimizer = adam();
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor h = affine(in[0], weights[0], weights[1], FusedActivation::relu);
        const Tensor loss = mean(sparse_softmax_cross_entropy(affine(h, weights[2], weights[3]), in[1]));
        const Gradients found = backward(loss);
        Tensors gradients;
        for (const Parameter& each : weights) gradients.push_back(found[each]);
        optimizer.trace_update(gradients, weights, tensor(1e-3, f64), in[2]);
        return {detach(loss)};
      },
      {ones({32, 12}, f64), zeros({32}, i64), tensor(1.0, f64)});
  const int before = threads::count();
  for (const int count : {1, 2}) {
    threads::set_count(count);
    CHECK(allocations_of(step, {random.normal({32, 12}, f64), zeros({32}, i64), tensor(1.0, f64)}) == 0);
  }
  threads::set_count(before);
}

TEST_CASE("a call of many inputs, blocks of rows and several outputs allocate nothing when they run again") {
  Random random(1);
  const Tensor x = random.normal({4096, 16}), w = random.normal({16, 16});
  const Plan planned = plan(
      [&](const Tensors& in) -> Tensors {
        Tensors parts;
        for (int k = 1; k <= 12; ++k) parts.push_back(in[0] * static_cast<double>(k));
        const Tensor y = exp(tanh(in[0]) - 1.0) * in[0];
        return {concat(parts, 0), sum(y, 1), y, matmul(slice(in[0], 0, 0, 8), in[1])};
      },
      {x, w});
  CHECK(allocations_of(planned, {x, w}) == 0);
}

TEST_CASE("a run into a vector gives what a run gives, also where it is that of the inputs") {
  const Parameter total(zeros({3}), "total");
  const Plan planned = plan(
      [&](const Tensors& in) -> Tensors {
        total.set(total + in[0]);
        return {in[0] * 2.0, total * 1.0};
      },
      {ones({3})});
  Tensors values{ones({3})};
  planned.run_into(values, values);
  REQUIRE(values.size() == 2);
  CHECK(values[0].values<float>() == std::vector<float>{2, 2, 2});
  CHECK(total.value().values<float>() == std::vector<float>{1, 1, 1});
  const Tensors again = planned({ones({3})});
  CHECK(values[0].values<float>() == again[0].values<float>());
  CHECK_THROWS_AS(planned.run_into(values, {ones({4})}), Error);
  CHECK(values.empty());
}
#endif
