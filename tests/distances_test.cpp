// Norms of any power, distances and order statistics. Numbers are PyTorch's.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/distances.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/quantiles.h>
#include <twopass/ops/reduction.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// sin(0.1), 0, sin(2.1), … in two rows.
Tensor with_zero() {
  const Tensor x = sines({2, 5}, 0.1);
  return where(equal(x, scalar_like(std::sin(1.1), x)), scalar_like(0, x), x);
}
Values slopes(const Tensor& at, double p) {
  const Tensor x = variable(at);
  return backward(sum(norm(x, p, 1)))[x].values<double>();
}

}  // namespace

TEST_CASE("below 1, at 0 and at both infinities the norm is PyTorch's, with gradient 0 at elements that are 0") {
  check_ends(norm(with_zero(), 0.5, 1), {5.53922092523222, 14.3831490531627});
  check_ends(from_values(slopes(with_zero(), 0.5), {10}, f64),
             {7.44880107277908, 0, 2.53318128777236, 11.5419354585914, -2.60180139254961, -3.94153110864936});
  check_ends(norm(with_zero(), 3, 1), {1.06034234139131, 1.28701386851934});
  CHECK(norm(with_zero(), 0, 1).values<double>() == Values{4, 5});
  CHECK(slopes(with_zero(), 0) == Values(10, 0.0));
  check_ends(norm(with_zero(), kInf, 1), {0.863209366648874, 0.969889810845086});
  check_ends(norm(with_zero(), -kInf, 1), {0, 0.182162504272096});
  CHECK(slopes(with_zero(), kInf) == Values{0, 0, 1, 0, 0, 0, 0, 0, 1, 0});
  CHECK(slopes(with_zero(), -kInf) == Values{0, 0, 0, 0, 0, 0, -1, 0, 0, 0});
  CHECK(slopes(tensor({{3.0, -3.0, 1.0}}, f64), kInf) == Values{0.5, -0.5, 0});
  // The largest share it evenly, k^(1/p - 1) each, also where |x| / y is 1 but for its rounding.
  CHECK(slopes(tensor({{3.0, -3.0, 1.0}}, f64), 1e308) == Values{0.5, -0.5, 0});
  check_ends(from_values(slopes(tensor({{3.0, -3.0, 1.0}}, f64), 1e6), {3}, f64),
             {0.5 * std::exp2(1e-6), -0.5 * std::exp2(1e-6), 0});
  CHECK(slopes(tensor({{3.0F, 3.0F, 3.0F}}), 1e8)[0] == doctest::Approx(1.0 / 3));
  CHECK(slopes(zeros({1, 2}, f64), 1e6) == Values{0, 0});
  CHECK(slopes(zeros({1, 2}, f64), 0.5) == Values{0, 0});
  CHECK(norm(tensor({1e300, 4e300}, f64), 0.5).item<double>() == doctest::Approx(9e300));
  CHECK(norm(zeros({0}, f64), 0.5).item<double>() == 0);
  for (const double p : {-1.0, std::nan("")})
    CHECK_THROWS_WITH_AS(norm(with_zero(), p), Contains("p must be positive"), Error);
}

TEST_CASE("distances of pairs, of all pairs of two sets and within one") {
  const Tensor a = sines({3, 4}, 0.1), b = sines({3, 4}, 0.5), c = sines({2, 4}, 0.9);
  check_ends(pairwise_distance(a, b, 1), {1.14298086116782, 0.985838792366802, 0.939379705627106});
  check_ends(pairwise_distance(a, b), {0.615973051624886, 0.524793567893762, 0.513645595429116});
  CHECK(pairwise_distance(a, b, 2, 1e-6, keep_axis).shape() == Shape{3, 1});
  check_ends(pairwise_distance(a, b, kInf), {0.39236489012291, 0.397281492359911, 0.394250482811161});
  check_ends(cdist(a, c), {1.17960649290478, 1.94149783312704, 2.87309514453854, 0.991458534309633, 1.12665640634724,
                           3.11677889667687});
  CHECK(cdist(a, c).shape() == Shape{3, 2});
  check_ends(cdist(a, c, 3.5), {0.933935586198073, 1.53362517170848, 2.26951117801706});
  check_ends(pdist(a), {2.38951902564553, 2.091137573687, 2.81319104529193});
  check_ends(pdist(a, 1), {4.46789281871396, 3.96657865808938, 5.19950973953723});
  CHECK(pdist(zeros({1, 3})).shape() == Shape{0});
  CHECK(cdist(zeros({2, 0, 3}), zeros({4, 3})).shape() == Shape{2, 0, 4});
  CHECK(cdist(input({4}), zeros({2, 4})).shape() == Shape{kOpen, 2});
  CHECK_THROWS_WITH_AS(cdist(a, ones({2, 3}, f64)), "cdist((3, 4), (2, 3)): points are rows, of one width", Error);
  CHECK_THROWS_WITH_AS(pdist(ones({3})), "pdist(3,): points are the rows of a matrix", Error);
  CHECK_THROWS_WITH_AS(pdist(input({3})), Contains("is not known yet"), Error);
}

TEST_CASE("near points far out keep their distance, and the gradient of two equal ones is 0") {
  const Tensor far = tensor({{1e8, 1.0}, {1e8, 1.5}}, f64);
  CHECK(cdist(far, far).values<double>() == Values{0, 0.5, 0.5, 0});
  const Tensor x = variable(tensor({{1.0, 2.0}, {1.0, 2.0}}, f64));
  CHECK(backward(sum(cdist(x, x)))[x].values<double>() == Values{0, 0, 0, 0});
  CHECK(backward(sum(pdist(x)))[x].values<double>() == Values{0, 0, 0, 0});
}

TEST_CASE("the k-th smallest is found with its place, and takes the gradient") {
  const Tensor x = variable(sines({2, 5}, 0.1));
  const RankedElement second = kthvalue(x, 2, 1);
  check_ends(second.value, {0.0415806624332905, -0.182162504272096});
  CHECK(second.index.values<int>() == std::vector<int>{3, 1});
  CHECK(backward(sum(second.value))[x].values<int>() == std::vector<int>{0, 0, 0, 1, 0, 0, 1, 0, 0, 0});
  CHECK(kthvalue(x, 1, 0, keep_axis).value.shape() == Shape{1, 5});
  CHECK(kthvalue(tensor({2.0, 1.0, 1.0}), 2).index.item<int>() == 2);
  CHECK(std::isnan(kthvalue(tensor({2.0, std::nan(""), 1.0}), 3).value.item<double>()));
  CHECK_THROWS_WITH_AS(kthvalue(x, 6), "kthvalue(2, 5): k is 6 but axis -1 has size 5", Error);
  CHECK_THROWS_WITH_AS(kthvalue(x, 0), Contains("k is 0"), Error);
  CHECK_THROWS_WITH_AS(kthvalue(input({2}), 1, 0), Contains("axis 0 is open"), Error);
}

TEST_CASE("quantiles lie between two elements, which share the gradient") {
  const Tensor x = variable(sines({2, 5}, 0.1));
  check_ends(quantile(x, {0, 0.25, 0.4, 1}, 1),
             {-0.81827711106441, -0.925814682327732, 0.0415806624332905, -0.182162504272096, 0.0765323149614131,
              0.118594015700773, 0.891207360061435, 0.969889810845086});
  CHECK(quantile(x, {0, 0.5, 1}, 0).shape() == Shape{3, 5});
  CHECK(quantile(x, 0.5, 1, keep_axis).shape() == Shape{2, 1});
  check_ends(backward(sum(quantile(x, 0.4, 1)))[x], {0.6, 0, 0, 0.4, 0, 0, 0.4, 0, 0, 0.6});
  CHECK(quantile(tensor({7.0}, f64), 0.3).item<double>() == 7);
  const Tensor tied = variable(tensor({1.0, 1.0, 1.0}, f64));
  check_ends(backward(quantile(tied, 0.75))[tied], {0, 0.5, 0.5});
}

TEST_CASE("N15: NaN wins a quantile, and infinities are met without it") {
  CHECK(std::isnan(quantile(tensor({1.0, std::nan(""), 3.0}, f64), 0).item<double>()));
  const Tensor endless = tensor({kInf, 1.0, kInf, -kInf}, f64);
  CHECK(quantile(endless, 0.9).item<double>() == kInf);
  CHECK(quantile(endless, 1.0 / 3).item<double>() == doctest::Approx(1));
  CHECK(quantile(endless, 0.2).item<double>() == -kInf);
}

TEST_CASE("quantiles of equal elements are these elements") {
  for (const double x : {0.1, 1e-45, 3e38})
    for (const float each : quantile(full({4}, x), {0.1, 0.3, 0.45, 0.7, 0.95}, 0).values<float>())
      CHECK(each == static_cast<float>(x));
}

TEST_CASE("quantiles refuse parts, axes and dtypes that have none") {
  const Tensor x = sines({2, 5}, 0.1);
  CHECK_THROWS_WITH_AS(quantile(x, 1.5), "quantile(2, 5): a part is from 0 to 1, not 1.5", Error);
  CHECK_THROWS_WITH_AS(quantile(x, std::nan("")), Contains("not nan"), Error);
  CHECK_THROWS_WITH_AS(quantile(x, std::vector<double>{}), Contains("no part is asked for"), Error);
  CHECK_THROWS_WITH_AS(quantile(zeros({2, 0}), 0.5), Contains("axis -1 has nothing in it"), Error);
  CHECK_THROWS_WITH_AS(quantile(tensor({1, 2}), 0.5), Contains("only f32 and f64 have this, not i64"), Error);
  CHECK_THROWS_WITH_AS(quantile(input({2}), 0.5, 0), Contains("axis 0 is open"), Error);
}

TEST_CASE("distances and order statistics are differentiated right to second order") {
  const Tensor a = sines({3, 4}, 0.1), b = sines({2, 4}, 0.9);
  for (const double p : {0.5, 1.0, 2.0, 3.5, kInf}) {
    CAPTURE(p);
    check_gradients([p](const Tensors& in) { return cdist(in[0], in[1], p); }, {a, b}, 2);
    check_gradients([p](const Tensors& in) { return pdist(in[0], p); }, {a}, 2);
    check_gradients([p](const Tensors& in) { return pairwise_distance(in[0], in[1], p); }, {a, sines({3, 4}, 0.5)}, 2);
  }
  check_gradients([](const Tensors& in) { return square(kthvalue(in[0], 2).value); }, {a}, 2);
  check_gradients([](const Tensors& in) { return square(quantile(in[0], {0.1, 0.5, 0.85}, 1)); }, {a}, 2);
}
