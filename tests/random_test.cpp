#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>

using namespace twopass;

namespace {

using Block = std::array<std::uint32_t, 4>;

struct Moments {
  double mean = 0, variance = 0, least = 0, most = 0;
};

Moments moments_of(const Tensor& x) {
  const auto values = x.values<double>();
  const auto n = static_cast<double>(values.size());
  Moments found;
  found.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  for (const double value : values) found.variance += (value - found.mean) * (value - found.mean) / n;
  found.least = *std::min_element(values.begin(), values.end());
  found.most = *std::max_element(values.begin(), values.end());
  return found;
}

constexpr std::int64_t kMany = 200000;

}  // namespace

TEST_CASE("Philox4x32-10 gives the known answers of its authors' library, Random123") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("many blocks at once are those of as many calls, also where the counter's first word runs over") {
  std::array<std::uint32_t, 4 * kPhiloxBlocks> words{};
  const std::uint64_t first = 0xfffffff8;
  philox_blocks(first, 0x500000007, {3, 4}, words);
  for (std::uint64_t k = 0; k < kPhiloxBlocks; ++k) {
    const std::uint64_t counter = first + k;
    const Block block =
        philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 7, 5}, {3, 4});
    for (std::size_t w = 0; w < 4; ++w) CHECK(words[4 * k + w] == block[w]);
  }
}

TEST_CASE("equal seeds give equal numbers, other seeds and later draws others") {
  Random a(1), b(1), c(2);
  const auto first = a.uniform({10}).values<float>();
  CHECK(first == b.uniform({10}).values<float>());
  CHECK(first != c.uniform({10}).values<float>());
  CHECK(first != a.uniform({10}).values<float>());
}

TEST_CASE("seeds of paths differ by seed and by path") {
  const std::set<std::uint64_t> seeds{seed_of(1, "a"), seed_of(1, "b"), seed_of(2, "a"), seed_of(1, "a/b"),
                                      seed_of(1, "")};
  CHECK(seeds.size() == 5);
  CHECK(seed_of(1, "a") == seed_of(1, "a"));
}

TEST_CASE("uniform elements fill their range, with its mean and variance") {
  const Moments found = moments_of(Random(3).uniform({kMany}, f64, -1, 3));
  CHECK(found.least >= -1);
  CHECK(found.most < 3);
  CHECK(found.mean == doctest::Approx(1).epsilon(0.01));
  CHECK(found.variance == doctest::Approx(16.0 / 12).epsilon(0.01));
}

TEST_CASE("normal elements have their mean and variance, truncated ones none beyond two deviations") {
  const Moments normal = moments_of(Random(3).normal({kMany}, f64, 2, 3));
  CHECK(normal.mean == doctest::Approx(2).epsilon(0.01));
  CHECK(normal.variance == doctest::Approx(9).epsilon(0.01));
  const Moments truncated = moments_of(Random(3).truncated_normal({kMany}, f64, 2, 3));
  CHECK(truncated.least >= -4);
  CHECK(truncated.most <= 8);
  // 1 - 2 · 2 φ(2) / (2 Φ(2) - 1)
  CHECK(truncated.variance == doctest::Approx(9 * 0.7737413).epsilon(0.01));
}

TEST_CASE("integers fill low … high - 1 evenly, and an empty range is refused") {
  std::array<int, 3> counts{};
  for (const std::int64_t x : Random(3).integers({30000}, -1, 2).values<std::int64_t>())
    ++counts.at(static_cast<std::size_t>(x + 1));
  for (const int count : counts) CHECK(std::abs(count - 10000) < 400);
  CHECK_THROWS_AS(Random(3).below(0), Error);
}

TEST_CASE("a permutation has every number once, and another order for another seed") {
  auto order = Random(3).permutation(100);
  CHECK(order != Random(4).permutation(100));
  std::sort(order.begin(), order.end());
  for (std::int64_t k = 0; k < 100; ++k) CHECK(order[static_cast<std::size_t>(k)] == k);
}

TEST_CASE("a uniform element that rounding would bring to the upper bound stays below it") {
  // The double drawn first from this seed is 0.99999999154, which is 1 in f32.
  CHECK(Random(34408659).uniform() > 0.99999999);
  CHECK(Random(34408659).uniform({1}).at<float>(0) < 1);
  CHECK(Random(1).uniform({2}, f32, 3, 3).values<float>() == std::vector<float>{3, 3});
}

TEST_CASE("ranges that make no sense are refused") {
  Random random(1);
  CHECK_THROWS_AS(random.uniform({1}, f32, 1, 0), Error);
  CHECK_THROWS_AS(random.uniform({1}, f32, 0, INFINITY), Error);
  CHECK_THROWS_AS(random.normal({1}, f32, 0, -1), Error);
  CHECK_THROWS_AS(random.truncated_normal({1}, f32, NAN, 1), Error);
  CHECK_THROWS_AS(random.integers({1}, INT64_MIN, INT64_MAX), Error);
  CHECK_THROWS_AS(random.permutation(-1), Error);
}
