#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/contractions.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/linear_algebra.h>
#include <twopass/ops/products.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "window_checks.h"

using namespace twopass;

namespace {

Tensor counted(const Shape& shape) {
  Values values(static_cast<std::size_t>(shape.elements()));
  std::iota(values.begin(), values.end(), 0.0);
  return from_values(values, shape, f64);
}

double largest(const Tensor& x) { return max(abs(x)).item<double>(); }

}  // namespace

TEST_CASE("matrix_transpose exchanges the last two axes of every matrix, and its gradient exchanges them back") {
  const Tensor x = variable(reshape(arange(0, 12, 1, f64), {2, 2, 3}));
  const Tensor y = matrix_transpose(x);
  CHECK(y.shape() == Shape({2, 3, 2}));
  CHECK(y.values<double>() == std::vector<double>{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11});
  const Tensor weights = reshape(arange(0, 12, 1, f64), {2, 3, 2});
  CHECK(backward(sum(y * weights))[x].values<double>() == std::vector<double>{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11});
  CHECK_THROWS_WITH_AS(matrix_transpose(tensor({1.0})), "matrix_transpose(1,): a matrix has two axes", Error);
}

TEST_CASE("solutions, inverses and factors of larger matrices give back what they were made of") {
  Random random(11);
  const Tensor a = random.normal({3, 20, 20}, f64), b = random.normal({3, 20, 4}, f64);
  CHECK(largest(matmul(a, solve(a, b)) - b) < 1e-10);
  CHECK(largest(matmul(a, inverse(a)) - eye(20, f64)) < 1e-10);
  const Tensor positive = matmul(a, a, {.transpose_b = true}) + eye(20, f64);
  const Tensor l = cholesky(positive);
  CHECK(largest(matmul(l, l, {.transpose_b = true}) - positive) < 1e-10);
  CHECK(largest(triu(l, 1)) == 0);
  CHECK(largest(matmul(l, triangular_solve(l, b)) - b) < 1e-9);
  // det a² = det a aᵀ
  const Tensor logs = slogdet(a).logabs * 2.0 - slogdet(matmul(a, a, {.transpose_b = true})).logabs;
  CHECK(largest(logs) < 1e-10);
}

TEST_CASE("equations broadcast their leading axes and take vectors") {
  const Tensor a = tensor({{2.0, 0.0}, {0.0, 4.0}}, f64);
  CHECK(solve(a, tensor({2.0, 4.0}, f64)).values<double>() == Values{1, 1});
  const Tensor both = solve(a, tensor({{{2.0}, {4.0}}, {{4.0}, {8.0}}}, f64));
  CHECK(both.shape() == Shape{2, 2, 1});
  CHECK(both.values<double>() == Values{1, 1, 2, 2});
  CHECK(triangular_solve(a, tensor({2.0, 4.0}, f64), {.triangle = Triangle::upper}).values<double>() == Values{1, 1});
  CHECK_THROWS_WITH_AS(solve(tensor({1.0}, f64), tensor({1.0}, f64)), doctest::Contains("solve((1,), (1,)): "), Error);
  CHECK_THROWS_WITH_AS(solve(tensor({{{1.0}}, {{0.0}}}, f64), tensor({{{1.0}}, {{1.0}}}, f64)),
                       doctest::Contains("matrix 1 is singular"), Error);
}

TEST_CASE("the triangle that does not count is not read") {
  const double nan = std::nan("");
  const Tensor lower = tensor({{2.0, nan}, {1.0, 4.0}}, f64), b = tensor({{2.0}, {9.0}}, f64);
  CHECK(triangular_solve(lower, b).values<double>() == Values{1, 2});
  const Tensor unit = tensor({{nan, 1.0}, {nan, nan}}, f64);
  CHECK(triangular_solve(unit, tensor({{3.0}, {2.0}}, f64), {.triangle = Triangle::upper, .unit_diagonal = true})
            .values<double>() == Values{1, 2});
}

TEST_CASE("the gradient of a determinant is right where the matrix is singular") {
  // d det / dx is the matrix of cofactors
  const Tensor x = variable(tensor({{1.0, 2.0}, {2.0, 4.0}}, f64));
  const Values slopes = backward(det(x))[x].values<double>();
  for (const auto& [found, expected] :
       {std::pair{slopes[0], 4.0}, {slopes[1], -2.0}, {slopes[2], -2.0}, {slopes[3], 1.0}})
    CHECK(found == doctest::Approx(expected));
  const Tensor none = variable(zeros({3, 3}, f64));
  CHECK(largest(backward(det(none))[none]) == 0);
  const SignAndLog singular = slogdet(x);
  CHECK(singular.sign.item<double>() == 0);
  CHECK(singular.logabs.item<double>() == -std::numeric_limits<double>::infinity());
  CHECK_THROWS_WITH_AS(backward(singular.logabs), doctest::Contains("singular"), Error);
}

TEST_CASE("slogdet reaches where det overflows") {
  const Tensor x = eye(400, f64) * 10.0;
  CHECK(slogdet(x).logabs.item<double>() == doctest::Approx(400 * std::log(10.0)));
  CHECK(std::isinf(det(x).item<double>()));
  CHECK(slogdet(neg(eye(3, f64))).sign.item<double>() == -1);
}

TEST_CASE("matrices without rows have determinant 1 and inverses without elements") {
  const Tensor none = zeros({0, 0}, f64);
  CHECK(det(none).item<double>() == 1);
  CHECK(inverse(none).shape() == Shape{0, 0});
  CHECK(cholesky(none).shape() == Shape{0, 0});
}

TEST_CASE("einsum writes the usual products") {
  const Tensor a = counted({2, 3}), b = counted({3, 2}), v = counted({3});
  CHECK(einsum("ij,jk->ik", {a, b}).values<double>() == Values{10, 13, 28, 40});
  CHECK(einsum("ij,jk", {a, b}).values<double>() == Values{10, 13, 28, 40});
  CHECK(einsum("ij->ji", {a}).values<double>() == Values{0, 3, 1, 4, 2, 5});
  CHECK(einsum("ba", {a}).values<double>() == Values{0, 3, 1, 4, 2, 5});
  CHECK(einsum("ij->", {a}).item<double>() == 15);
  CHECK(einsum("ij -> j", {a}).values<double>() == Values{3, 5, 7});
  CHECK(einsum("i,i", {v, v}).item<double>() == 5);
  CHECK(einsum("i,j->ij", {v, v}).values<double>() == Values{0, 0, 0, 0, 1, 2, 0, 2, 4});
  CHECK(einsum("i,i->i", {v, v}).values<double>() == Values{0, 1, 4});
  CHECK(einsum("ii", {counted({3, 3})}).item<double>() == 12);
  CHECK(einsum("ii->i", {counted({3, 3})}).values<double>() == Values{0, 4, 8});
  CHECK(einsum("ij,j,ik->k", {a, v, counted({2, 2})}).values<double>() == Values{28, 47});
  const Tensor batched = einsum("...ij,...jk->...ik", {counted({2, 2, 3}), counted({2, 3, 2})});
  CHECK(batched.shape() == Shape{2, 2, 2});
  CHECK(batched.values<double>() == Values{10, 13, 28, 40, 172, 193, 244, 274});
  CHECK(einsum("bhqd,bkhd->bhqk", {counted({2, 3, 4, 5}), counted({2, 6, 3, 5})}).shape() == Shape{2, 3, 4, 6});
  CHECK(einsum("i...->...", {a}).values<double>() == Values{3, 5, 7});
}

TEST_CASE("einsum refuses what does not fit, saying what") {
  const Tensor a = counted({2, 3});
  const auto refused = [&](std::string_view equation, const Tensors& inputs, const char* words) {
    CHECK_THROWS_WITH_AS(einsum(equation, inputs), doctest::Contains(words), Error);
  };
  refused("ij,jk->ik", {a}, "2 inputs are named but 1 given");
  refused("i->i", {a}, "names 1 axes of an input that has 2");
  refused("ij,jk->ik", {a, a}, "'j' has sizes 3 and 2");
  refused("ij->ik", {a}, "the output names 'k', which no input has");
  refused("ij->ii", {a}, "the output names 'i' twice");
  refused("i1->i", {a}, "no letter at place 1");
  refused("ii", {a}, "'i' has sizes 2 and 3");
}

TEST_CASE("tensordot, outer and dot") {
  const Tensor a = counted({2, 3}), b = counted({3, 2});
  CHECK(tensordot(a, b, 1).values<double>() == Values{10, 13, 28, 40});
  CHECK(tensordot(a, b, {0, 1}, {1, 0}).item<double>() == 0 * 0 + 1 * 2 + 2 * 4 + 3 * 1 + 4 * 3 + 5 * 5);
  CHECK(tensordot(a, counted({2}), {0}, {0}).values<double>() == Values{3, 4, 5});
  CHECK(tensordot(a, b, 0).shape() == Shape{2, 3, 3, 2});
  CHECK(outer(tensor({1.0, 2.0}, f64), tensor({3.0, 4.0}, f64)).values<double>() == Values{3, 4, 6, 8});
  CHECK(dot(tensor({1.0, 2.0}, f64), tensor({3.0, 4.0}, f64)).item<double>() == 11);
  CHECK_THROWS_WITH_AS(tensordot(a, b, {0}, {0}), doctest::Contains("sizes (2,) of the first meet (3,)"), Error);
  CHECK_THROWS_WITH_AS(dot(a, b), doctest::Contains("two vectors"), Error);
}

TEST_CASE("contractions and slogdet are differentiated right to second order") {
  Random random(3);
  const Tensor a = random.normal({2, 3}, f64), b = random.normal({3, 2}, f64), c = random.normal({2, 2}, f64);
  const auto check = [](const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs) {
    const GradcheckReport report = gradcheck(f, inputs, {.order = 2});
    INFO(report.text());
    CHECK(report.ok());
  };
  check([](const Tensors& in) { return einsum("ij,jk,kk->i", in); }, {a, b, c});
  check([](const Tensors& in) { return tensordot(in[0], in[1], {0, 1}, {1, 0}); }, {a, b});
  check([](const Tensors& in) { return slogdet(in[0]).logabs * slogdet(in[0]).sign; }, {c});
  check([](const Tensors& in) { return solve(in[0], in[1]); }, {c, random.normal({3, 2, 1}, f64)});
}

TEST_CASE("a bilinear form meets two vectors over a kernel") {
  const Tensor a = sines({2, 3}, 0.1), b = sines({2, 2}, 0.2), kernel = sines({4, 3, 2}, 0.3), bias = sines({4}, 0.4);
  check_ends(bilinear(a, b, kernel, bias),
             {-0.340773963221584, 0.428822363102034, 0.336741369239829, -0.349374972463451, 0.536927919331095,
              0.916109817327004, 0.394797355895781, -0.72517515998999});
  CHECK(bilinear(sines({3}, 0), sines({2}, 0), kernel).shape() == Shape{4});
  CHECK(bilinear(input({3}), input({2}), cast(kernel, f32)).shape() == Shape{kOpen, 4});
  check_gradients([](const Tensors& in) { return bilinear(in[0], in[1], in[2], in[3]); }, {a, b, kernel, bias}, 2);
  CHECK_THROWS_WITH_AS(bilinear(b, a, kernel),
                       "bilinear((2, 2), (2, 3), (4, 3, 2)): 2 and 3 elements do not meet 3 and 2", Error);
  CHECK_THROWS_WITH_AS(bilinear(a, b, kernel, ones({3}, f64)),
                       doctest::Contains("a bias of shape (3,) does not go with 4 outputs"), Error);
}
