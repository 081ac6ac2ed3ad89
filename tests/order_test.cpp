// Norms, running sums and products, sorting, and elements picked along an axis.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/scans.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/sorting.h>

using namespace twopass;

namespace {

using Values = std::vector<double>;
constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

Values gradient_of_sum(const std::function<Tensor(const Tensor&)>& f, const Tensor& at) {
  const Tensor x = variable(at);
  return backward(sum(f(x)))[x].values<double>();
}

}  // namespace

TEST_CASE("N4: the norm of 0 is 0 with gradient 0, for every p and along axes") {
  for (const double p : {0.0, 0.5, 1.0, 1.5, 2.0, 3.0, kInf, -kInf}) {
    const Tensor zero = variable(tensor({0.0, 0.0}, f64));
    CHECK(norm(zero, p).item<double>() == 0);
    CHECK(backward(norm(zero, p))[zero].values<double>() == Values{0, 0});
  }
  const Values rows =
      gradient_of_sum([](const Tensor& x) { return norm(x, 2, 1); }, tensor({{0.0, 0.0}, {3.0, 4.0}}, f64));
  CHECK(rows[0] == 0);
  CHECK(rows[1] == 0);
  CHECK(rows[2] == doctest::Approx(0.6));
  CHECK(rows[3] == doctest::Approx(0.8));
}

TEST_CASE("norms neither overflow nor vanish, in f32 too, and infinities stay") {
  CHECK(norm(tensor({3e30, 4e30}, f32)).item<float>() == doctest::Approx(5e30));
  CHECK(norm(tensor({3e-200, 4e-200}, f64)).item<double>() / 5e-200 == doctest::Approx(1));
  CHECK(norm(tensor({1.0, -kInf}, f64)).item<double>() == kInf);
  CHECK(std::isnan(norm(tensor({1.0, kNan}, f64)).item<double>()));
  CHECK(norm(tensor({3.0, -4.0}, f64), 1).item<double>() == 7);
  CHECK(norm(tensor({3.0, -4.0}, f64), kInf).item<double>() == 4);
}

TEST_CASE("N30: 0 normalised is 0 and the cosine of 0 is 0, with finite gradients") {
  const Tensor zero = variable(tensor({0.0, 0.0}, f64)), b = variable(tensor({1.0, 2.0}, f64));
  CHECK(normalize(zero).values<double>() == Values{0, 0});
  CHECK(std::isfinite(backward(sum(normalize(zero)))[zero].at<double>(0)));
  const Tensor cosine = cosine_similarity(zero, b);
  CHECK(cosine.item<double>() == 0);
  const Gradients gradients = backward(cosine);
  CHECK(std::isfinite(gradients[zero].at<double>(1)));
  CHECK(gradients[b].values<double>() == Values{0, 0});
  CHECK(cosine_similarity(tensor({1.0, 0.0}, f64), tensor({3.0, 4.0}, f64)).item<double>() == doctest::Approx(0.6));
}

TEST_CASE("N25: the gradient of a running product is right with a zero among the factors") {
  const auto product = [](const Tensor& x) { return cumprod(x); };
  CHECK(gradient_of_sum(product, tensor({2.0, 0.0, 3.0}, f64)) == Values{1, 8, 0});
  // y = (a, ab, abc, abcd) at (2, 0, 0, 5): dy/da = 1, dy/db = 2, dy/dc = 0
  CHECK(gradient_of_sum(product, tensor({2.0, 0.0, 0.0, 5.0}, f64)) == Values{1, 2, 0, 0});
  const auto from_behind = [](const Tensor& x) { return cumprod(x, 0, Scan::backward); };
  CHECK(gradient_of_sum(from_behind, tensor({3.0, 0.0, 2.0}, f64)) == Values{0, 8, 1});
}

TEST_CASE("running sums of f32 keep what an f32 accumulator would lose, and empty axes are fine") {
  const Tensor ones = from_values(std::vector<float>(100000, 0.1F), {100000}, f32);
  CHECK(cumsum(ones).at<double>(99999) == doctest::Approx(10000.0).epsilon(1e-6));
  CHECK(cumsum(from_values(std::vector<double>{}, {2, 0}, f64)).shape() == Shape{2, 0});
  CHECK(gradient_of_sum([](const Tensor& x) { return cumprod(x); }, from_values(std::vector<double>{}, {2, 0}, f64)) ==
        Values{});
}

TEST_CASE("sorting is stable, puts NaN last, and gives each element the gradient of its place") {
  const Tensor x = variable(tensor({{3.0, 1.0, 2.0}, {5.0, 6.0, 4.0}}, f64));
  const Tensor weights = tensor({{10.0, 20.0, 30.0}, {10.0, 20.0, 30.0}}, f64);
  CHECK(sort(x).values<double>() == Values{1, 2, 3, 4, 5, 6});
  CHECK(backward(sum(sort(x) * weights))[x].values<double>() == Values{30, 10, 20, 20, 30, 10});
  CHECK(sort(x, 0, Order::descending).values<double>() == Values{5, 6, 4, 3, 1, 2});
  CHECK(argsort(tensor({1, 0, 1, 0})).values<int>() == std::vector<int>{1, 3, 0, 2});
  CHECK(argsort(tensor({1, 0, 1, 0}), 0, Order::descending).values<int>() == std::vector<int>{0, 2, 1, 3});
  CHECK(argsort(tensor({true, false})).values<int>() == std::vector<int>{1, 0});
}

TEST_CASE("N14: of equal elements topk takes the first, with its gradient") {
  const Tensor x = variable(tensor({1.0, 3.0, 3.0, 2.0}, f64));
  const TopK top = topk(x, 1);
  CHECK(top.values.values<double>() == Values{3});
  CHECK(top.indices.values<int>() == std::vector<int>{1});
  CHECK(backward(sum(top.values))[x].values<double>() == Values{0, 1, 0, 0});
  CHECK(topk(x, 0).values.shape() == Shape{0});
}

TEST_CASE("sorted and picked values are differentiated right to second order") {
  const Tensor x = tensor({{0.3, -1.2, 2.0}, {1.5, 0.1, -0.4}}, f64);
  const auto check = [&](const std::function<Tensor(const Tensors&)>& f) {
    const GradcheckReport report = gradcheck(f, {x}, {.order = 2});
    INFO(report.text());
    CHECK(report.ok());
  };
  check([](const Tensors& in) { return square(sort(in[0], 0)); });
  check([](const Tensors& in) { return square(topk(in[0], 2).values); });
  check([](const Tensors& in) { return cosine_similarity(in[0], square(in[0]) + 1.0); });
}

TEST_CASE("N24: what is not finite behind a product that has no gradient leaves cumprod's others alone") {
  for (const double far : {1e200, double{NAN}}) {
    const Tensor x = variable(tensor({2.0, far, far}, f64));
    CHECK(backward(sum(slice(cumprod(x), 0, 0, 1)))[x].values<double>() == std::vector<double>{1, 0, 0});
  }
}
