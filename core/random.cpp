#include <twopass/core/random.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include <twopass/core/error.h>

namespace twopass {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t left = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t right = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(right >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(right),
         static_cast<std::uint32_t>(left >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(left)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return c;
}

// Lane by lane the same as philox(). Sixteen lanes or fewer, or words of 32 bits, g++ unrolls into scalar code.
void philox_blocks(std::uint64_t first, std::uint64_t stream, std::array<std::uint32_t, 2> key,
                   std::array<std::uint32_t, 4 * kPhiloxBlocks>& words) {
  constexpr std::uint64_t low = 0xFFFFFFFF;
  std::uint64_t c0[kPhiloxBlocks], c1[kPhiloxBlocks], c2[kPhiloxBlocks], c3[kPhiloxBlocks];
  for (std::size_t k = 0; k < kPhiloxBlocks; ++k) {
    c0[k] = (first + k) & low;
    c1[k] = (first + k) >> 32;
    c2[k] = stream & low;
    c3[k] = stream >> 32;
  }
  for (int round = 0; round < 10; ++round) {
    for (std::size_t k = 0; k < kPhiloxBlocks; ++k) {
      const std::uint64_t left = 0xD2511F53 * c0[k], right = 0xCD9E8D57 * c2[k];
      c0[k] = (right >> 32) ^ c1[k] ^ key[0];
      c1[k] = right & low;
      c2[k] = (left >> 32) ^ c3[k] ^ key[1];
      c3[k] = left & low;
    }
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  for (std::size_t k = 0; k < kPhiloxBlocks; ++k) {
    words[4 * k] = static_cast<std::uint32_t>(c0[k]);
    words[4 * k + 1] = static_cast<std::uint32_t>(c1[k]);
    words[4 * k + 2] = static_cast<std::uint32_t>(c2[k]);
    words[4 * k + 3] = static_cast<std::uint32_t>(c3[k]);
  }
}

namespace {

// The step of splitmix64 (Steele, Lea and Flood, 2014): every bit depends on all.
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t seed_of(std::uint64_t seed, std::string_view path) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return mixed(mixed(seed) + hash);
}

std::uint64_t Random::bits() {
  const std::uint64_t block = position_ / 2;
  const auto words = philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0},
                            {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
  const std::size_t at = position_++ % 2 * 2;
  return words[at] | std::uint64_t{words[at + 1]} << 32;
}

double Random::uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

std::int64_t Random::below(std::int64_t bound) {
  if (bound < 1) throw Error(fmt::format("random numbers below {} do not exist", bound));
  // Lemire's multiplication; the bias of at most bound / 2^64 is far below what can be seen.
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::int64_t>((static_cast<Wide>(bits()) * static_cast<std::uint64_t>(bound)) >> 64);
}

double Random::standard_normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

namespace {

void check_normal(double mean, double stddev) {
  if (!std::isfinite(mean) || !std::isfinite(stddev) || stddev < 0)
    throw Error(fmt::format("normal numbers of mean {} and standard deviation {} do not exist", mean, stddev));
}

template <typename Draw>
Tensor drawn(const Shape& shape, DType dtype, Draw&& draw) {
  if (!is_floating(dtype))
    throw Error(fmt::format("random {} elements: only f32 and f64 can be drawn so", name_of(dtype)));
  Tensor made = uninitialised(shape, dtype);
  const std::int64_t n = made.elements();
  if (dtype == f32) {
    float* to = writable<float>(made);
    for (std::int64_t k = 0; k < n; ++k) to[k] = static_cast<float>(draw());
  } else {
    double* to = writable<double>(made);
    for (std::int64_t k = 0; k < n; ++k) to[k] = draw();
  }
  return made;
}

}  // namespace

Tensor Random::uniform(const Shape& shape, DType dtype, double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high) || low > high)
    throw Error(fmt::format("random numbers from {} up to below {} do not exist", low, high));
  // Rounding may reach `high`, to f32 once in 2^25 draws.
  const double last = low == high    ? low
                      : dtype == f32 ? std::nextafter(static_cast<float>(high), static_cast<float>(low))
                                     : std::nextafter(high, low);
  return drawn(shape, dtype, [&] { return std::min(low + (high - low) * uniform(), last); });
}

Tensor Random::normal(const Shape& shape, DType dtype, double mean, double stddev) {
  check_normal(mean, stddev);
  return drawn(shape, dtype, [&] { return mean + stddev * standard_normal(); });
}

Tensor Random::truncated_normal(const Shape& shape, DType dtype, double mean, double stddev) {
  check_normal(mean, stddev);
  return drawn(shape, dtype, [&] {
    for (;;)
      if (const double z = standard_normal(); std::abs(z) <= 2) return mean + stddev * z;
  });
}

Tensor Random::integers(const Shape& shape, std::int64_t low, std::int64_t high) {
  const auto count = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  if (high <= low || count > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    throw Error(fmt::format("random integers from {} up to below {} do not exist", low, high));
  Tensor made = uninitialised(shape, i64);
  auto* to = writable<std::int64_t>(made);
  for (std::int64_t k = 0; k < made.elements(); ++k) to[k] = low + below(static_cast<std::int64_t>(count));
  return made;
}

std::vector<std::int64_t> Random::permutation(std::int64_t n) {
  if (n < 0) throw Error(fmt::format("a permutation of {} numbers does not exist", n));
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  for (std::size_t k = 0; k < order.size(); ++k) order[k] = static_cast<std::int64_t>(k);
  for (std::size_t k = order.size(); k > 1; --k)
    std::swap(order[k - 1], order[static_cast<std::size_t>(below(static_cast<std::int64_t>(k)))]);
  return order;
}

}  // namespace twopass
