#include <doctest/doctest.h>

#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

using namespace twopass;

namespace {

using Doubles = std::vector<double>;

template <typename F>
Tensor gradient_of(const Tensor& value, const F& f) {
  const Tensor x = variable(value);
  return backward(f(x))[x];
}

}  // namespace

TEST_CASE("S9: reshape refuses an ambiguous -1, a second -1 and a wrong count") {
  CHECK(reshape(zeros({2, 3}), {-1, 2}).shape() == Shape({3, 2}));
  CHECK_THROWS_WITH_AS(reshape(zeros({0, 3}), {-1, 0}), doctest::Contains("ambiguous"), Error);
  CHECK_THROWS_WITH_AS(reshape(zeros({2, 3}), {-1, -1}), doctest::Contains("only one size may be -1, not 2"), Error);
  CHECK_THROWS_WITH_AS(reshape(zeros({2, 3}), {4}), doctest::Contains("6 elements do not fill (4,), which has 4"),
                       Error);
  CHECK_THROWS_WITH_AS(reshape(zeros({2, 3}), {-1, 4}), doctest::Contains("6 elements do not divide into 4 each"),
                       Error);
}

TEST_CASE("S10: a transpose reshaped, a slice of a transpose and a reversed axis have right values and gradients") {
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  CHECK(reshape(transpose(x), {2, 3}).values<double>() == Doubles{1, 4, 2, 5, 3, 6});
  CHECK(slice(transpose(x), 0, 1, 3).values<double>() == Doubles{2, 5, 3, 6});
  CHECK(slice(transpose(x), 1, 1, 2).values<double>() == Doubles{4, 5, 6});
  CHECK(slice(x, 1, -1, -4, -1).values<double>() == Doubles{3, 2, 1, 6, 5, 4});
  const Tensor weights = tensor({{1.0, 10.0, 100.0}, {2.0, 20.0, 200.0}});
  CHECK(gradient_of(x, [&](const Tensor& t) { return sum(slice(t, 1, -1, -4, -1) * weights); }).values<double>() ==
        Doubles{100, 10, 1, 200, 20, 2});
  CHECK(gradient_of(x, [&](const Tensor& t) {
          return sum(reshape(transpose(t), {2, 3}) * weights);
        }).values<double>() == Doubles{1, 100, 20, 10, 2, 200});
}

TEST_CASE("axes move to any order, also in tensors larger than a tile") {
  const Tensor x = reshape(arange(0, 70 * 50 * 30, 1, i64), {70, 50, 30});
  for (const std::vector<std::int64_t>& order :
       {std::vector<std::int64_t>{2, 0, 1}, {1, 0, 2}, {0, 2, 1}, {2, 1, 0}, {1, 2, 0}}) {
    const Tensor y = transpose(x, order);
    const std::int64_t at[] = {41, 17, 23};
    std::int64_t place = 0;
    for (const std::int64_t axis : order) place = place * x.shape()[static_cast<int>(axis)] + at[axis];
    CHECK(y.at<std::int64_t>(place) == (41 * 50 + 17) * 30 + 23);
    CHECK(sum(y).item<std::int64_t>() == std::int64_t{105000} * 104999 / 2);
  }
}

TEST_CASE("S11: axes count from the end; absent and double ones are refused") {
  const Tensor x = zeros({2, 3});
  CHECK(transpose(x, {-1, 0}).shape() == Shape({3, 2}));
  CHECK(expand_dims(x, -1).shape() == Shape({2, 3, 1}));
  CHECK_THROWS_WITH_AS(expand_dims(x, 5), doctest::Contains("axis 5 is out of range"), Error);
  CHECK_THROWS_WITH_AS(transpose(x, {0, 0}), doctest::Contains("axis 0 is named twice"), Error);
  CHECK_THROWS_WITH_AS(squeeze(x, 0), doctest::Contains("axis 0 has size 2 and not size 1"), Error);
}

TEST_CASE("S13: slices by steps, empty ones and start beyond stop, with gradients") {
  const Tensor x = tensor({1.0, 2.0, 3.0, 4.0, 5.0});
  CHECK(slice(x, 0, 0, 5, 2).values<double>() == Doubles{1, 3, 5});
  CHECK(gradient_of(x, [](const Tensor& t) { return sum(slice(t, 0, 0, 5, 2)); }).values<double>() ==
        Doubles{1, 0, 1, 0, 1});
  CHECK(slice(x, 0, 2, 2).shape() == Shape({0}));
  CHECK(slice(x, 0, 4, 1).shape() == Shape({0}));
  CHECK(gradient_of(x, [](const Tensor& t) { return sum(slice(t, 0, 4, 1)); }).values<double>() == Doubles(5, 0));
  CHECK(slice(x, 0, -2, 99).values<double>() == Doubles{4, 5});
  CHECK(slice(x, 0, 99, -99, -1).values<double>() == Doubles{5, 4, 3, 2, 1});
  CHECK(slice(x, 0, 99, 0, -2).values<double>() == Doubles{5, 3});
  CHECK_THROWS_WITH_AS(slice(x, 0, 0, 5, 0), doctest::Contains("step of 0"), Error);
}

TEST_CASE("S14: concat of one is that one, empty parts are accepted, other ranks refused") {
  const Tensor x = tensor({{1.0, 2.0}});
  CHECK(concat({x}).values<double>() == Doubles{1, 2});
  CHECK(concat({x, zeros({0, 2}), x}).shape() == Shape({2, 2}));
  CHECK(concat({x, zeros({1, 0})}, 1).values<double>() == Doubles{1, 2});
  CHECK_THROWS_WITH_AS(concat({x, zeros({2})}), doctest::Contains("part 1 has 1 axes but the first has 2"), Error);
  CHECK_THROWS_WITH_AS(concat({}), doctest::Contains("nothing to join"), Error);
}

TEST_CASE("S16: shapes that 63 bits cannot count, and negative ones, are refused before memory is asked for") {
  CHECK_THROWS_AS(zeros({std::int64_t{1} << 32, std::int64_t{1} << 32}), Error);
  CHECK_THROWS_AS(broadcast_to(zeros({}), {std::int64_t{1} << 62, std::int64_t{1} << 62}), Error);
  CHECK_THROWS_AS(zeros({-2}), Error);
  CHECK_THROWS_WITH_AS(pad(zeros({2}), {{std::numeric_limits<std::int64_t>::max(), 0}}), doctest::Contains("2^63"),
                       Error);
}

TEST_CASE("S4: empty tensors broadcast, and gradients of what was broadcast away are zero") {
  CHECK(broadcast_to(ones({1, 3}), {0, 3}).shape() == Shape({0, 3}));
  CHECK(gradient_of(ones({1, 3}), [](const Tensor& t) {
          return sum(broadcast_to(t, {0, 3}));
        }).values<double>() == Doubles(3, 0));
  CHECK_THROWS_WITH_AS(broadcast_to(zeros({0}), {2}), doctest::Contains("(0,) does not broadcast to (2,)"), Error);
}

TEST_CASE("reshapes and leading slices share memory, others do not") {
  const Tensor x = zeros({100, 4});
  CHECK(reshape(x, {400}).data<float>() == x.data<float>());
  CHECK(slice(x, 0, 3, 7).data<float>() == x.data<float>() + 12);
  CHECK(slice(x, 0, 3, 7, 2).data<float>() != x.data<float>() + 12);
}

TEST_CASE("stack, split and pad put elements where they belong") {
  const Tensor a = tensor({1.0, 2.0}), b = tensor({3.0, 4.0});
  CHECK(stack({a, b}, 1).values<double>() == Doubles{1, 3, 2, 4});
  const Tensors parts = split(tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}}), {1, 2}, -1);
  CHECK(parts[1].values<double>() == Doubles{2, 3, 5, 6});
  CHECK_THROWS_WITH_AS(split(a, {1, 2}), doctest::Contains("add up to 3, not to the 2 of axis 0"), Error);
  CHECK(pad(a, {{1, 2}}, 9).values<double>() == Doubles{9, 1, 2, 9, 9});
}

TEST_CASE("open batches flow through reshape, flatten, transpose and concat, and refuse to be cut") {
  const Tensor x = symbol({kOpen, 3, 4}, f32, "x");
  CHECK(reshape(x, {-1, 12}).shape() == Shape({kOpen, 12}));
  CHECK(flatten(x).shape() == Shape({kOpen, 12}));
  CHECK(transpose(x, {1, 0, 2}).shape() == Shape({3, kOpen, 4}));
  CHECK(concat({x, x}, 1).shape() == Shape({kOpen, 6, 4}));
  CHECK(slice(x, 1, 0, 2).shape() == Shape({kOpen, 2, 4}));
  CHECK_THROWS_WITH_AS(slice(x, 0, 0, 2), doctest::Contains("is open"), Error);
  CHECK_THROWS_WITH_AS(reshape(x, {2, 12}), doctest::Contains("open"), Error);
  CHECK_THROWS_WITH_AS(flatten(x, 0), doctest::Contains("open"), Error);
}
