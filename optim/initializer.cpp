#include <twopass/optim/initializer.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

// A vector's fans are both its size, a scalar's 1.
std::pair<double, double> fans(const Shape& shape) {
  if (shape.rank() == 0) return {1, 1};
  if (shape.rank() == 1) return {static_cast<double>(shape[0]), static_cast<double>(shape[0])};
  double field = 1;
  for (int k = 0; k < shape.rank() - 2; ++k) field *= static_cast<double>(shape[k]);
  return {field * static_cast<double>(shape[-2]), field * static_cast<double>(shape[-1])};
}

enum class Fan { in, average };
enum class Draw { uniform, normal };

// The standard deviation of a standard normal variable cut at two: what is drawn is divided by it.
constexpr double kCutDeviation = 0.87962566103423978;

Initializer scaled(double scale, Fan fan, Draw draw) {
  return [=](const Shape& shape, DType dtype, Random& random) {
    const auto [in, out] = fans(shape);
    const double variance = scale / std::fmax(1, fan == Fan::in ? in : (in + out) / 2);
    if (draw == Draw::normal) return random.truncated_normal(shape, dtype, 0, std::sqrt(variance) / kCutDeviation);
    const double limit = std::sqrt(3 * variance);
    return random.uniform(shape, dtype, -limit, limit);
  };
}

}  // namespace

Initializer zeros_initializer() { return constant_initializer(0); }
Initializer ones_initializer() { return constant_initializer(1); }
Initializer constant_initializer(double value) {
  return [value](const Shape& shape, DType dtype, Random&) { return full(shape, value, dtype); };
}

Initializer glorot_uniform() { return scaled(1, Fan::average, Draw::uniform); }
Initializer glorot_normal() { return scaled(1, Fan::average, Draw::normal); }
Initializer he_uniform() { return scaled(2, Fan::in, Draw::uniform); }
Initializer he_normal() { return scaled(2, Fan::in, Draw::normal); }
Initializer lecun_uniform() { return scaled(1, Fan::in, Draw::uniform); }
Initializer lecun_normal() { return scaled(1, Fan::in, Draw::normal); }

Initializer random_normal(double mean, double stddev) {
  return [=](const Shape& shape, DType dtype, Random& random) { return random.normal(shape, dtype, mean, stddev); };
}
Initializer random_uniform(double low, double high) {
  return [=](const Shape& shape, DType dtype, Random& random) { return random.uniform(shape, dtype, low, high); };
}
Initializer truncated_normal(double mean, double stddev) {
  return [=](const Shape& shape, DType dtype, Random& random) {
    return random.truncated_normal(shape, dtype, mean, stddev);
  };
}

Initializer orthogonal(double gain) {
  return [gain](const Shape& shape, DType dtype, Random& random) {
    if (shape.rank() < 2) throw Error(fmt::format("orthogonal: {} is no matrix", shape.text()));
    const std::int64_t columns = shape.back();
    const std::int64_t rows = columns == 0 ? 0 : shape.elements() / columns;
    const std::int64_t most = std::max(rows, columns), fewest = std::min(rows, columns);
    // Vector after vector, each made orthogonal to those before: the Q of QR whose R has a positive diagonal, which
    // Keras reaches by signs. Twice, as once loses digits.
    std::vector<double> q = random.normal({fewest, most}, f64).values<double>();
    const auto vector = [&](std::int64_t k) { return q.begin() + k * most; };
    for (std::int64_t k = 0; k < fewest; ++k) {
      for (std::int64_t before = 0; before < 2 * k; ++before) {
        const auto other = vector(before % k);
        const double along = std::inner_product(other, other + most, vector(k), 0.0);
        for (std::int64_t at = 0; at < most; ++at) vector(k)[at] -= along * other[at];
      }
      const double length = std::sqrt(std::inner_product(vector(k), vector(k) + most, vector(k), 0.0));
      for (std::int64_t at = 0; at < most; ++at) vector(k)[at] /= length;
    }
    const Tensor drawn = from_values(q, {fewest, most}, dtype);
    return reshape(rows < columns ? drawn : transpose(drawn), shape) * gain;
  };
}

Initializer initializer_named(const std::string& name) {
  if (name == "zeros") return zeros_initializer();
  if (name == "ones") return ones_initializer();
  if (name == "glorot_uniform") return glorot_uniform();
  if (name == "glorot_normal") return glorot_normal();
  if (name == "he_uniform") return he_uniform();
  if (name == "he_normal") return he_normal();
  if (name == "lecun_uniform") return lecun_uniform();
  if (name == "lecun_normal") return lecun_normal();
  if (name == "random_normal") return random_normal();
  if (name == "random_uniform") return random_uniform();
  if (name == "truncated_normal") return truncated_normal();
  if (name == "orthogonal") return orthogonal();
  throw Error(fmt::format(
      "there is no initializer \"{}\": there are zeros, ones, glorot_uniform, glorot_normal, he_uniform, "
      "he_normal, lecun_uniform, lecun_normal, random_normal, random_uniform, truncated_normal and orthogonal",
      name));
}

}  // namespace twopass
