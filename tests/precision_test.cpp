#include <doctest/doctest.h>

#include <dirent.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/core/threads.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/bf16.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/gemm.h>
#include <twopass/ops/precision.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>

#include "thread_counts.h"

using namespace twopass;
using doctest::Contains;

namespace {

int threads_of_process() {
  int count = 0;
  DIR* const tasks = opendir("/proc/self/task");
  while (const dirent* entry = readdir(tasks)) count += entry->d_name[0] != '.';
  closedir(tasks);
  return count;
}

Tensor whole_numbers(std::uint64_t seed, const Shape& shape, DType dtype = f32) {
  return cast(Random(seed).integers(shape, -4, 5), dtype);
}

// Runs only where bf16 is there.
template <typename F>
void in_bf16(const F& f) {
  if (!bf16_available()) return;
  const PrecisionScope scope(Precision::bf16);
  f();
}

}  // namespace

TEST_CASE("bf16 rounds to the nearest of 8 bits, ties to even, and keeps infinity and NaN") {
  const auto rounded = [](float x) { return std::bit_cast<float>(std::uint32_t{bf16_of(x)} << 16); };
  CHECK(rounded(257) == 256);
  CHECK(rounded(259) == 260);
  CHECK(rounded(-258) == -258);
  CHECK(rounded(1.0F) == 1);
  CHECK(rounded(3.4e38F) == std::numeric_limits<float>::infinity());
  CHECK(rounded(-std::numeric_limits<float>::infinity()) == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(rounded(std::bit_cast<float>(0x7f800001U))));
}

TEST_CASE("bf16 is refused in words where it is not available") {
  if (bf16_available()) return;
  CHECK_THROWS_WITH_AS(PrecisionScope{Precision::bf16}, Contains("products in bf16 need"), Error);
  CHECK(products_precision() == Precision::single);
}

TEST_CASE("a precision scope ends, nests, and is its thread's alone") {
  CHECK(products_precision() == Precision::single);
  in_bf16([] {
    CHECK(products_precision() == Precision::bf16);
    {
      const PrecisionScope inner(Precision::single);
      CHECK(products_precision() == Precision::single);
    }
    CHECK(products_precision() == Precision::bf16);
    std::thread([] { CHECK(products_precision() == Precision::single); }).join();
  });
  CHECK(products_precision() == Precision::single);
}

TEST_CASE("products in bf16 of numbers that it holds are exact, for every transposition and option") {
  in_bf16([] {
    for (const auto& size : {std::array{64L, 64L, 64L}, {128L, 20L, 301L}, {300L, 17L, 40L}, {70L, 600L, 33L}})
      for (const bool ta : {false, true})
        for (const bool tb : {false, true}) {
          const std::int64_t m = size[0], n = size[1], k = size[2];
          const Tensor a = whole_numbers(1, ta ? Shape{k, m} : Shape{m, k}),
                       b = whole_numbers(2, tb ? Shape{n, k} : Shape{k, n}), c = whole_numbers(3, {m, n});
          const MatmulOptions turned{ta, tb};
          const Tensor expected = matmul(cast(a, f64), cast(b, f64), turned);
          CAPTURE(m);
          CAPTURE(ta);
          CAPTURE(tb);
          CHECK(matmul(a, b, turned).values<double>() == expected.values<double>());
          CHECK(multiply_add(c, a, b, tensor(-2.0), turned).values<double>() ==
                (cast(c, f64) - 2.0 * expected).values<double>());
        }
  });
}

TEST_CASE("products and convolutions in bf16 round their operands and not their sums") {
  in_bf16([] {
    const Tensor a = full({64, 64}, 257), b = ones({64, 64});  // 257 becomes 256; 64 × 256 needs no more bits
    CHECK(matmul(a, b).at<float>(0) == 64 * 256);
    CHECK(matmul(ones({64, 300}), ones({300, 64}) * 1.0078125).at<float>(5) == 300 * 1.0078125F);
    CHECK(matmul(cast(a, f64), cast(b, f64)).at<double>(0) == 64 * 257);
    CHECK(conv2d(full({1, 16, 8, 8}, 257), ones({16, 16, 3, 3})).at<float>(0) == 144 * 256);
    const Tensor x = variable(full({2, 16, 8, 8}, 257)), kernel = variable(full({16, 16, 3, 3}, 257));
    const Gradients g = backward(sum(conv2d(x, kernel)));
    CHECK(g[kernel].at<float>(0) == 72 * 256);
    CHECK(g[x].at<float>(0) == 16 * 256);
  });
}

TEST_CASE("products and convolutions in bf16 are bit-equal for any number of threads") {
  in_bf16([] {
    Random random(3);
    const Tensor a = random.normal({300, 257}), b = random.normal({257, 390}), x = random.normal({9, 8, 20, 20}),
                 kernel = random.normal({16, 8, 3, 3}), stack = random.normal({6, 64, 64});
    check_equal_for_thread_counts([&] {
      std::vector<float> all = matmul(a, b).values<float>();
      for (const Tensor& each : {conv2d(x, kernel), matmul(stack, stack)})
        for (const float value : each.values<float>()) all.push_back(value);
      return all;
    });
  });
}

TEST_CASE(
    "a model that is compiled for bf16 multiplies so wherever it computes, with weights in f32, and others do not") {
  if (!bf16_available()) return;
  const Tensor x = input({64}, "x"), rows = full({64, 64}, 257);  // 257 becomes 256
  Model model(x, Dense(64, {.use_bias = false, .kernel_initializer = ones_initializer()})(x));
  const auto check = [&](Precision precision, float expected) {
    model.compile({.optimizer = sgd({.learning_rate = 0}), .loss = mean_squared_error(), .precision = precision});
    const double loss = static_cast<double>(expected) * expected;
    CHECK(model(rows).at<float>(0) == expected);
    CHECK(model.call(rows)[0].at<float>(0) == expected);
    const LayerHandle& handle = model;
    CHECK(handle(rows).at<float>(0) == expected);
    CHECK(model.predict(rows, 64).at<float>(0) == expected);
    CHECK(model.loss(rows, zeros({64, 64})).item<double>() == loss);
    CHECK(model.evaluate(rows, zeros({64, 64}), {.batch_size = 64})["loss"] == loss);
    CHECK(model.fit(rows, zeros({64, 64}), {.batch_size = 64, .verbose = 0})["loss"][0] == loss);
    CHECK(model.parameters()[0].dtype() == f32);
  };
  check(Precision::bf16, 64 * 256);
  check(Precision::single, 64 * 257);
  // A loop of one's own asks for bf16 by a scope.
  const PrecisionScope scope(Precision::bf16);
  CHECK(model(rows).at<float>(0) == 64 * 256);
  const Tensor w = variable(full({64, 64}, 257));
  CHECK(backward(sum(matmul(rows, w)))[w].at<float>(0) == 64 * 256);
}

TEST_CASE("the plan of a model multiplies in the precision that calling it has, and no plan calls it in another") {
  if (!bf16_available()) return;
  const Tensor x = input({64}, "rows"), rows = full({64, 64}, 257);
  Model model(x, Dense(64, {.use_bias = false, .kernel_initializer = ones_initializer(), .name = "sums"})(x));
  const PlanFunction calls = [&](const Tensors& in) -> Tensors { return {model(in[0])}; };
  CHECK(plan(model, rows)({rows})[0].at<float>(0) == 64 * 257);
  CHECK(plan(calls, {rows})({rows})[0].at<float>(0) == 64 * 257);
  model.compile({.loss = mean_squared_error(), .precision = Precision::bf16});
  const Plan planned = plan(model, rows);
  CHECK(planned({rows})[0].at<float>(0) == 64 * 256);
  CHECK_THROWS_WITH_AS(
      plan(calls, {rows}),
      "a Model layer on \"input 0\" was compiled for products in bf16 and is called in a plan of f32: make the plan "
      "in a PrecisionScope, or by plan(model, inputs)",
      Error);
  const PrecisionScope scope(Precision::bf16);
  CHECK(plan(calls, {rows})({rows})[0].at<float>(0) == 64 * 256);
}

TEST_CASE("libraries of products start no threads of their own") {
  const int before = threads::count();
  threads::set_count(1);
  int started = -1;
  std::thread([&] {  // OpenMP would start a team for each thread that asks
    const int tasks = threads_of_process();
    const Tensor a = ones({512, 512}), x = ones({8, 16, 32, 32}), kernel = ones({32, 16, 3, 3});
    CHECK(matmul(a, a).at<float>(7) == 512);
    CHECK(conv2d(x, kernel).at<float>(7) == 144);
    in_bf16([&] { matmul(a, a); });
    started = threads_of_process() - tasks;
  })
      .join();
  CHECK(started == 0);
  threads::set_count(before);
}

TEST_CASE("products of many shapes run side by side in many threads") {
  std::vector<std::thread> workers;
  std::vector<int> wrong(4, 0);
  for (std::size_t worker = 0; worker < wrong.size(); ++worker)
    workers.emplace_back([&, worker] {
      for (std::int64_t size = 20; size < 60; ++size) {
        const Tensor a = whole_numbers(worker, {size, 90}), b = whole_numbers(9, {90, 2 * size + 1});
        wrong[worker] += matmul(a, b).values<double>() != matmul(cast(a, f64), cast(b, f64)).values<double>();
      }
    });
  for (std::thread& worker : workers) worker.join();
  CHECK(wrong == std::vector<int>(4, 0));
}
