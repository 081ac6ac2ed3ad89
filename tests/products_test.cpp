#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <string>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "thread_counts.h"

using namespace twopass;

namespace {

using Doubles = std::vector<double>;

template <typename F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool says(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

// A hundred and some shapes by hand would hide a wrong stride; sums over an index of integers are exact in f64.
double entry(std::int64_t row, std::int64_t column) { return static_cast<double>((row * 7 + column * 3) % 11 - 5); }
Tensor filled(std::int64_t rows, std::int64_t columns, bool turned) {
  Doubles values;
  for (std::int64_t r = 0; r < (turned ? columns : rows); ++r)
    for (std::int64_t c = 0; c < (turned ? rows : columns); ++c) values.push_back(turned ? entry(c, r) : entry(r, c));
  return turned ? from_values(values, {columns, rows}, f64) : from_values(values, {rows, columns}, f64);
}

}  // namespace

TEST_CASE("S3: matmul refuses inner sizes that differ, with both shapes and both numbers") {
  const std::string message = message_of([] { matmul(ones({2, 3}), ones({2, 3})); });
  CHECK(says(message, "matmul((2, 3), (2, 3)"));
  CHECK(says(message, "the first has 3 columns but the second has 2 rows"));
}

TEST_CASE("S7: a product over nothing is zeros, and its gradients are empty") {
  const Tensor a = variable(zeros({2, 0})), b = variable(zeros({0, 3}));
  const Tensor y = matmul(a, b);
  CHECK(y.shape() == Shape({2, 3}));
  CHECK(y.values<double>() == Doubles(6, 0.0));
  const Gradients g = backward(sum(y));
  CHECK(g[a].shape() == Shape({2, 0}));
  CHECK(g[b].shape() == Shape({0, 3}));
  const Tensor batch = variable(zeros({2, 3, 0})), w = variable(zeros({0, 4}));
  const Gradients of_batch = backward(sum(matmul(batch, w)));
  CHECK(of_batch[batch].shape() == Shape({2, 3, 0}));
  CHECK(of_batch[w].shape() == Shape({0, 4}));
}

TEST_CASE("S8: an empty batch passes through affine and leaves parameters gradients of exactly zero") {
  const Tensor w = variable(ones({3, 4})), b = variable(ones({4}));
  for (const auto activation : {FusedActivation::linear, FusedActivation::relu, FusedActivation::tanh}) {
    const Tensor y = affine(zeros({0, 3}), w, b, activation);
    CHECK(y.shape() == Shape({0, 4}));
    const Gradients g = backward(sum(y));
    CHECK(g[w].values<double>() == Doubles(12, 0.0));
    CHECK(g[b].values<double>() == Doubles(4, 0.0));
  }
}

TEST_CASE("N28: the gradient of a bias sums a million rows pairwise") {
  const Tensor b = variable(zeros({2}));
  const Tensor y = affine(zeros({1000000, 1}), zeros({1, 2}), b);
  for (const double each : backward(y, {.seed = full({1000000, 2}, 0.1)})[b].values<double>())
    CHECK(std::abs(each - 100000) <= 1);  // one after another, f32 comes to 100958.34
}

TEST_CASE("G5: matmul(a, a) receives the gradient of both sides") {
  const Tensor a = variable(tensor({{1.0, 2.0}, {3.0, 4.0}}, f64));
  // d Σ (A A) / dA = 1 Aᵀ + Aᵀ 1: row sums of A along columns plus column sums of A along rows
  CHECK(backward(sum(matmul(a, a)))[a].values<double>() == Doubles{7, 11, 9, 13});
}

TEST_CASE("products with every transposition and size equal the sum over the index") {
  struct Sizes {
    std::int64_t m, n, k;
  };
  for (const Sizes& size : {Sizes{1, 1, 1}, {1, 5, 3}, {5, 1, 3}, {3, 4, 5}, {17, 19, 23}, {100, 20, 9}, {130, 7, 64}})
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        const std::int64_t m = size.m, n = size.n, k = size.k;
        const auto y = matmul(filled(m, k, ta), filled(k, n, tb), {ta, tb}).values<double>();
        Doubles expected;
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < n; ++j) {
            double total = 0;
            for (std::int64_t l = 0; l < k; ++l) total += entry(i, l) * entry(l, j);
            expected.push_back(total);
          }
        CAPTURE(m);
        CAPTURE(n);
        CAPTURE(ta);
        CAPTURE(tb);
        CHECK(y == expected);
      }
}

TEST_CASE("vectors count as a row on the left and a column on the right") {
  const Tensor v = tensor({1.0, 2.0}), w = tensor({3.0, 4.0}), m = tensor({{1.0, 0.0, 2.0}, {0.0, 1.0, 3.0}});
  CHECK(matmul(v, w).item<double>() == 11);
  CHECK(matmul(v, w).rank() == 0);
  CHECK(matmul(v, m).values<double>() == Doubles{1, 2, 8});
  CHECK(matmul(m, tensor({1.0, 1.0, 1.0})).values<double>() == Doubles{3, 4});
  CHECK(matmul(ones({4, 2, 3}), ones({3})).shape() == Shape({4, 2}));
  CHECK(matmul(ones({3}), ones({4, 3, 2})).shape() == Shape({4, 2}));
}

TEST_CASE("leading axes broadcast, and gradients are summed back over them") {
  const Tensor a = variable(ones({2, 1, 2, 3}, f64)), b = variable(ones({4, 3, 5}, f64));
  const Tensor y = matmul(a, b);
  CHECK(y.shape() == Shape({2, 4, 2, 5}));
  CHECK(y.at<double>(0) == 3);
  const Gradients g = backward(sum(y));
  CHECK(g[a].values<double>() == Doubles(12, 20.0));
  CHECK(g[b].values<double>() == Doubles(60, 4.0));
}

TEST_CASE("a stack of matrices by one matrix has the gradients of one product over all rows") {
  const Tensor a = variable(reshape(arange(0, 12, 1, f64), {2, 3, 2})),
               b = variable(tensor({{1.0, 2.0}, {3.0, 4.0}}, f64));
  const Gradients g = backward(sum(matmul(a, b)));
  CHECK(g[b].values<double>() == Doubles{30, 30, 36, 36});
  CHECK(g[a].values<double>() == Doubles{3, 7, 3, 7, 3, 7, 3, 7, 3, 7, 3, 7});
}

TEST_CASE("large products are bit-equal for any number of threads") {
  Random random(3);
  const Tensor a = random.normal({300, 257}), b = random.normal({257, 190}), x = random.normal({40, 30, 64}),
               w = random.normal({40, 64, 30});
  check_equal_for_thread_counts([&] {
    return std::array{matmul(a, b).values<float>(), matmul(b, a, {true, true}).values<float>(),
                      matmul(x, w).values<float>()};
  });
}

TEST_CASE("products that are cut in two or three are right and bit-equal for any number of threads") {
  Random random(4);
  for (const auto& [m, k, n] :
       {std::array{32, 784, 128}, {128, 3072, 20}, {784, 32, 128}, {300, 300, 29}, {23, 700, 333}})
    for (const bool turned_a : {false, true})
      for (const bool turned_b : {false, true}) {
        CAPTURE(m);
        CAPTURE(n);
        const Tensor a = random.normal(turned_a ? Shape{k, m} : Shape{m, k}, f32),
                     b = random.normal(turned_b ? Shape{n, k} : Shape{k, n}, f32);
        const auto product = [&](DType dtype) { return matmul(cast(a, dtype), cast(b, dtype), {turned_a, turned_b}); };
        CHECK(max(abs(cast(product(f32), f64) - product(f64))).item<double>() < 1e-5 * k);
        check_equal_for_thread_counts([&] { return product(f32).values<float>(); });
      }
}

TEST_CASE("affine equals its parts bit for bit, with and without a bias") {
  Random random(5);
  const Tensor x = random.normal({37, 29}), w = random.normal({29, 13}), b = random.normal({13});
  const auto same = [](const Tensor& fused, const Tensor& parts) {
    return fused.values<float>() == parts.values<float>();
  };
  CHECK(same(affine(x, w, b), matmul(x, w) + b));
  CHECK(same(affine(x, w, b, FusedActivation::relu), relu(matmul(x, w) + b)));
  CHECK(same(affine(x, w, b, FusedActivation::sigmoid), sigmoid(matmul(x, w) + b)));
  CHECK(same(affine(x, w, b, FusedActivation::tanh), twopass::tanh(matmul(x, w) + b)));
  CHECK(same(affine(x, w, {}), matmul(x, w)));
  CHECK(same(affine(x, w, {}, FusedActivation::relu), relu(matmul(x, w))));
}

TEST_CASE("multiply_add equals its parts bit for bit, in batches too") {
  Random random(6);
  const Tensor scale = tensor(-0.01);
  for (const Shape& batch : {Shape{}, Shape{3}, Shape{2, 3}}) {
    const auto stack = [&](std::int64_t rows, std::int64_t columns) {
      Shape shape = batch;
      return random.normal(shape.inserted(shape.rank(), rows).inserted(shape.rank() + 1, columns));
    };
    const Tensor c = stack(37, 13), a = stack(37, 29), b = stack(29, 13), shared = random.normal({29, 13});
    CHECK(multiply_add(c, a, b).values<float>() == (c + matmul(a, b)).values<float>());
    CHECK(multiply_add(c, a, b, scale).values<float>() == (c + scale * matmul(a, b)).values<float>());
    CHECK(multiply_add(c, a, shared, scale).values<float>() == (c + scale * matmul(a, shared)).values<float>());
  }
}

TEST_CASE("multiply_add in the memory of c adds to it") {
  const Tensor c = tensor({{1.0, 2.0}, {3.0, 4.0}}), a = tensor({{1.0, 0.0}, {0.0, 2.0}});
  const Op& op = *find_op("multiply_add");
  Tensor memory = from_values(c.values<float>(), c.shape(), f32);
  std::byte* const bytes = reinterpret_cast<std::byte*>(writable<float>(memory));
  const auto view = [](const Tensor& x) {
    return View{reinterpret_cast<const std::byte*>(x.data<float>()), &x.shape(), x.dtype()};
  };
  const std::vector<View> in{view(memory), view(a), view(c)};
  op.forward(op.samples()[0].arguments.get(), in, {bytes, &memory.shape(), f32});
  CHECK(memory.values<float>() == std::vector<float>{2, 4, 9, 12});
}

TEST_CASE("affine passes NaN through relu instead of hiding it") {
  const Tensor y = affine(tensor({{1.0}}), tensor({{std::nan("")}}), tensor({0.0}), FusedActivation::relu);
  CHECK(std::isnan(y.item<double>()));
}

TEST_CASE("affine's gradients agree with numerical differentiation at mixed signs") {
  Random random(7);
  const Tensor x = random.normal({4, 3}, f64), w = random.normal({3, 5}, f64), b = random.normal({5}, f64);
  for (const auto activation : {FusedActivation::relu, FusedActivation::sigmoid, FusedActivation::tanh}) {
    const auto report =
        gradcheck([&](const Tensors& in) { return affine(in[0], in[1], in[2], activation); }, {x, w, b}, {.order = 2});
    INFO(report.text());
    CHECK(report.ok());
  }
}

TEST_CASE("an error names the arguments that were given, not those left alone") {
  const Tensor a = ones({2, 3});
  CHECK_THROWS_WITH_AS(matmul(a, a), doctest::Contains("matmul((2, 3), (2, 3)): the first has 3 columns"), Error);
  CHECK_THROWS_WITH_AS(matmul(a, a, {.transpose_a = true, .transpose_b = true}),
                       doctest::Contains("matmul((2, 3), (2, 3), transpose_a=true, transpose_b=true):"), Error);
}
