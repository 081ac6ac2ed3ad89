// How far elementary functions are from the truth, over all of f32 in steps and over random f64.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <twopass/core/random.h>
#include <twopass/ops/elementwise.h>

using namespace twopass;

namespace {

using Wide = long double;  // the C library's, whose errors do not show in either dtype

struct Function {
  std::string name;
  Tensor (*of)(const Tensor&);
  Wide (*truth)(Wide);
  double f32_bound, f64_bound;  // in units in the last place
};

const std::vector<Function>& functions() {
  static const std::vector<Function> list{
      {"exp", exp, [](Wide x) { return std::exp(x); }, 1, 1},
      {"expm1", expm1, [](Wide x) { return std::expm1(x); }, 2, 2},
      {"log", log, [](Wide x) { return std::log(x); }, 1, 1},
      {"log1p", log1p, [](Wide x) { return std::log1p(x); }, 1, 1},
      {"tanh", tanh, [](Wide x) { return std::tanh(x); }, 2, 2},
      {"sigmoid", sigmoid, [](Wide x) { return 1 / (1 + std::exp(-x)); }, 2, 2},
      {"sin", sin, [](Wide x) { return std::sin(x); }, 2, 1},
      {"cos", cos, [](Wide x) { return std::cos(x); }, 2, 1},
      {"erf", erf, [](Wide x) { return std::erf(x); }, 2, 2},
      {"softplus", softplus, [](Wide x) { return x > 50 ? x : std::log1p(std::exp(x)); }, 2, 2},
      {"silu", silu, [](Wide x) { return std::isinf(x) && x < 0 ? 0 : x / (1 + std::exp(-x)); }, 3, 3},
      {"gelu", gelu, [](Wide x) { return std::isinf(x) && x < 0 ? 0 : x / 2 * std::erfc(-x * std::sqrt(Wide(0.5))); },
       7, 2000},
  };
  return list;
}

// |found - truth| in units in the last place of the truth; infinite where one of them is NaN or infinite alone.
template <typename T>
double units(T found, Wide truth) {
  constexpr double kWrong = std::numeric_limits<double>::infinity();
  if (std::isnan(truth) || std::isnan(found)) return std::isnan(truth) && std::isnan(found) ? 0 : kWrong;
  const T rounded = static_cast<T>(truth);
  if (std::isinf(found) || std::isinf(rounded)) return found == rounded ? 0 : kWrong;
  if (truth == 0) return found == 0 ? 0 : kWrong;
  const int exponent = std::max(std::ilogb(truth), std::numeric_limits<T>::min_exponent - 1);
  return static_cast<double>(std::abs(found - truth) /
                             std::ldexp(Wide(1), exponent + 1 - std::numeric_limits<T>::digits));
}

template <typename T>
void check(const Function& function, const std::vector<T>& x, double bound) {
  const std::vector<T> y =
      function.of(from_values(x, {static_cast<std::int64_t>(x.size())}, dtype_of<T>())).template values<T>();
  double worst = 0;
  T at = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double error = units(y[k], function.truth(x[k]));
    if (error > worst) {
      worst = error;
      at = x[k];
    }
  }
  CAPTURE(function.name);
  CAPTURE(at);
  CHECK(worst <= bound);
}

template <typename T>
std::vector<T> edges() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> list{Limits::quiet_NaN()};
  for (const T x : {T(0), Limits::denorm_min(), Limits::min(), Limits::epsilon(), T(0.625), T(1), T(88.5), T(88.9),
                    T(103.9), T(709.7), T(709.9), T(745.1), Limits::max(), Limits::infinity()})
    for (const T each : {x, -x}) list.push_back(each);
  return list;
}

}  // namespace

TEST_CASE("N37: functions of f32 are within their bounds over all numbers, denormals, infinities and NaN too") {
  std::vector<float> x = edges<float>();
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 40503)
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (const Function& function : functions()) check(function, x, function.f32_bound);
}

TEST_CASE("functions of f64 are within their bounds") {
  std::vector<double> x = edges<double>();
  for (const double bound : {1e-3, 1.0, 10.0, 37.0}) {
    const std::vector<double> drawn = Random(5).uniform({10000}, f64, -bound, bound).values<double>();
    x.insert(x.end(), drawn.begin(), drawn.end());
  }
  for (const Function& function : functions()) check(function, x, function.f64_bound);
}

TEST_CASE("functions that pass through 0 keep the sign of a zero") {
  for (const auto& of : {expm1, log1p, sin, tanh, erf, silu, gelu})
    for (const DType dtype : {f32, f64}) {
      CHECK(std::signbit(of(tensor(-0.0, dtype)).item<double>()));
      CHECK(!std::signbit(of(tensor(0.0, dtype)).item<double>()));
    }
}

TEST_CASE("N33: the gradient of gelu is 0 far below and 1 far above, and within 3e-7 of the truth in f32") {
  const Tensor x = Random(3).uniform({20000}, f32, -15, 15);
  const std::vector<float> found = gelu_gradient(tensor(1.0), x).values<float>();
  double worst = 0;
  for (std::size_t k = 0; k < found.size(); ++k) {
    const double at = x.at<double>(static_cast<std::int64_t>(k));
    const double truth =
        0.5 * std::erfc(-at * std::sqrt(0.5)) + at * std::exp(-0.5 * at * at) / std::sqrt(2 * std::acos(-1.0));
    worst = std::max(worst, std::abs(static_cast<double>(found[k]) - truth));
  }
  CHECK(worst < 3e-7);
  constexpr double kInf = std::numeric_limits<double>::infinity();
  for (const DType dtype : {f32, f64}) {
    const Tensor far = tensor({-kInf, -800.0, 800.0, kInf}, dtype);
    CHECK(gelu_gradient(tensor(1.0, dtype), far).values<double>() == std::vector<double>{0, 0, 1, 1});
  }
}
