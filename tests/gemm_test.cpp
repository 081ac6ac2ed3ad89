#include <doctest/doctest.h>

#include <cstdint>
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

}  // namespace

TEST_CASE("products of all small sizes and transpositions are exact on whole numbers") {
  for (std::int64_t m : {1, 2, 5, 6, 7, 12, 13, 25})
    for (std::int64_t n : {1, 3, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 70, 129})
      for (std::int64_t k : {1, 2, 15, 16, 17, 40})
        for (const bool ta : {false, true})
          for (const bool tb : {false, true}) {
            CAPTURE(m);
            CAPTURE(n);
            CAPTURE(k);
            CAPTURE(ta);
            CAPTURE(tb);
            CHECK(right<float>({m, n, k}, ta, tb, 0));
            CHECK(right<double>({m, n, k}, ta, tb, 3));
          }
}

TEST_CASE("products deeper than a panel, with far strides and narrow results, are exact on whole numbers") {
  for (const Sizes& size : {Sizes{30, 70, 1100}, {200, 90, 513}, {300, 20, 128}, {13, 700, 512}, {700, 9, 30}})
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        CAPTURE(size.m);
        CAPTURE(size.n);
        CAPTURE(ta);
        CAPTURE(tb);
        CHECK(right<float>(size, ta, tb, 1));
        CHECK(right<double>(size, ta, tb, 0));
      }
}

TEST_CASE("an element of a product has the same bits in a part of it") {
  constexpr std::int64_t m = 50, n = 150, k = 1000;
  const Tensor a = Random(1).normal({m, k}), b = Random(2).normal({k, n});
  std::vector<float> whole(m * n), part(3 * 20);
  gemm(false, false, m, n, k, a.data<float>(), k, b.data<float>(), n, whole.data(), n);
  gemm(false, false, 3, 20, k, a.data<float>() + 40 * k, k, b.data<float>() + 77, n, part.data(), 20);
  for (std::int64_t i = 0; i < 3; ++i)
    for (std::int64_t j = 0; j < 20; ++j)
      CHECK(part[static_cast<std::size_t>(i * 20 + j)] == whole[static_cast<std::size_t>((40 + i) * n + 77 + j)]);
}
