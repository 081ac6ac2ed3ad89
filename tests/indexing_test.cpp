#include <doctest/doctest.h>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/reduction.h>

using namespace twopass;

namespace {
using Doubles = std::vector<double>;
}

TEST_CASE(
    "S12: a slice gathered twice receives both gradients, negative indices count from the end, others are refused") {
  const Tensor x = variable(tensor({{1.0, 2.0}, {3.0, 4.0}, {5.0, 6.0}}));
  const Tensor picked = gather(x, tensor({2, 0, -1}));
  CHECK(picked.values<double>() == Doubles{5, 6, 1, 2, 5, 6});
  CHECK(backward(sum(picked))[x].values<double>() == Doubles{1, 1, 0, 0, 2, 2});
  CHECK_THROWS_WITH_AS(gather(x, tensor({0, 3})), doctest::Contains("index 3 at place 1 is outside -3…2"), Error);
  CHECK_THROWS_WITH_AS(gather(x, tensor({-4})), doctest::Contains("index -4 at place 0"), Error);
  CHECK_THROWS_WITH_AS(gather(x, tensor({0.0})), doctest::Contains("indices must be i64, not f32"), Error);
}

TEST_CASE("gather along an inner axis puts the axes of the indices in its place") {
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const Tensor picked = gather(x, tensor({{0, 2}, {1, 1}}), -1);
  CHECK(picked.shape() == Shape({2, 2, 2}));
  CHECK(picked.values<double>() == Doubles{1, 3, 2, 2, 4, 6, 5, 5});
  CHECK(scatter_add(picked, tensor({{0, 2}, {1, 1}}), 3, -1).values<double>() == Doubles{1, 4, 3, 4, 10, 6});
}

TEST_CASE("F15: a label that is no class is refused with its place and value") {
  CHECK(one_hot(tensor({1, 0}), 2).values<double>() == Doubles{0, 1, 1, 0});
  CHECK_THROWS_WITH_AS(one_hot(tensor({0, 1, 2, 12}), 10), doctest::Contains("label 12 at place 3 is outside 0…9"),
                       Error);
  CHECK_THROWS_WITH_AS(one_hot(tensor({-1}), 10), doctest::Contains("label -1 at place 0"), Error);
  CHECK_THROWS_WITH_AS(one_hot(tensor({1.5}), 10), doctest::Contains("labels must be i64, not f32"), Error);
}

TEST_CASE("ranges and identity matrices") {
  CHECK(arange(0, 1, 0.25).values<double>() == Doubles{0, 0.25, 0.5, 0.75});
  CHECK(arange(3, 0, -1, i64).values<double>() == Doubles{3, 2, 1});
  CHECK(arange(3, 3).shape() == Shape({0}));
  CHECK_THROWS_WITH_AS(arange(0, 1, 0), doctest::Contains("step of 0"), Error);
  CHECK(eye(2).values<double>() == Doubles{1, 0, 0, 1});
}
