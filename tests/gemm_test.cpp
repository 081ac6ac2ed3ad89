#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <twopass/core/random.h>
#include <twopass/ops/gemm.h>

using namespace twopass;

namespace {

struct Sizes {
  std::int64_t m, n, k;
};

// Small whole numbers, whose sums are exact in every order.
std::int64_t entry(std::int64_t i, std::int64_t j) { return (i * 7 + j * 13 + i * j) % 11 - 5; }

template <typename T>
std::vector<T> stored(std::int64_t rows, std::int64_t columns, std::int64_t stride, bool transpose) {
  std::vector<T> values(static_cast<std::size_t>(rows * stride), T{99});
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      values[static_cast<std::size_t>(i * stride + j)] = static_cast<T>(transpose ? entry(j, i) : entry(i, j));
  return values;
}

// Whether the product of entries is right, and what lies between the rows of c untouched.
template <typename T>
bool right(const Sizes& size, bool ta, bool tb, std::int64_t gap) {
  const auto& [m, n, k] = size;
  const std::int64_t lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldc = n + gap;
  const auto a = stored<T>(ta ? k : m, ta ? m : k, lda, ta), b = stored<T>(tb ? n : k, tb ? k : n, ldb, tb);
  std::vector<T> c(static_cast<std::size_t>(m * ldc), T{-1});
  gemm(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, c.data(), ldc);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < ldc; ++j) {
      std::int64_t expected = j < n ? 0 : -1;
      if (j < n)
        for (std::int64_t p = 0; p < k; ++p) expected += entry(i, p) * entry(p, j);
      if (c[static_cast<std::size_t>(i * ldc + j)] != static_cast<T>(expected)) return false;
    }
  return true;
}

// The same with every option: relu(c or another matrix + (-2 a b + bias)).
template <typename T>
bool right_with_options(const Sizes& size, bool ta, bool tb, std::int64_t gap, bool in_place) {
  const auto& [m, n, k] = size;
  const std::int64_t lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldc = n + gap, ldadd = in_place ? ldc : n + 1;
  const auto a = stored<T>(ta ? k : m, ta ? m : k, lda, ta), b = stored<T>(tb ? n : k, tb ? k : n, ldb, tb);
  const auto added = stored<T>(m, n, ldadd, false), bias = stored<T>(1, n, n, false);
  std::vector<T> c = in_place ? added : std::vector<T>(static_cast<std::size_t>(m * ldc), T{99});
  gemm(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, c.data(), ldc,
       {.alpha = -2, .bias = bias.data(), .add = in_place ? c.data() : added.data(), .ldadd = ldadd, .relu = true});
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < ldc; ++j) {
      std::int64_t expected = 99;
      if (j < n) {
        expected = entry(i, j) + entry(0, j);
        for (std::int64_t p = 0; p < k; ++p) expected -= 2 * entry(i, p) * entry(p, j);
        expected = expected > 0 ? expected : 0;
      }
      if (c[static_cast<std::size_t>(i * ldc + j)] != static_cast<T>(expected)) return false;
    }
  return true;
}

template <typename T>
void check_all(const Sizes& size, std::int64_t gap) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      CAPTURE(size.m);
      CAPTURE(size.n);
      CAPTURE(size.k);
      CAPTURE(ta);
      CAPTURE(tb);
      CHECK(right<T>(size, ta, tb, gap));
      CHECK(right_with_options<T>(size, ta, tb, gap, false));
      CHECK(right_with_options<T>(size, ta, tb, gap, true));
    }
}

}  // namespace

TEST_CASE("products of all small sizes, transpositions and options are exact on whole numbers") {
  for (std::int64_t m : {1, 2, 5, 6, 7, 12, 13, 25})
    for (std::int64_t n : {1, 3, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 70, 129})
      for (std::int64_t k : {0, 1, 2, 15, 16, 17, 40}) {
        check_all<float>({m, n, k}, 0);
        check_all<double>({m, n, k}, 3);
      }
}

TEST_CASE("products deeper than a panel, with far strides and narrow results, are exact on whole numbers") {
  for (const Sizes& size : {Sizes{30, 70, 1100},
                            {200, 90, 513},
                            {300, 20, 128},
                            {300, 20, 600},
                            {13, 700, 512},
                            {700, 9, 30},
                            {205, 320, 520}}) {
    check_all<float>(size, 1);
    check_all<double>(size, 0);
  }
}

TEST_CASE("products cut into tiles by rows or by columns are exact on whole numbers, with options too") {
  check_all<float>({700, 100, 100}, 1);
  check_all<float>({100, 900, 100}, 1);
}

TEST_CASE("an element of a product in f64 has the same bits in a part of it") {
  constexpr std::int64_t m = 50, n = 150, k = 1000;
  const Tensor a = Random(1).normal({m, k}, f64), b = Random(2).normal({k, n}, f64);
  std::vector<double> whole(m * n), part(3 * 20);
  gemm(false, false, m, n, k, a.data<double>(), k, b.data<double>(), n, whole.data(), n);
  gemm(false, false, 3, 20, k, a.data<double>() + 40 * k, k, b.data<double>() + 77, n, part.data(), 20);
  for (std::int64_t i = 0; i < 3; ++i)
    for (std::int64_t j = 0; j < 20; ++j)
      CHECK(part[static_cast<std::size_t>(i * 20 + j)] == whole[static_cast<std::size_t>((40 + i) * n + 77 + j)]);
}

TEST_CASE("options change elements as the same operations on the finished product would, bit for bit") {
  for (const Sizes& size : {Sizes{50, 75, 64}, {50, 64, 1000}, {400, 20, 300}, {600, 130, 200}})
    for (const bool in_place : {false, true}) {
      const std::int64_t m = size.m, n = size.n, k = size.k;
      const Tensor a = Random(1).normal({k, m}), b = Random(2).normal({k, n}), added = Random(3).normal({m, n}),
                   bias = Random(4).normal({n});
      std::vector<float> product(static_cast<std::size_t>(m * n)), c = added.values<float>();
      gemm(true, false, m, n, k, a.data<float>(), m, b.data<float>(), n, product.data(), n);
      gemm(true, false, m, n, k, a.data<float>(), m, b.data<float>(), n, c.data(), n,
           {.alpha = 0.3F, .bias = bias.data<float>(), .add = in_place ? c.data() : added.data<float>(), .ldadd = n});
      std::int64_t wrong = 0;
      for (std::size_t at = 0; at < c.size(); ++at) {
        const float scaled = 0.3F * product[at];
        const float biased = scaled + bias.data<float>()[at % static_cast<std::size_t>(n)];
        if (c[at] != added.data<float>()[at] + biased) ++wrong;
      }
      CAPTURE(m);
      CHECK(wrong == 0);
    }
}

TEST_CASE("narrow products give the same bits turned and as they are written, for any depth, tiles and options") {
  const auto check = [&]<typename T>(const Sizes& size, bool left, bool right, DType dtype) {
    const std::int64_t m = size.m, n = size.n, k = size.k;
    const Tensor a = Random(1).normal({k, m}, dtype), b = Random(2).normal({k, n}, dtype),
                 bias = Random(3).normal({n}, dtype), added = Random(4).normal({m, n}, dtype);
    const auto product = [&](bool in_place, bool biased) {
      std::vector<T> c = added.values<T>();
      gemm(left, right, m, n, k, a.data<T>(), left ? m : k, b.data<T>(), right ? k : n, c.data(), n,
           {.alpha = T(-0.3),
            .bias = biased ? bias.data<T>() : nullptr,
            .add = in_place ? c.data() : added.data<T>(),
            .ldadd = n});
      return c;
    };
    CHECK(turns_product(left, right, m, n, k, dtype));
    for (const bool in_place : {false, true})
      for (const bool biased : {false, true}) {
        const auto turned = product(in_place, biased);
        const TurnScope as_written(false);
        CHECK(!turns_product(left, right, m, n, k, dtype));
        CHECK(product(in_place, biased) == turned);
      }
  };
  for (const Sizes& size : {Sizes{300, 11, 128}, {96, 23, 40}, {785, 1, 700}, {5000, 17, 600}, {40, 19, 77}})
    for (const bool right : {false, true}) {
      CAPTURE(size.m);
      check.operator()<float>(size, true, right, f32);
      check.operator()<double>(size, true, right, f64);
    }
  for (const Sizes& size : {Sizes{70, 19, 800}, {128, 21, 3000}, {200, 1, 1024}, {70, 17, 40}, {128, 11, 1024}})
    for (const bool right : {false, true}) {
      CAPTURE(size.m);
      check.operator()<float>(size, false, right, f32);
      check.operator()<double>(size, false, right, f64);
    }
  CHECK(!turns_product(true, false, 300, 25, 128, f32));
  CHECK(!turns_product(true, false, 300, 16, 128, f32));  // fills vectors as it is
  CHECK(!turns_product(false, false, 300, 11, 128, f32));
  CHECK(!turns_product(false, false, 100, 11, 20, f32));
}

TEST_CASE("NaN passes a product's relu, in whole packets and beside them") {
  const std::vector<float> a{1}, b(20, std::numeric_limits<float>::quiet_NaN());
  std::vector<float> c(20);
  gemm(false, false, 1, 20, 1, a.data(), 1, b.data(), 20, c.data(), 20, {.relu = true});
  for (const float value : c) CHECK(std::isnan(value));
}
