#include "gmm.h"

#include <fmt/core.h>

#include <cmath>
#include <numbers>

#include "numbers.h"

using namespace twopass;

namespace adbench {
namespace {

struct Mixture {
  std::int64_t d, k, n;
  Tensor points;
  double gamma;
  std::int64_t m;
};

// Where each element of Q_k [d, d] stands in (exp of the log-diagonal, strictly lower entries column by column, 0).
Tensor places_of_factors(std::int64_t d) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(d * d), d * (d + 1) / 2);
  std::int64_t lower = d;
  for (std::int64_t column = 0; column < d; ++column) {
    places[static_cast<std::size_t>(column * d + column)] = column;
    for (std::int64_t row = column + 1; row < d; ++row) places[static_cast<std::size_t>(row * d + column)] = lower++;
  }
  return from_values(places, {d * d});
}

// What does not depend on the parameters: of the densities, and k times that of the Wishart distribution with
// n' = d + m + 1 degrees of freedom, n' d (log gamma - log(2) / 2) - log Γ_d(n' / 2).
double constant_of(const Mixture& data) {
  const auto d = static_cast<double>(data.d), freedom = d + static_cast<double>(data.m) + 1;
  double log_gamma_d = d * (d - 1) / 4 * std::log(std::numbers::pi);
  for (std::int64_t j = 1; j <= data.d; ++j) log_gamma_d += std::lgamma((freedom + 1 - static_cast<double>(j)) / 2);
  const double wishart = freedom * d * (std::log(data.gamma) - std::log(2.0) / 2) - log_gamma_d;
  return -static_cast<double>(data.n) * d / 2 * std::log(2 * std::numbers::pi) - static_cast<double>(data.k) * wishart;
}

Problem problem_of(Tensors parameters, const Mixture& data) {
  const auto objective = [data, places = places_of_factors(data.d), constant = constant_of(data)](const Tensors& in) {
    const Tensor &alphas = in[0], &means = in[1], &icfs = in[2];
    const auto [d, k, n, points, gamma, m] = data;
    const Tensor logs = slice(icfs, 1, 0, d), lower = slice(icfs, 1, d, d * (d + 1) / 2), diagonal = exp(logs);
    const Tensor entries = concat({diagonal, lower, zeros({k, 1}, f64)}, 1);
    const Tensor factors = reshape(gather(entries, places, 1), {k, d, d});

    const Tensor centred = points - expand_dims(means, 1);  // [k, n, d]
    const Tensor distances = sum(square(matmul(centred, factors, {.transpose_b = true})), -1);
    const Tensor log_determinants = sum(logs, 1);
    const Tensor log_densities = expand_dims(alphas + log_determinants, 1) - 0.5 * distances;
    const Tensor likelihood = sum(logsumexp(log_densities, 0)) - static_cast<double>(n) * logsumexp(alphas);

    const Tensor prior = gamma * gamma / 2 * (sum(square(diagonal)) + sum(square(lower))) -
                         static_cast<double>(m) * sum(log_determinants);
    return likelihood + prior + constant;
  };
  return {{"alphas", "means", "icfs"}, std::move(parameters), objective};
}

}  // namespace

Problem read_gmm(std::string_view text, std::string_view name) {
  Numbers numbers(text, name);
  Mixture data{};
  data.d = numbers.integer("d", 1);
  data.k = numbers.integer("k", 1);
  data.n = numbers.integer("n", 1);
  Tensors parameters{numbers.tensor({data.k}, "alphas"), numbers.tensor({data.k, data.d}, "means"),
                     numbers.tensor({data.k, data.d * (data.d + 1) / 2}, "icfs")};
  data.points = numbers.tensor({data.n, data.d}, "points");
  data.gamma = numbers.number("gamma");
  if (data.gamma <= 0) numbers.refuse(fmt::format("gamma is {}, not above 0", data.gamma));
  data.m = numbers.integer("m", 0);
  numbers.end();
  return problem_of(std::move(parameters), data);
}

}  // namespace adbench
