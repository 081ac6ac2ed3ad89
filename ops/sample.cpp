#include <twopass/ops/sample.h>

#include <algorithm>
#include <cmath>

namespace twopass::sample {

Tensor Input::draw(Random& random, DType dtype) const {
  if (kind == Kind::fixed) return value;
  if (kind == Kind::integers)
    return random.integers(shape, static_cast<std::int64_t>(low), static_cast<std::int64_t>(high));
  const auto n = static_cast<std::size_t>(shape.elements());
  if (kind == Kind::truths) {
    std::vector<double> truths(n);
    for (double& x : truths) x = static_cast<double>(random.below(2));
    return from_values(truths, shape, boolean);
  }
  std::vector<double> values(n);
  if (kind == Kind::distinct) {
    const auto order = random.permutation(shape.elements());
    for (std::size_t k = 0; k < n; ++k)
      values[k] = 0.25 * (static_cast<double>(order[k]) - static_cast<double>(n) / 2) + 0.02 * random.uniform();
  } else {
    for (double& x : values) do
        x = low + (high - low) * random.uniform();
      while (std::any_of(poles.begin(), poles.end(), [&](double pole) { return std::abs(x - pole) < 0.2; }));
  }
  return from_values(values, shape, dtype);
}

Input uniform(Shape shape, double low, double high) { return {Input::Kind::uniform, std::move(shape), low, high}; }
Input positive(Shape shape) { return {Input::Kind::uniform, std::move(shape), 0.5, 2}; }
Input distinct(Shape shape) { return {Input::Kind::distinct, std::move(shape), 0, 0}; }
Input away_from(Shape shape, std::vector<double> poles) {
  Input input(Input::Kind::away, std::move(shape), -2, 2);
  input.poles = std::move(poles);
  return input;
}
Input integers(Shape shape, std::int64_t low, std::int64_t high) {
  return {Input::Kind::integers, std::move(shape), static_cast<double>(low), static_cast<double>(high)};
}
Input truths(Shape shape) { return {Input::Kind::truths, std::move(shape), 0, 0}; }

}  // namespace twopass::sample
