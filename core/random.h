// Random numbers without hidden state: counter-based, the same for any number of threads.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// The Philox4x32-10 block of a counter and a key (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// The blocks of the counters (first + k, stream) for kPhiloxBlocks values of k, one after another, in vectors.
inline constexpr std::size_t kPhiloxBlocks = 32;
void philox_blocks(std::uint64_t first, std::uint64_t stream, std::array<std::uint32_t, 2> key,
                   std::array<std::uint32_t, 4 * kPhiloxBlocks>& words);

/// A seed that follows from a seed and a path such as "member_1/dense/kernel" (64-bit FNV-1a of the path, splitmix64).
std::uint64_t seed_of(std::uint64_t seed, std::string_view path);

/// A generator: a key (the seed) and a position. Equal seeds give equal numbers, on every machine and thread count.
class Random {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}

  std::uint64_t seed() const { return seed_; }
  /// The next 64 bits.
  std::uint64_t bits();
  /// Uniform in [0, 1), with 53 random bits.
  double uniform();
  /// Uniform in 0 … bound-1; refuses a bound below 1.
  std::int64_t below(std::int64_t bound);

  /// Elements uniform in [low, high), or all low where both are equal. Refuses low > high and bounds that are not
  /// finite.
  Tensor uniform(const Shape& shape, DType dtype = f32, double low = 0, double high = 1);
  /// Elements normal with the given mean and standard deviation (Box-Muller). Refuses a negative one.
  Tensor normal(const Shape& shape, DType dtype = f32, double mean = 0, double stddev = 1);
  /// Normal elements, those beyond two standard deviations drawn again.
  Tensor truncated_normal(const Shape& shape, DType dtype = f32, double mean = 0, double stddev = 1);
  /// i64 elements uniform in low … high-1. Refuses an empty range and one of 2^63 numbers or more.
  Tensor integers(const Shape& shape, std::int64_t low, std::int64_t high);
  /// 0 … n-1 in random order (Fisher-Yates).
  std::vector<std::int64_t> permutation(std::int64_t n);

 private:
  double standard_normal();

  std::uint64_t seed_;
  std::uint64_t position_ = 0;
};

}  // namespace twopass
