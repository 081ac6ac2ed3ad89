#include <twopass/graph/autodiff/differences.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace twopass {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

// With one Richardson step the truncation error is of order h⁴ and rounding of order ε / h: ε^(1/5) balances them.
// Below √ε differences are noise, and beyond 2³ of the first steps they see another part of the function.
Differences::Differences(Curve curve, std::vector<double> here, double scale, double epsilon)
    : curve_(std::move(curve)), here_(std::move(here)), scale_(scale), epsilon_(epsilon) {
  const double digits = -std::log2(epsilon);
  const int middle = static_cast<int>(digits / 5) - 1;
  finest_ = static_cast<int>(digits / 2);
  coarsest_ = middle - 3;
  for (int level = middle; level < middle + 3; ++level) compute(level);
}

void Differences::compute(int level) {
  const double h = std::ldexp(scale_, -level);
  levels_[level] = {curve_(h), curve_(-h)};
}

bool Differences::at_the_finest() const { return levels_.rbegin()->first >= finest_; }

bool Differences::refine() {
  // Two steps down for each up: kinks and poles near by are met more often than noise. Where the smallest steps still
  // reach beyond where the function has values, smaller ones are tried.
  const int up = levels_.begin()->first - 1, down = levels_.rbegin()->first + 1;
  const bool can_rise = up >= coarsest_, can_fall = down <= finest_ || (down <= 2 * finest_ && reaches_out());
  if (!can_rise && !can_fall) return false;
  compute(can_fall && (!can_rise || ++refined_ % 3 != 0) ? down : up);
  return true;
}

bool Differences::reaches_out() const {
  constexpr std::size_t kFew = 10;  // what it takes from the first valid step to a good one
  if (levels_.size() <= kFew) return false;
  const Level& level = std::next(levels_.rbegin(), kFew)->second;
  for (std::size_t k = 0; k < here_.size(); ++k)
    if (std::isfinite(here_[k]) && std::isfinite(level.above.values[k]) != std::isfinite(level.below.values[k]))
      return true;
  return false;
}

bool Differences::valid(const Level& level, std::size_t component) const {
  return std::isfinite(level.above.values[component]) && std::isfinite(level.below.values[component]) &&
         level.above.at > level.below.at;
}

double Differences::central(const Level& level, std::size_t component) const {
  return (level.above.values[component] - level.below.values[component]) / (level.above.at - level.below.at);
}

double Differences::rounding(const Level& level, std::size_t component) const {
  const double size = std::max(
      {std::abs(level.above.values[component]), std::abs(level.below.values[component]), std::abs(here_[component])});
  return 4 * epsilon_ * size / (level.above.at - level.below.at);
}

Slope Differences::slope(std::size_t component) const {
  // R(h) = (4 D(h/2) - D(h)) / 3 for every step whose half was tried too.
  std::vector<std::optional<double>> extrapolated;
  std::vector<double> noise;
  for (auto level = levels_.begin(); std::next(level) != levels_.end(); ++level) {
    const auto half = std::next(level);
    noise.push_back(3 * rounding(half->second, component));
    extrapolated.emplace_back();
    if (valid(level->second, component) && valid(half->second, component))
      extrapolated.back() = (4 * central(half->second, component) - central(level->second, component)) / 3;
  }
  const auto change = [&](std::size_t k) {
    return k + 1 < extrapolated.size() && extrapolated[k] && extrapolated[k + 1]
               ? std::abs(*extrapolated[k + 1] - *extrapolated[k])
               : kInfinity;
  };
  Slope best{.value = std::numeric_limits<double>::quiet_NaN(), .error = kInfinity};
  for (std::size_t k = 0; k + 1 < extrapolated.size(); ++k) {
    double error = change(k);
    if (!std::isfinite(error)) continue;
    // Two results may agree by chance: truncation falls 16 times from step to step and rounding doubles, so neighbours
    // bound what can be believed.
    if (k > 0 && std::isfinite(change(k - 1))) error = std::max(error, change(k - 1) / 64);
    if (std::isfinite(change(k + 1))) error = std::max(error, change(k + 1) / 4);
    error += noise[k + 1];
    if (error < best.error) best = {.value = *extrapolated[k + 1], .error = error};
  }
  find_kink(component, best);
  return best;
}

// The one-sided slopes differ by J(h). Where the function is smooth J(h) = h f'' + …, so 2 J(h/2) - J(h) vanishes
// faster than J; at a kink both are the jump.
void Differences::find_kink(std::size_t component, Slope& slope) const {
  if (!std::isfinite(here_[component])) return;
  const auto fine = std::prev(levels_.end()), coarse = std::prev(fine);
  if (!valid(fine->second, component) || !valid(coarse->second, component)) return;
  const auto above = [&](const Level& level) {
    return (level.above.values[component] - here_[component]) / level.above.at;
  };
  const auto below = [&](const Level& level) {
    return (level.below.values[component] - here_[component]) / level.below.at;
  };
  const auto jump = [&](const Level& level) { return above(level) - below(level); };
  const double at_fine = jump(fine->second), limit = 2 * at_fine - jump(coarse->second);
  const double size = std::max(std::abs(above(fine->second)), std::abs(below(fine->second)));
  slope.kink = std::abs(limit) > 0.5 * std::abs(at_fine) && std::abs(limit) < 1.25 * std::abs(at_fine) &&
               std::abs(at_fine) > 50 * rounding(fine->second, component) + 1e-4 * size;
  if (!slope.kink) return;
  slope.below = 2 * below(fine->second) - below(coarse->second);
  slope.above = 2 * above(fine->second) - above(coarse->second);
  slope.error = 10 * rounding(fine->second, component);
}

}  // namespace twopass
