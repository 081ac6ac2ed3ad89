#include <twopass/ops/polygamma.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace twopass::kernels {
namespace {

constexpr double kPi = std::numbers::pi;
// B_2, B_4, …: the Bernoulli numbers of the asymptotic series.
constexpr double kBernoulli[] = {1.0 / 6,       -1.0 / 30, 1.0 / 42,      -1.0 / 30,     5.0 / 66,
                                 -691.0 / 2730, 7.0 / 6,   -3617.0 / 510, 43867.0 / 798, -174611.0 / 330};

// tan(πx) from the distance to the nearest integer, which is exact.
double tan_pi(double x) { return std::tan(kPi * (x - std::round(x))); }

// x > 0:  ψ(x) = ψ(x + 1) - 1/x until x >= 10, there log x - 1/2x - Σ B_2k / (2k x^2k)
double digamma_above(double x) {
  double sum = 0;
  for (; x < 10; ++x) sum -= 1 / x;
  const double step = 1 / (x * x);
  double power = step, series = 0;
  for (int k = 0; k < 8; ++k, power *= step) series += kBernoulli[k] / (2 * (k + 1)) * power;
  return sum + std::log(x) - 0.5 / x - series;
}

// x >= 0:  (-1)^(n+1) n! ζ(s, x), s = n + 1, by Euler and Maclaurin once x is large enough.
double polygamma_above(std::int64_t n, double x) {
  const auto s = static_cast<double>(n + 1);
  double zeta = 0;
  for (; x < 10 + s; ++x) zeta += std::pow(x, -s);
  zeta += std::pow(x, 1 - s) / (s - 1) + 0.5 * std::pow(x, -s);
  double term = s * std::pow(x, -s - 1) / 2;  // s (s+1) … (s+2k-2) / (2k)! x^(1-s-2k)
  for (int k = 1; k <= 10; ++k) {
    zeta += kBernoulli[k - 1] * term;
    term *= (s + 2 * k - 1) * (s + 2 * k) / ((2 * k + 1) * (2 * k + 2)) / (x * x);
  }
  return (n % 2 == 0 ? -1 : 1) * std::tgamma(s) * zeta;
}

// The n-th derivative of π cot πx: π P_n(cot πx) with P_0(c) = c and P_k+1 = -π (1 + c²) P_k'.
double cotangent_derivative(std::int64_t n, double x) {
  std::vector<double> p{0, 1};
  for (std::int64_t k = 0; k < n; ++k) {
    std::vector<double> next(p.size() + 1);
    for (std::size_t power = 1; power < p.size(); ++power) {
      const double slope = -kPi * static_cast<double>(power) * p[power];
      next[power - 1] += slope;
      next[power + 1] += slope;
    }
    p = std::move(next);
  }
  const double c = 1 / tan_pi(x);
  double value = 0;
  for (std::size_t power = p.size(); power-- > 0;) value = value * c + p[power];
  return kPi * value;
}

}  // namespace

double polygamma_of(std::int64_t order, double x) {
  constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();
  if (std::isnan(x) || x == -kInf) return kNan;
  if (x == kInf) return order == 0 ? kInf : 0;
  if (x == 0 && order == 0) return std::copysign(kInf, -x);
  if (x < 0 && x == std::floor(x)) return order % 2 == 0 ? kNan : kInf;
  // Below 0 by reflection:  ψ(x) = ψ(1 - x) - π cot πx, differentiated n times
  if (order == 0) return x > 0 ? digamma_above(x) : digamma_above(1 - x) - kPi / tan_pi(x);
  if (x >= 0) return polygamma_above(order, x);
  return (order % 2 == 0 ? 1 : -1) * polygamma_above(order, 1 - x) - cotangent_derivative(order, x);
}

}  // namespace twopass::kernels
