// Elementwise functions of other ops. Numbers are PyTorch's where nothing else is said.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/not_finite.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/special.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

}  // namespace

TEST_CASE("sinc and its derivatives keep their digits near 0") {
  // by mpmath with 60 digits
  const auto f = [](double at) {
    const Tensor x = variable(tensor(at, f64));
    const Tensor y = sinc(x), first = backward(y, {.record = true})[x];
    return Values{y.item<double>(), first.item<double>(), backward(first)[x].item<double>()};
  };
  const auto check = [&](double at, const Values& wanted, double epsilon = 1e-13) {
    check_ends(from_values(f(at), {3}, f64), wanted, {}, epsilon);
  };
  check(0.25, {0.900316316157106070, -0.772838139882234181, -2.703060757258859049});
  check(0.01, {0.99983551471054868097, -0.032895434481712398668, -3.2888941000101958268});
  check(1e-9, {1, -3.28986813369645287e-9, -3.28986813369645287});
  check(0.33, {0.830250595906759321, -0.973361151989054608, -2.295086438466503165}, 1e-12);
  CHECK(f(0) == Values{1, 0, f(0)[2]});
  CHECK(f(0)[2] == doctest::Approx(-3.28986813369645287));
  check_ends(sinc(tensor({-2.5, -0.3, 0.9, 1.7}, f64)),
             {0.127323954473516, 0.85839369133414, 0.109292404787052, -0.151481239647201});
  CHECK(std::isnan(sinc(tensor(kNan, f64)).item<double>()));
}

TEST_CASE("fmod of the least integer is C's") {
  constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
  CHECK(fmod(tensor({least, std::int64_t{5}, std::int64_t{-7}, std::int64_t{7}}),
             tensor({std::int64_t{3}, least, std::int64_t{3}, std::int64_t{-3}}))
            .values<std::int64_t>() == std::vector<std::int64_t>{-2, 5, -1, 1});
}

TEST_CASE("logit, xlog1py, fmod and frac, at their ends too") {
  check_ends(logit(tensor({0.1, 0.75}, f64)), {-2.19722457733622, 1.09861228866811});
  CHECK(logit(tensor({0.0, 0.5, 1.0}, f64)).values<double>() == Values{-kInf, 0, kInf});
  check_ends(logit(tensor({0.0, 0.1, 0.75, 1.0}, f64), 0.2),
             {-1.38629436111989, -1.38629436111989, 1.09861228866811, 1.38629436111989});
  CHECK(std::isnan(logit(tensor(1.5, f64)).item<double>()));
  CHECK_THROWS_WITH_AS(logit(ones({2}), 0.5), "logit(2,): epsilon must be from 0 to below 1/2, not 0.5", Error);
  check_ends(xlog1py(tensor({2.0, 0.0, 0.0, 3.0}, f64), tensor({1e-10, -1.0, kInf, 1.5}, f64)),
             {1.9999999999e-10, 0, 0, 2.74887219562247});
  CHECK(xlog1py(tensor(1.0, f64), tensor(-1.0, f64)).item<double>() == -kInf);
  CHECK(std::isnan(xlog1py(tensor(0.0, f64), tensor(kNan, f64)).item<double>()));
  const Tensor a = tensor({5.5, -5.5, 5.5, -5.5, 0.0, 1e20}, f64), b = tensor({3.0, 3.0, -3.0, -3.0, 2.0, 7.0}, f64);
  CHECK(fmod(a, b).values<double>() == Values{2.5, -2.5, 2.5, -2.5, 0, 2});
  CHECK(fmod(tensor({-7, 7}), tensor({3, -3})).values<int>() == std::vector<int>{-1, 1});
  CHECK(std::isnan(fmod(tensor(1.0, f64), tensor(0.0, f64)).item<double>()));
  const Tensor x = variable(a);
  CHECK(backward(sum(fmod(x, b)))[x].values<double>() == Values{1, 1, 1, 1, 1, 1});
  CHECK_THROWS_WITH_AS(fmod(tensor({1}), tensor({0})), Contains("division of an integer by 0"), Error);
  CHECK(frac(tensor({-2.5, -1.0, 0.25, 1.75}, f64)).values<double>() == Values{-0.5, 0, 0.25, 0.75});
}

TEST_CASE("these elementwise functions are differentiated right to second order") {
  const Tensor x = tensor({-2.3, -0.7, -0.2, 0.15, 0.6, 1.4}, f64), part = tensor({0.1, 0.4, 0.8}, f64);
  check_gradients([](const Tensors& in) { return sinc(in[0]); }, {x}, 2);
  check_gradients([](const Tensors& in) { return logit(in[0]); }, {part}, 2);
  check_gradients([](const Tensors& in) { return logit(in[0], 0.3); }, {part}, 2);
  check_gradients([](const Tensors& in) { return xlog1py(in[0], in[1]); },
                  {x, tensor({-0.5, 0.1, 1.0, 2.0, 3.0, 4.0}, f64)}, 2);
  check_gradients([](const Tensors& in) { return square(fmod(in[0], in[1])); },
                  {x, tensor({0.5, -0.3, 1.1, 0.11, -0.7, 0.6}, f64)}, 2);
  check_gradients([](const Tensors& in) { return square(frac(in[0])); }, {x}, 2);
}

TEST_CASE("NaN and infinities are found, replaced and left out, with no gradient") {
  const Tensor odd = tensor({kNan, kInf, -kInf, 2.0}, f64);
  CHECK(is_nan(odd).values<bool>() == std::vector<bool>{true, false, false, false});
  CHECK(is_inf(odd).values<bool>() == std::vector<bool>{false, true, true, false});
  CHECK(is_finite(odd).values<bool>() == std::vector<bool>{false, false, false, true});
  const double most = std::numeric_limits<double>::max();
  CHECK(nan_to_num(odd).values<double>() == Values{0, most, -most, 2});
  CHECK(nan_to_num(odd, {.nan = 7, .infinity = 1, .minus_infinity = -1}).values<double>() == Values{7, 1, -1, 2});
  CHECK(nan_to_num(cast(odd, f32)).at<float>(1) == std::numeric_limits<float>::max());
  for (const Tensor& whole : {tensor({0, -3, 7}), tensor({true, false, true})}) {  // as NumPy has it
    CHECK(is_nan(whole).values<bool>() == std::vector<bool>(3, false));
    CHECK(is_inf(whole).values<bool>() == std::vector<bool>(3, false));
    CHECK(is_finite(whole).values<bool>() == std::vector<bool>(3, true));
    CHECK(nan_to_num(whole).dtype() == whole.dtype());
    CHECK(nan_to_num(whole).values<int>() == whole.values<int>());
  }
  const Tensor x = variable(odd);
  CHECK(backward(sum(nan_to_num(x)))[x].values<double>() == Values{0, 0, 0, 1});
  const Tensor some = variable(tensor({{kNan, 1.0, 3.0}, {kNan, kNan, kNan}}, f64));
  CHECK(nansum(some, 1).values<double>() == Values{4, 0});
  CHECK(nanmean(some, 0).at<double>(1) == 1);
  CHECK(nanmean(some).item<double>() == 2);
  CHECK(std::isnan(nanmean(some, 1).at<double>(1)));
  const Tensor endless = variable(tensor({kInf, 1.0, kNan}, f64));
  CHECK(nanmean(endless).item<double>() == kInf);
  CHECK(backward(nanmean(endless))[endless].values<double>() == Values{0.5, 0.5, 0});
  CHECK(backward(nanmean(some))[some].values<double>() == Values{0, 0.5, 0.5, 0, 0, 0});
}

TEST_CASE("maximum, minimum and where take numbers, in the dtype of their tensors") {
  for (const DType dtype : {f32, f64, i64}) {
    const Tensor a = cast(tensor({-1.0, 0.0, 2.0}), dtype), chosen = tensor({true, false, true});
    const auto gives = [&](const Tensor& y, const std::vector<double>& values) {
      CHECK(y.dtype() == dtype);
      CHECK(y.values<double>() == values);
    };
    gives(maximum(a, 1), {1, 1, 2});
    gives(maximum(0.0, a), {0, 0, 2});
    gives(minimum(a, 1.0), {-1, 0, 1});
    gives(minimum(0, a), {-1, 0, 0});
    gives(where(chosen, a, 7.0), {-1, 7, 2});
    gives(where(chosen, 7.0, a), {7, 0, 7});
  }
  CHECK_THROWS_WITH_AS(maximum(tensor({1, 2}), 0.5), Contains("0.5 and an i64 tensor do not go together"), Error);
}

TEST_CASE("gradients pass through maximum, minimum and where of numbers to the tensor alone, ties shared with them") {
  const auto gradient = [](const auto& f) {
    const Tensor x = variable(tensor({-1.0, 0.0, 2.0}));
    return backward(sum(f(x)))[x].template values<double>();
  };
  const Tensor chosen = tensor({true, false, true});
  using Values = std::vector<double>;
  CHECK(gradient([](const Tensor& x) { return maximum(x, 0.0); }) == Values{0, 0.5, 1});
  CHECK(gradient([](const Tensor& x) { return maximum(0.0, x); }) == Values{0, 0.5, 1});
  CHECK(gradient([](const Tensor& x) { return minimum(x, 0.0); }) == Values{1, 0.5, 0});
  CHECK(gradient([](const Tensor& x) { return minimum(0.0, x); }) == Values{1, 0.5, 0});
  CHECK(gradient([&](const Tensor& x) { return where(chosen, square(x), 0.0); }) == Values{-2, 0, 4});
  CHECK(gradient([&](const Tensor& x) { return where(chosen, 0.0, square(x)); }) == Values{0, 0, 0});
}
