#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/place.h>
#include <twopass/core/random.h>
#include <twopass/core/shape.h>

// There where the address sanitizer is, and memory does not come from the pool.
extern "C" __attribute__((weak)) void __asan_init();

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

template <typename Holds>
double share_of(const Tensor& x, Holds holds) {
  double found = 0;
  for (const double value : x.values<double>()) found += holds(value);
  return found / static_cast<double>(x.elements());
}

std::string text_of(const Shape& a, const Shape& b) { return broadcast(a, b).text(); }

constexpr std::int64_t kMany = 100000;

}  // namespace

TEST_CASE("the first bits of seed 0 are the first words of Random123's known answer for a key of zeros") {
  Random random(0);
  CHECK(random.bits() == 0xe169c58d6627e8d5);
  CHECK(random.bits() == 0x9b00dbd8bc57ac4c);
}

TEST_CASE("a uniform number is the upper 53 bits of the next 64") {
  CHECK(Random(0).uniform() == static_cast<double>(0xe169c58d6627e8d5 >> 11) / 9007199254740992.0);
}

TEST_CASE("numbers drawn in two parts are those drawn at once") {
  Random parts(11);
  auto numbers = parts.uniform({3}, f64).values<double>();
  for (const double number : parts.uniform({4}, f64).values<double>()) numbers.push_back(number);
  CHECK(numbers == Random(11).uniform({7}, f64).values<double>());
}

TEST_CASE("normal elements lie within one, two and three deviations as often as the error function says") {
  const Tensor x = Random(5).normal({kMany}, f64, 1, 2);
  for (const double k : {1.0, 2.0, 3.0})
    CHECK(share_of(x, [&](double v) { return std::abs(v - 1) < 2 * k; }) ==
          Approx(std::erf(k / std::sqrt(2))).epsilon(0.005));
  CHECK(share_of(x, [](double v) { return v < 1; }) == Approx(0.5).epsilon(0.01));
}

TEST_CASE("truncated normal elements lie within one deviation as often as normal ones that are within two") {
  const Tensor x = Random(5).truncated_normal({kMany}, f64);
  CHECK(share_of(x, [](double v) { return std::abs(v) < 1; }) == Approx(0.6826895 / 0.9544997).epsilon(0.005));
}

TEST_CASE("normal elements that follow each other are not correlated") {
  const auto x = Random(6).normal({kMany}, f64).values<double>();
  double sum_of_products = 0;
  for (std::size_t k = 1; k < x.size(); ++k) sum_of_products += x[k] * x[k - 1];
  CHECK(std::abs(sum_of_products / kMany) < 5 / std::sqrt(kMany));
}

TEST_CASE("each sixteenth of [0, 1) holds a sixteenth of uniform elements") {
  const Tensor x = Random(7).uniform({kMany}, f64);
  for (int k = 0; k < 16; ++k) {
    // five standard deviations of a binomial share
    const double expected = 1.0 / 16, bound = 5 * std::sqrt(expected * (1 - expected) / kMany);
    CHECK(std::abs(share_of(x, [&](double v) { return std::floor(16 * v) == k; }) - expected) < bound);
  }
}

TEST_CASE("each order of three comes as often as the others") {
  Random random(8);
  std::map<std::vector<std::int64_t>, int> counts;
  for (int k = 0; k < 6000; ++k) ++counts[random.permutation(3)];
  CHECK(counts.size() == 6);
  for (const auto& [order, count] : counts) CHECK(std::abs(count - 1000) < 145);  // five standard deviations
}

TEST_CASE("numbers below a large bound reach its upper half and no further") {
  Random random(9);
  const std::int64_t bound = std::int64_t{3} << 60;
  int upper = 0;
  for (int k = 0; k < 1000; ++k) {
    const std::int64_t x = random.below(bound);
    CHECK((x >= 0 && x < bound));
    upper += x >= bound / 2;
  }
  CHECK(std::abs(upper - 500) < 80);
  CHECK(random.below(1) == 0);
}

TEST_CASE("random elements of i64 and integers of an empty range are refused") {
  CHECK_THROWS_WITH_AS(Random(1).uniform({2}, i64), Contains("only f32 and f64"), Error);
  CHECK_THROWS_WITH_AS(Random(1).integers({2}, 3, 3), Contains("from 3 up to below 3"), Error);
}

TEST_CASE("a shape is made of any list of integers") {
  const Shape expected{2, 3};
  CHECK(Shape(std::vector<std::size_t>{2, 3}) == expected);
  CHECK(Shape(std::array<int, 2>{2, 3}) == expected);
  CHECK(Shape(std::vector<std::uint8_t>{2, 3}) == expected);
  CHECK(Shape(std::vector<int>{}) == Shape());
}

TEST_CASE("axes of a shape are changed, taken out and put in, counted from either end") {
  const Shape shape{2, 3, 4};
  CHECK(shape.with(-1, 7) == Shape{2, 3, 7});
  CHECK(shape.without(-2) == Shape{2, 4});
  CHECK(shape.inserted(0, 1) == Shape{1, 2, 3, 4});
  CHECK(shape.inserted(-1, 1) == Shape{2, 3, 4, 1});
  CHECK(shape == Shape{2, 3, 4});
  CHECK_THROWS_WITH_AS(shape.inserted(4, 1), Contains("axis 4 is out of range"), Error);
}

TEST_CASE("the index of an element is row-major") {
  // 17 = 1 · 12 + 1 · 4 + 1
  CHECK(Shape{2, 3, 4}.index_of(17) == std::vector<std::int64_t>{1, 1, 1});
  CHECK(Shape{2, 3, 4}.index_of(23) == std::vector<std::int64_t>{1, 2, 3});
}

TEST_CASE("shapes broadcast by NumPy's rule, and an open axis takes the size beside it") {
  CHECK(text_of({8, 1, 6, 1}, {7, 1, 5}) == "(8, 7, 6, 5)");  // the example of NumPy's manual
  CHECK(text_of({}, {2}) == "(2,)");
  CHECK(text_of({0, 1}, {3}) == "(0, 3)");
  CHECK(text_of({kOpen, 3}, {1, 3}) == "(None, 3)");
  CHECK(text_of({kOpen, 3}, {5, 1}) == "(5, 3)");
  CHECK_THROWS_WITH_AS(text_of({0}, {2}), Contains("shapes (0,) and (2,) do not broadcast"), Error);
}

TEST_CASE("products are checked at the edge of 63 bits") {
  CHECK(checked_product(std::int64_t{1} << 31, std::int64_t{1} << 31) == std::int64_t{1} << 62);
  CHECK_THROWS_WITH_AS(checked_product(std::int64_t{1} << 31, std::int64_t{1} << 32), Contains("2^63"), Error);
}

TEST_CASE("blocks of 64 bytes and more begin at multiples of 64, whatever their length") {
  for (const std::size_t bytes : std::vector<std::size_t>{64, 65, 100, 255, 256, 257, 320, 321, 4096, 4097, 65537}) {
    std::array<void*, 3> blocks{};
    for (void*& block : blocks) block = memory::allocate(bytes);
    for (void* block : blocks) {
      CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
      memory::release(block, bytes);
    }
  }
}

TEST_CASE("blocks that are held at a time do not overlap") {
  std::vector<std::pair<unsigned char*, std::size_t>> blocks;
  for (std::size_t bytes = 1; bytes < 2000; bytes += 7) {
    blocks.emplace_back(static_cast<unsigned char*>(memory::allocate(bytes)), bytes);
    std::memset(blocks.back().first, static_cast<int>(blocks.size() % 251), bytes);
  }
  std::size_t number = 0;
  for (const auto& [block, bytes] : blocks) {
    const auto mark = static_cast<unsigned char>(++number % 251);
    CHECK((block[0] == mark && block[bytes / 2] == mark && block[bytes - 1] == mark));
    memory::release(block, bytes);
  }
}

TEST_CASE("the memory of a tensor that is gone serves the next of its size" * doctest::skip(__asan_init != nullptr)) {
  const float* first = nullptr;
  {
    const Tensor gone = uninitialised({300, 300}, f32);
    first = gone.data<float>();
  }
  CHECK(uninitialised({300, 300}, f32).data<float>() == first);
}

#ifndef __SANITIZE_ADDRESS__  // which hands out no block twice
TEST_CASE("blocks that one thread gives back are taken by another, and by a third what those leave when they end") {
  constexpr std::size_t kBlocks = 400000, kBytes = 96;  // more than threads keep for themselves
  std::vector<void*> blocks(kBlocks);
  const auto take_all = [&] {
    for (void*& block : blocks) block = memory::allocate(kBytes);
  };
  const auto give_all = [&] {
    for (void* block : blocks) memory::release(block, kBytes);
  };
  const std::int64_t before = memory::live_bytes();
  std::thread(take_all).join();
  CHECK(memory::live_bytes() - before == kBlocks * kBytes);
  const std::unordered_set<void*> known(blocks.begin(), blocks.end());
  REQUIRE(known.size() == kBlocks);
  const auto not_known = [&] {
    return std::count_if(blocks.begin(), blocks.end(), [&](void* block) { return known.count(block) == 0; });
  };
  std::thread(give_all).join();
  std::thread([&] {
    take_all();
    CHECK(not_known() < std::ptrdiff_t{kBlocks / 8});  // what was left of a slab or a chain
    give_all();
    take_all();
    CHECK(not_known() < std::ptrdiff_t{kBlocks / 8});  // what was left of a slab or a chain
  }).join();
  CHECK(std::unordered_set<void*>(blocks.begin(), blocks.end()).size() == kBlocks);
  give_all();
  CHECK(memory::live_bytes() == before);
}
#endif

TEST_CASE("the peak is the most that was held at a time, not the sum of what was asked for") {
  memory::reset_peak();
  const std::int64_t before = memory::live_bytes();
  for (int k = 0; k < 3; ++k) memory::release(memory::allocate(1000), 1000);
  CHECK(memory::peak_bytes() - before == 1000);
  void* small = memory::allocate(400);
  memory::release(memory::allocate(700), 700);
  memory::release(small, 400);
  memory::release(memory::allocate(10), 10);
  CHECK(memory::peak_bytes() - before == 1100);
  CHECK(memory::live_bytes() == before);
}

TEST_CASE("an allocation that is refused counts nothing, and the next is served") {
  const std::int64_t before = memory::live_bytes();
  memory::refuse_allocation(1);
  CHECK_THROWS_WITH_AS(memory::allocate(128), Contains("128 bytes refused"), Error);
  CHECK(memory::live_bytes() == before);
  memory::release(memory::allocate(128), 128);
}

TEST_CASE("a buffer is its holder's own until it is copied, and again when the copy is gone") {
  const Buffer buffer(100);
  CHECK(buffer.unique());
  {
    const Buffer copy = buffer;
    CHECK_FALSE(buffer.unique());
    CHECK(copy.data() == buffer.data());
  }
  CHECK(buffer.unique());
  CHECK_FALSE(Buffer().unique());
}

TEST_CASE("sizes beyond 63 bits are refused, not taken for open ones") {
  CHECK_THROWS_WITH_AS(Shape(std::vector<std::size_t>{SIZE_MAX, 3}), doctest::Contains("2^63"), Error);
}

TEST_CASE("a node belongs to the innermost place around it, also between, before and behind places inside of that") {
  const auto made = [] { return symbol({2}, f32, "x"); };
  const PlaceLog log;
  std::vector<std::pair<Tensor, std::string>> expected{{made(), ""}};
  {
    const PlaceScope outer("a");
    expected.emplace_back(made(), "a");
    for (const char* name : {"b", "c"}) {
      const PlaceScope inner(name);
      expected.emplace_back(made(), std::string("a/") + name);
      {
        const PlaceScope innermost("d");
        expected.emplace_back(made(), std::string("a/") + name + "/d");
      }
      expected.emplace_back(made(), std::string("a/") + name);
    }
    expected.emplace_back(made(), "a");
    const PlaceScope open("e");
    expected.emplace_back(made(), "a/e");
  }
  expected.emplace_back(made(), "");
  {
    const PlaceScope other("f");
    expected.emplace_back(made(), "f");
  }
  for (const auto& [x, place] : expected) CHECK(log.of(x.node()) == place);
}
