#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/op.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

using namespace twopass;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double slope(Tensor (*f)(const Tensor&), double at) {
  const Tensor x = variable(tensor({at}, f64));
  return backward(sum(f(x)))[x].at<double>(0);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.node().data, b.node().data, a.node().bytes()) == 0;
}

}  // namespace

TEST_CASE("an element of every elementwise op has the same bits wherever it stands and however long the run is") {
  constexpr std::int64_t kLength = 83;  // whole vectors and tails of every register size
  int tried = 0;
  for (const Op* op : all_ops()) {
    if (!op->elementwise() || op->samples().empty()) continue;
    for (const DType dtype : {f32, f64}) {
      Random random(seed_of(9, op->name()));
      Tensors whole;
      for (const auto& input : op->samples()[0].inputs) {
        const Tensor drawn = input.draw(random, dtype);
        whole.push_back(drawn.dtype() == boolean     ? greater(random.uniform({kLength}, f32), tensor(0.5))
                        : is_floating(drawn.dtype()) ? random.uniform({kLength}, dtype, 0.1, 0.9)
                                                     : drawn);
      }
      if (std::any_of(whole.begin(), whole.end(), [](const Tensor& x) { return x.dtype() == i64; })) continue;
      const Tensor expected = apply(*op, op->samples()[0].arguments, whole);
      for (std::int64_t first = 0; first < kLength; ++first)
        for (const std::int64_t last : {first + 1, kLength}) {
          Tensors part;
          for (const Tensor& x : whole) part.push_back(slice(x, 0, first, last));
          const Tensor found = apply(*op, op->samples()[0].arguments, part);
          CAPTURE(op->name());
          CAPTURE(first);
          CAPTURE(last);
          REQUIRE(same_bits(found, slice(expected, 0, first, last)));
          ++tried;
        }
    }
  }
  CHECK(tried > 30 * 2 * 83 * 2);
}

TEST_CASE("N21: sigmoid, tanh and softplus are right far out, with gradients of 0 or 1") {
  for (const double x : {745.0, kInf}) {
    CHECK(sigmoid(tensor(x, f64)).item<double>() == 1);
    CHECK(sigmoid(tensor(-x, f64)).item<double>() < 1e-300);
    CHECK(tanh(tensor(x, f64)).item<double>() == 1);
    CHECK(tanh(tensor(-x, f64)).item<double>() == -1);
    CHECK(softplus(tensor(x, f64)).item<double>() == x);
    CHECK(softplus(tensor(-x, f64)).item<double>() < 1e-300);
    CHECK(slope([](const Tensor& t) { return sigmoid(t); }, x) == 0);
    CHECK(slope([](const Tensor& t) { return tanh(t); }, -x) == 0);
    CHECK(slope([](const Tensor& t) { return softplus(t); }, x) == 1);
  }
  CHECK(softplus(tensor(20.5, f64)).item<double>() == doctest::Approx(20.50000000125).epsilon(1e-13));
}

TEST_CASE("N5, N7: powers of whole exponents keep their sign, and x to the 0 is 1 with gradient 0, at 0 too") {
  CHECK(pow(tensor({-2.0, -2.0}, f64), tensor({2.0, 3.0}, f64)).values<double>() == std::vector<double>{4, -8});
  for (const double at : {0.0, 3.0}) {
    const Tensor x = variable(tensor({at}, f64));
    const Tensor y = pow(x, 0.0);
    CHECK(y.at<double>(0) == 1);
    CHECK(backward(sum(y))[x].at<double>(0) == 0);
  }
}

TEST_CASE("N7: powers of -2 have the slopes of whole exponents, and none along the exponent") {
  const Tensor a = variable(tensor({-2.0, -2.0}, f64)), b = variable(tensor({2.0, 3.0}, f64));
  const Gradients slopes = backward(sum(pow(a, b)));
  CHECK(slopes[a].values<double>() == std::vector<double>{-4, 12});
  for (const double along_exponent : slopes[b].values<double>()) CHECK(std::isnan(along_exponent));
  CHECK(slope([](const Tensor& t) { return pow(t, 2.0); }, -2) == -4);
  CHECK(slope([](const Tensor& t) { return pow(t, 3.0); }, -2) == 12);
}

TEST_CASE("N9: logarithms at and below 0, and of almost 1") {
  CHECK(log(tensor(0.0, f64)).item<double>() == -kInf);
  CHECK(std::isnan(log(tensor(-1.0, f64)).item<double>()));
  CHECK(log1p(tensor(1e-20, f64)).item<double>() == 1e-20);
  CHECK(expm1(tensor(1e-20, f64)).item<double>() == 1e-20);
  const Tensor x = variable(tensor({0.0, -1.0, 4.0}, f64));
  const std::vector<double> slopes = backward(sum(log(x)))[x].values<double>();
  CHECK(slopes[0] == kInf);
  CHECK(std::isnan(slopes[1]));
  CHECK(slopes[2] == 0.25);
}

TEST_CASE("N11: divisions by 0 are those of IEEE 754") {
  CHECK(div(tensor(1.0), tensor(0.0)).item<double>() == kInf);
  CHECK(std::isnan(div(tensor(0.0), tensor(0.0)).item<double>()));
  const Tensor a = variable(tensor(1.0, f64)), b = variable(tensor(0.0, f64));
  const Gradients slopes = backward(div(a, b));
  CHECK(slopes[a].item<double>() == kInf);
  CHECK(slopes[b].item<double>() == -kInf);
}

TEST_CASE("N15: NaN wins in maximum, minimum, max and min, and takes the gradient to its place") {
  const double nan = std::nan("");
  using Binary = Tensor (*)(const Tensor&, const Tensor&);
  for (const Binary extreme : {Binary(maximum), Binary(minimum)}) {
    const Tensor a = variable(tensor({nan, 1.0, 2.0}, f64)), b = variable(tensor({3.0, nan, 1.0}, f64));
    const Tensor y = extreme(a, b);
    CHECK(std::isnan(y.at<double>(0)));
    CHECK(std::isnan(y.at<double>(1)));
    const Gradients slopes = backward(sum(slice(y, 0, 0, 2)));
    CHECK(slopes[a].values<double>() == std::vector<double>{1, 0, 0});
    CHECK(slopes[b].values<double>() == std::vector<double>{0, 1, 0});
  }
  const auto extremes = {+[](const Tensor& x) { return max(x); }, +[](const Tensor& x) { return min(x); }};
  for (const auto& extreme : extremes)
    for (std::size_t place = 0; place < 4; ++place) {
      std::vector<double> values{5, -1, 3, 5}, expected(4, 0.0);
      values[place] = nan;
      expected[place] = 1;
      const Tensor x = variable(from_values(values, {4}, f64));
      const Tensor y = extreme(x);
      CHECK(std::isnan(y.item<double>()));
      CHECK(backward(y)[x].values<double>() == expected);
    }
}

TEST_CASE("N16: clip passes the gradient at its bounds and not beyond") {
  const Tensor x = variable(tensor({-2.0, -1.0, 0.0, 1.0, 2.0}, f64));
  CHECK(backward(sum(clip(x, -1, 1)))[x].values<double>() == std::vector<double>{0, 1, 1, 1, 0});
}

TEST_CASE("N16: where the least is above the largest, clip gives the largest, with gradient 0") {
  const Tensor x = variable(tensor({-2.0, -1.0, 0.0, 1.0, 2.0}, f64));
  const Tensor y = clip(x, 1, -1);
  CHECK(y.values<double>() == std::vector<double>(5, -1.0));
  CHECK(backward(sum(y))[x].values<double>() == std::vector<double>(5, 0.0));
}

TEST_CASE("N33: gelu and silu go to 0 far below, and their slopes with them") {
  for (const double at : {-800.0, -kInf})
    for (const DType dtype : {f32, f64}) {
      const Tensor x = variable(tensor(at, dtype));
      CHECK(gelu(x).item<double>() == 0);
      CHECK(silu(x).item<double>() == doctest::Approx(0));
      CHECK(backward(gelu(x))[x].item<double>() == 0);
      CHECK(std::abs(backward(silu(x))[x].item<double>()) < 1e-300);  // x exp(x), which is below all numbers
    }
}

TEST_CASE("N37: exp of 89 in f32 is infinite, and denormals are kept") {
  CHECK(exp(tensor(89.0)).item<float>() == static_cast<float>(kInf));
  const float denormal = std::numeric_limits<float>::denorm_min();
  CHECK(mul(from_values(std::vector<float>{denormal}, {1}, f32), tensor({1.0})).at<float>(0) == denormal);
}

TEST_CASE("known values of the activations") {
  // From their formulas, with 17 digits by an arbitrary-precision calculator.
  CHECK(gelu(tensor(1.0, f64)).item<double>() == doctest::Approx(0.84134474606854293).epsilon(1e-14));
  CHECK(silu(tensor(1.0, f64)).item<double>() == doctest::Approx(0.73105857863000488).epsilon(1e-14));
  CHECK(elu(tensor(-1.0, f64)).item<double>() == doctest::Approx(-0.63212055882855768).epsilon(1e-14));
  CHECK(softplus(tensor(0.0, f64)).item<double>() == doctest::Approx(0.69314718055994531).epsilon(1e-14));
}

TEST_CASE("numbers that no i64 holds do not go together with integers; the largest that do compare right") {
  const Tensor x = tensor({1, 2, 3});
  for (const double beyond : {kInf, -kInf, 1e19, 9223372036854775808.0, -9223372036854777856.0})
    CHECK_THROWS_WITH_AS(x < beyond, doctest::Contains("as no i64 is that large: cast the tensor"), Error);
  CHECK((x < 9223372036854774784.0).values<bool>() == std::vector<bool>{true, true, true});
  CHECK((x < -9223372036854775808.0).values<bool>() == std::vector<bool>{false, false, false});
}

TEST_CASE("comparisons take numbers on either side, as arithmetic does") {
  const Tensor x = tensor({1.0, 2.0, 3.0}), whole = tensor({1, 2, 3});
  using Truths = std::vector<bool>;
  CHECK(equal(x, 2.0).values<bool>() == Truths{false, true, false});
  CHECK(equal(whole, 2).values<bool>() == Truths{false, true, false});
  CHECK(not_equal(x, 2).values<bool>() == Truths{true, false, true});
  CHECK(less(x, 2).values<bool>() == Truths{true, false, false});
  CHECK(less_equal(x, 2).values<bool>() == Truths{true, true, false});
  CHECK(greater(x, 2).values<bool>() == Truths{false, false, true});
  CHECK(greater_equal(x, 2).values<bool>() == Truths{false, true, true});
  CHECK((2.0 < x).values<bool>() == Truths{false, false, true});
  CHECK((2.0 <= x).values<bool>() == Truths{false, true, true});
  CHECK((2.0 > x).values<bool>() == Truths{true, false, false});
  CHECK((2.0 >= x).values<bool>() == Truths{true, true, false});
}
