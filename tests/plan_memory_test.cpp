// The figure of a plan's peak memory, which is told before it runs.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/memory.h>
#include <twopass/core/random.h>
#include <twopass/core/threads.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/gemm.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/precision.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

using namespace twopass;

namespace {

Tensor drawn(const Shape& shape) {
  static Random random(3);
  return random.uniform(shape, f32, -1, 1);
}

struct Figures {
  std::int64_t told, taken, kernels;
};

// What a plan tells, what its first run takes and what of that are neither arena nor results.
Figures figures(const PlanFunction& f, const Tensors& inputs) {
  const std::int64_t before = memory::live_bytes();
  const Plan planned = plan(f, inputs);
  memory::reset_peak();
  const Tensors results = planned(inputs);
  const std::int64_t taken = memory::peak_bytes() - before;
  std::int64_t held = planned.arena_bytes();
  for (const Tensor& result : results)
    held += result.shape().elements() * static_cast<std::int64_t>(size_of(result.dtype()));
  return {planned.peak_bytes(), taken, planned.peak_bytes() - held};
}

// Heads of blocks and little ones, which are counted by the 64 kB, aside.
void check_told(const std::string& what, const Figures& figures) {
  CAPTURE(what);
  CAPTURE(figures.told);
  CAPTURE(figures.taken);
  CHECK(figures.taken <= figures.told + (160 << 10));
  CHECK(figures.taken >= figures.told - figures.told / 20 - (160 << 10));
}

}  // namespace

TEST_CASE("a plan tells before it runs what memory a run takes, that of its kernels included") {
  const int threads_before = threads::count();
  for (const int count : {1, 2}) {
    threads::set_count(count);
    const Figures convolutions = figures(
        [](const Tensors& in) -> Tensors {
          const Tensor y = conv2d(relu(conv2d(in[0], in[1])), in[2]);
          return gradients(sum(y * y), {in[0], in[1], in[2]});
        },
        {drawn({32, 3, 32, 32}), drawn({32, 3, 3, 3}), drawn({32, 32, 3, 3})});
    check_told(fmt::format("convolutions on {}", count), convolutions);
    CHECK(convolutions.kernels > 600000);  // sums of kernels' gradients by parts of the images, and what those take

    const Figures columns = figures(
        [](const Tensors& in) -> Tensors {
          return {max(in[0], {0, 2})};
        },
        {drawn({64, 32, 1000})});
    check_told(fmt::format("maxima of columns on {}", count), columns);
    CHECK(columns.kernels == 4 * 64 * 32 * 1000);  // a copy, as kept axes lie between the others

    check_told(fmt::format("products on {}", count),
               figures(
                   [](const Tensors& in) -> Tensors {
                     return gradients(sum(square(matmul(tanh(matmul(in[0], in[1])), in[2]))), {in[1], in[2]});
                   },
                   {drawn({256, 1000}), drawn({1000, 600}), drawn({600, 20})}));
    check_told(fmt::format("rows on {}", count),
               figures(
                   [](const Tensors& in) -> Tensors {
                     const Tensor centred = in[0] - mean(in[0], -1, keep_axis);
                     return {centred / sqrt(mean(square(centred), -1, keep_axis) + 1e-5)};
                   },
                   {drawn({2000, 1000})}));
  }
  threads::set_count(threads_before);
}

TEST_CASE("what a product takes to turn and pack its operands is told to the kilobyte, whoever computes it") {
  const int threads_before = threads::count();
  threads::set_count(1);  // of two one may do it all
  for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
           {128, 100, 512}, {600, 20, 256}, {300, 300, 300}, {64, 64, 64}, {512, 257, 700}})
    for (const auto& [transpose_a, transpose_b] :
         {std::pair(false, false), {true, false}, {false, true}, {true, true}}) {
      const Tensor a = drawn(transpose_a ? Shape{k, m} : Shape{m, k}),
                   b = drawn(transpose_b ? Shape{n, k} : Shape{k, n});
      const MatmulOptions options{transpose_a, transpose_b};
      const Plan planned = plan([&](const Tensors& in) -> Tensors { return {matmul(in[0], in[1], options)}; }, {a, b});
      Tensors results = planned({a, b});
      const std::int64_t before = memory::live_bytes();
      memory::reset_peak();
      planned.run_into(results, {a, b});
      const std::int64_t taken = memory::peak_bytes() - before, told = planned.peak_bytes() - 4 * m * n;
      CAPTURE(a.shape().text());
      CAPTURE(b.shape().text());
      CHECK(taken <= told + 1024);
      CHECK(taken >= told - 1024);
    }
  threads::set_count(threads_before);
}

TEST_CASE("what products convert to bf16 is part of it, and the text says which do") {
  if (!bf16_available()) return;
  const PrecisionScope scope(Precision::bf16);
  const Figures product = figures([](const Tensors& in) -> Tensors { return {matmul(in[0], in[1])}; },
                                  {drawn({512, 1024}), drawn({1024, 256})});
  check_told("bf16", product);
  const Tensor x = drawn({512, 256}), w = drawn({256, 512}), few = drawn({256, 1});
  const std::string text = plan(
                               [&](const Tensors& in) -> Tensors {
                                 return {relu(matmul(in[0], w)), matmul(in[0], few)};
                               },
                               {x})
                               .text();
  CHECK_MESSAGE(text.find("in bf16") != std::string::npos, text);
  CHECK_MESSAGE(text.find("in bf16") == text.rfind("in bf16"), text);  // the other is too small to gain
  CHECK(product.kernels >= 2 * (512 * 1024 + 1024 * 256));
}

TEST_CASE("sums over places and images, which lie before and behind channels, copy no image") {
  const Figures sums = figures(
      [](const Tensors& in) -> Tensors {
        return {sum(in[0], {0, 2, 3}), mean(in[0], {0, 2, 3})};
      },
      {drawn({64, 32, 20, 50})});
  check_told("sums", sums);
  CHECK(sums.kernels < 4 * 64 * 32 * 50 + (64 << 10));
}

TEST_CASE("what is broadcast for elementwise calls, reductions and stacked products lies nowhere as a whole") {
  constexpr std::int64_t kWhole = 4 * 4096 * 1024;
  const Tensor column = drawn({4096, 1}), row = drawn({1024}), matrices = drawn({64, 8, 16}),
               matrix = drawn({1, 16, 8});
  const auto arena = [](const PlanFunction& f, const Tensors& inputs) {
    const Plan planned = plan(f, inputs);
    const Tensors found = planned(inputs), expected = f(inputs);
    for (std::size_t k = 0; k < found.size(); ++k) CHECK(found[k].values<float>() == expected[k].values<float>());
    return planned.arena_bytes();
  };
  CHECK(arena(
            [](const Tensors& in) -> Tensors {
              return {sum(broadcast_to(in[0], {4096, 1024}), -1)};
            },
            {column}) < kWhole / 8);
  CHECK(arena(
            [](const Tensors& in) -> Tensors {
              return {max(broadcast_to(in[0], {4096, 1024}), -1)};
            },
            {row}) < kWhole / 8);
  CHECK(arena(
            [](const Tensors& in) -> Tensors {
              return {tanh(broadcast_to(in[0], {4096, 1024})) + in[1]};
            },
            {row, column}) < kWhole / 8);
  CHECK(arena(
            [](const Tensors& in) -> Tensors {
              return {matmul(broadcast_to(in[0], {64, 16, 8}), in[1])};
            },
            {matrix, matrices}) == 0);
}

TEST_CASE("a batch by one matrix for all keeps its bits where that matrix was broadcast for it") {
  const Tensor a = drawn({2, 8, 600}), b = drawn({600, 64});
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    return {matmul(in[0], broadcast_to(in[1], {2, 600, 64}))};
  };
  CHECK(plan(f, {a, b})({a, b})[0].values<float>() == f({a, b})[0].values<float>());
}

TEST_CASE("a bias of equal numbers is taken over by its product as any other") {
  const Tensor w = drawn({32, 48}), b = ones({48});
  const Plan planned = plan([&](const Tensors& in) -> Tensors { return {matmul(in[0], w) + b}; }, {drawn({64, 32})});
  CHECK(planned.steps() == 1);
  CHECK(planned.arena_bytes() == 0);
}

TEST_CASE("what reductions of many short rows keep beside their results is part of the figure") {
  const auto check = [](const std::string& what, Tensor (*f)(const Tensor&), const Tensor& x) {
    check_told(what, figures([f](const Tensors& in) -> Tensors { return {f(in[0])}; }, {x}));
  };
  const Tensor columns = drawn({2, 1 << 18});
  check(
      "var", [](const Tensor& x) { return var(x, {0}); }, columns);
  check(
      "logsumexp", [](const Tensor& x) { return logsumexp(x, {0}); }, columns);
  check(
      "norm", [](const Tensor& x) { return norm(x, 2, {0}); }, columns);
  check(
      "counts",
      [](const Tensor& x) {
        return sum(x > 0.0, {0, 3});
      },
      reshape(drawn({2000, 2048}), {2000, 64, 1, 32}));
}
