#include <twopass/graph/autodiff/judgement.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace twopass {

Judgement judge(double analytic, const Slope& slope, double size, bool direction, const GradcheckOptions& options) {
  const double found = std::isfinite(slope.value) ? std::abs(slope.value) : 0;
  const double absolute = options.absolute * size;
  const double tolerance = absolute + options.relative * std::max(std::abs(analytic), found);
  const double off = std::abs(analytic - slope.value);
  const double bound = tolerance + 4 * slope.error;
  // What is known to a thousand tolerances can be judged.
  const bool known = std::isfinite(slope.error) && slope.error <= 1000 * (absolute + options.relative * found);
  const Verdict wrong = slope.unresolved ? Verdict::unreliable : Verdict::fail;
  if (!std::isfinite(analytic))
    return {known ? Verdict::fail : Verdict::unreliable, slope.value, bound, INFINITY, false};
  if (slope.kink) {
    const auto [low, high] = std::minmax(slope.below, slope.above);
    const double slack =
        tolerance + std::min(1e-6 * std::max(std::abs(low), std::abs(high)), 0.01 * (high - low)) + slope.error;
    const double nearest = std::clamp(analytic, low, high);
    if (std::abs(analytic - nearest) <= slack)
      return {Verdict::kink, nearest, slack, std::abs(analytic - nearest), false};
    if (off <= bound && known) return {Verdict::pass, slope.value, bound, off, false};
    if (direction) return {Verdict::kink, nearest, slack, std::abs(analytic - nearest), false};
    // Roundings may make a kink out of what bends, and are known no better than elsewhere.
    const double beyond = std::abs(analytic - nearest);
    return {beyond <= 3 * slope.error ? Verdict::unreliable : wrong, nearest, slack, beyond, false};
  }
  // That both agree to the last digits is no chance, whatever other steps see.
  if (found > 0 && !slope.stairs && off <= options.relative * found)
    return {Verdict::pass, slope.value, bound, off, true};
  if (known) return {off <= bound ? Verdict::pass : wrong, slope.value, bound, off, slope.error <= 10 * tolerance};
  // A flat place beside steps: what the larger steps see of these is not known, and 0 is what the smallest say.
  if (slope.silent && std::abs(analytic) <= tolerance && !(found > 4 * slope.error))
    return {Verdict::pass, 0, bound, std::abs(analytic), false};
  // What an estimate of its own error says may be far off; where it is what roundings do, which is reckoned, it is not.
  const bool reckoned = slope.error <= 10 * slope.rounding && !slope.disputed && !slope.contradicted;
  return {off <= (reckoned ? 30 : 1000) * slope.error || !std::isfinite(slope.value) ? Verdict::unreliable : wrong,
          slope.value, bound, off, false};
}

bool is_lost(double analytic, const Slope& slope, const std::vector<std::vector<double>>& inputs) {
  constexpr double kLost = 0x1p-50;
  double largest = 1;
  for (const auto& input : inputs)
    for (const double each : input) largest = std::max(largest, std::abs(each));
  const double size = std::abs(analytic);
  return slope.value == 0 && size >= std::numeric_limits<double>::min() && size <= kLost * largest;
}

}  // namespace twopass
