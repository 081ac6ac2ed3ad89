#include <twopass/graph/autodiff/nearby.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace twopass {

// By the midpoint rule. A jump between two midpoints moves the mean by at most half of its share of the line.
std::optional<Nearby> look_nearby(const std::function<double(double t)>& derivative, double here, double reach) {
  constexpr int kPoints = 64;
  std::vector<double> found;
  for (int k = 0; k < kPoints; ++k) {
    found.push_back(derivative(reach * (2 * k + 1 - kPoints) / kPoints));
    if (!std::isfinite(found.back())) return std::nullopt;
  }
  Nearby nearby{.mean = 0, .least = here, .most = here, .error = 0, .beside = 0, .around = 0};
  for (int k = 0; k < kPoints; ++k) {
    const auto at = static_cast<std::size_t>(k);
    nearby.mean += found[at] / kPoints;
    nearby.least = std::min(nearby.least, found[at]);
    nearby.most = std::max(nearby.most, found[at]);
    if (k == 0) continue;
    const double change = std::abs(found[at] - found[at - 1]);
    nearby.error += change / (2 * kPoints);
    if (std::abs(k - kPoints / 2) <= 2) nearby.around = std::max(nearby.around, change);
  }
  nearby.beside = std::min(std::abs(found[kPoints / 2 - 1] - here), std::abs(found[kPoints / 2] - here));
  return nearby;
}

bool explains(const Nearby& nearby, double central, double tolerance) {
  return std::abs(nearby.mean - central) <= tolerance + nearby.error &&
         nearby.beside <= tolerance + nearby.error + nearby.around;
}

}  // namespace twopass
