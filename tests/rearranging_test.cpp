#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "window_checks.h"

using namespace twopass;

namespace {

using Whole = std::vector<int>;

Tensor counted(const Shape& shape) {
  std::vector<double> values(static_cast<std::size_t>(shape.elements()));
  std::iota(values.begin(), values.end(), 0.0);
  return from_values(values, shape, f64);
}

}  // namespace

TEST_CASE("flip, roll, tile and repeat do what NumPy's do") {
  const Tensor x = counted({2, 3});
  CHECK(flip(x, 1).values<int>() == Whole{2, 1, 0, 5, 4, 3});
  CHECK(flip(x, 0).values<int>() == Whole{3, 4, 5, 0, 1, 2});
  CHECK(roll(x, 1, 1).values<int>() == Whole{2, 0, 1, 5, 3, 4});
  CHECK(roll(x, -4, -1).values<int>() == Whole{1, 2, 0, 4, 5, 3});
  CHECK(roll(x, 6, 1).values<int>() == x.values<int>());
  CHECK(tile(counted({2}), {2}).values<int>() == Whole{0, 1, 0, 1});
  const Tensor tiled = tile(counted({1, 2}), {2, 2});
  CHECK(tiled.shape() == Shape{2, 4});
  CHECK(tiled.values<int>() == Whole{0, 1, 0, 1, 0, 1, 0, 1});
  CHECK(repeat(counted({2}), 2, 0).values<int>() == Whole{0, 0, 1, 1});
  CHECK(repeat(counted({2, 1}), 0, 1).shape() == Shape{2, 0});
  CHECK_THROWS_WITH_AS(tile(x, {2}), doctest::Contains("1 numbers for 2 axes"), Error);
  CHECK_THROWS_WITH_AS(repeat(x, -1, 0), doctest::Contains("-1 times"), Error);
}

TEST_CASE("moveaxis and unstack keep the other axes in order") {
  const Tensor x = counted({2, 3, 4});
  CHECK(moveaxis(x, 0, -1).shape() == Shape{3, 4, 2});
  CHECK(moveaxis(x, 2, 0).shape() == Shape{4, 2, 3});
  CHECK(moveaxis(x, 2, 0).at<int>(1) == 4);
  const Tensors rows = unstack(x, 1);
  CHECK(rows.size() == 3);
  CHECK(rows[1].values<int>() == Whole{4, 5, 6, 7, 16, 17, 18, 19});
}

TEST_CASE("diagonals and triangles of matrices that are not square, with offsets") {
  const Tensor x = counted({2, 3});
  CHECK(diagonal(x).values<int>() == Whole{0, 4});
  CHECK(diagonal(x, 1).values<int>() == Whole{1, 5});
  CHECK(diagonal(x, -1).values<int>() == Whole{3});
  CHECK(diagonal(x, 3).shape() == Shape{0});
  CHECK(diag(counted({3})).values<int>() == Whole{0, 0, 0, 0, 1, 0, 0, 0, 2});
  CHECK(diag(counted({2, 2})).values<int>() == Whole{0, 0, 0, 1, 2, 0, 0, 3});
  CHECK(tril(x).values<int>() == Whole{0, 0, 0, 3, 4, 0});
  CHECK(triu(x, 1).values<int>() == Whole{0, 1, 2, 0, 0, 5});
  CHECK(tril(x, -1).values<int>() == Whole{0, 0, 0, 3, 0, 0});
  CHECK(trace(counted({2, 2, 2})).values<int>() == Whole{3, 11});
  CHECK_THROWS_WITH_AS(trace(counted({3})), doctest::Contains("a matrix has two axes"), Error);
  const Tensor infinite = full({2, 2}, std::numeric_limits<double>::infinity(), f64);
  CHECK(tril(infinite).at<double>(1) == 0);
}

TEST_CASE("rearranging functions are differentiated right to second order") {
  const Tensor x = tensor({{0.3, -1.2, 2.0}, {1.5, 0.1, -0.4}}, f64);
  const auto check = [&](const std::function<Tensor(const Tensor&)>& f) {
    const GradcheckReport report = gradcheck([&](const Tensors& in) { return square(f(in[0])); }, {x}, {.order = 2});
    INFO(report.text());
    CHECK(report.ok());
  };
  check([](const Tensor& t) { return flip(t, 1); });
  check([](const Tensor& t) { return roll(t, 2, 1); });
  check([](const Tensor& t) { return tile(t, {2, 3}); });
  check([](const Tensor& t) { return repeat(t, 2, 0); });
  check([](const Tensor& t) { return moveaxis(t, 0, 1); });
  check([](const Tensor& t) { return diagonal(t, 1); });
  check([](const Tensor& t) { return diag(t); });
  check([](const Tensor& t) { return trace(t); });
  check([](const Tensor& t) { return tril(t); });
  check([](const Tensor& t) { return triu(t); });
}

TEST_CASE("S12: an embedding adds the gradients of a row that is looked up twice and refuses one that isn't there") {
  const Tensor table = variable(counted({3, 2}));
  const Tensor found = embedding(table, tensor({{0, 2}, {2, 2}}));
  CHECK(found.shape() == Shape{2, 2, 2});
  CHECK(found.values<int>() == Whole{0, 1, 4, 5, 4, 5, 4, 5});
  CHECK(backward(sum(found))[table].values<int>() == Whole{1, 1, 0, 0, 3, 3});
  CHECK_THROWS_WITH_AS(embedding(table, tensor({0, -1})), doctest::Contains("-1 at flat index 1 is outside [0, 2]"),
                       Error);
  CHECK_THROWS_WITH_AS(embedding(table, tensor({0, 3})), doctest::Contains("3 at flat index 1 is outside [0, 2]"),
                       Error);
  CHECK_THROWS_WITH_AS(embedding(counted({3}), tensor({0})), doctest::Contains("entries and width"), Error);
}

TEST_CASE("S12: bags of rows, of one size and of several, an empty one among them") {
  const Tensor table = sines({5, 2}, 0.1), indices = tensor({{0, 2, 4}, {1, 1, 3}});
  check_ends(embedding_bag(table, indices),
             {0.0838153721425014, 0.0948303466943517, 0.514752076341884, 0.270710121664152});
  check_ends(embedding_bag(table, indices, Bag::sum),
             {0.251446116427504, 0.284491040083055, 1.54425622902565, 0.812130364992457});
  check_ends(embedding_bag(table, indices, Bag::max),
             {0.969889810845086, 0.891207360061435, 0.863209366648874, 0.728969040125876});
  const Tensor flat = reshape(indices, {6}), offsets = tensor({0, 2, 2, 5});
  for (const Tensor& wrong : {tensor({3, 0}), tensor({0, -2})})
    CHECK_THROWS_WITH_AS(embedding_bag(table, flat, wrong), doctest::Contains("do not fall from bag to bag"), Error);
  check_ends(embedding_bag(table, flat, offsets), {-0.359221847208791, -0.0173036611331485, 0, 0, 0.898769514714278,
                                                   0.134086562405311, -0.182162504272096, 0.728969040125876});
  check_ends(embedding_bag(table, flat, offsets, Bag::sum),
             {-0.718443694417582, -0.034607322266297, 0, 0, 2.69630854414283, 0.402259687215933});
  CHECK(embedding_bag(table, reshape(slice(flat, 0, 0, 0), {2, 0})).values<double>() == Values{0, 0, 0, 0});
  for (const Bag bag : {Bag::sum, Bag::mean, Bag::max})
    check_gradients([&](const Tensors& in) { return square(embedding_bag(in[0], indices, bag)); }, {table}, 2);
  check_gradients([&](const Tensors& in) { return square(embedding_bag(in[0], flat, offsets)); }, {table}, 2);
  CHECK_THROWS_WITH_AS(embedding_bag(table, flat, offsets, Bag::max),
                       doctest::Contains("no largest of bags of different sizes"), Error);
  CHECK_THROWS_WITH_AS(embedding_bag(table, flat, tensor({0, 7})), doctest::Contains("index 7 at place 1 is outside"),
                       Error);
  check_ends(embedding_bag(table, flat, tensor({3, 5})),
             embedding_bag(table, tensor({{1, 1}, {3, 3}})).values<double>());
  CHECK_THROWS_WITH_AS(embedding_bag(table, tensor({0, 5}), tensor({0})),
                       doctest::Contains("5 at flat index 1 is outside [0, 4]"), Error);
  CHECK_THROWS_WITH_AS(embedding_bag(table, flat), doctest::Contains("two axes of indices, not 1"), Error);
}
