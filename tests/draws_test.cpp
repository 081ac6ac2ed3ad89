// Random tensors as ops.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/draws.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/normal_quantile.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "thread_counts.h"

using namespace twopass;

namespace {

Draw drawn(std::uint64_t key, std::int64_t step) { return {key, tensor(step)}; }

double mean_of(const Tensor& x) { return mean(cast(x, f64)).item<double>(); }
double variance_of(const Tensor& x) { return var(cast(x, f64)).item<double>(); }

}  // namespace

TEST_CASE("the quantiles of the normal distribution are SciPy's") {
  const auto close = [](double p, double expected) {
    CHECK(kernels::normal_quantile(p) == doctest::Approx(expected).epsilon(1e-14));
  };
  close(0.9, 1.2815515655446004);
  close(0.975, 1.959963984540054);
  close(1e-5, -4.264890793922825);
  close(1e-300, -37.0470962993612);
  CHECK(kernels::normal_quantile(0.5) == 0);
}

TEST_CASE("draws have the moments of their distributions") {
  const Shape many{200000};
  CHECK(mean_of(draw_uniform(many, drawn(1, 0))) == doctest::Approx(0.5).epsilon(0.005));
  CHECK(variance_of(draw_uniform(many, drawn(1, 0))) == doctest::Approx(1.0 / 12).epsilon(0.01));
  CHECK(std::abs(mean_of(draw_normal(many, drawn(2, 0)))) < 0.01);
  CHECK(variance_of(draw_normal(many, drawn(2, 0))) == doctest::Approx(1).epsilon(0.01));
  const Tensor truncated = draw_truncated_normal(many, drawn(3, 0));
  CHECK(max(abs(truncated)).item<double>() < 2);
  CHECK(variance_of(truncated) == doctest::Approx(0.7737413035499232).epsilon(0.01));  // SciPy's truncnorm(-2, 2)
  CHECK(mean_of(draw_gumbel(many, drawn(4, 0))) == doctest::Approx(0.5772156649).epsilon(0.02));
  CHECK(mean_of(sample_bernoulli(full(many, 0.3), drawn(5, 0))) == doctest::Approx(0.3).epsilon(0.02));
}

TEST_CASE("f32 draws stay below 1 and are those of f64, rounded") {
  const Tensor narrow = draw_uniform({100000}, drawn(1, 0)), wide = draw_uniform({100000}, drawn(1, 0), f64);
  CHECK(max(narrow).item<double>() < 1);
  CHECK(max(abs(cast(narrow, f64) - wide)).item<double>() < 1e-7);
}

TEST_CASE("equal keys and steps give equal numbers in any number of threads, others give others") {
  const auto values = [](std::uint64_t key, std::int64_t step) {
    return draw_normal({100001}, drawn(key, step)).values<double>();
  };
  const auto expected = values(7, 3);
  check_equal_for_thread_counts([&] { return values(7, 3); });
  CHECK(values(7, 4) != expected);
  CHECK(values(8, 3) != expected);
}

TEST_CASE("integers reach both ends of their range and permutations have every number once") {
  const auto dice = draw_integers({10000}, 1, 7, drawn(1, 0)).values<std::int64_t>();
  for (std::int64_t face = 1; face <= 6; ++face)
    CHECK(std::abs(std::count(dice.begin(), dice.end(), face) - 1667) < 200);
  CHECK(*std::min_element(dice.begin(), dice.end()) == 1);
  CHECK(*std::max_element(dice.begin(), dice.end()) == 6);
  auto order = draw_permutation(1000, drawn(1, 0)).values<std::int64_t>();
  std::vector<std::int64_t> sorted(1000);
  std::iota(sorted.begin(), sorted.end(), std::int64_t{0});
  CHECK(order != sorted);
  std::sort(order.begin(), order.end());
  CHECK(order == sorted);
}

TEST_CASE("classes are drawn with the softmax's probabilities, masked ones never") {
  const double never = -std::numeric_limits<double>::infinity();
  const Tensor logits = broadcast_to(tensor({std::log(0.2), never, std::log(0.8)}, f64), {50000, 3});
  const auto classes = sample_categorical(logits, drawn(1, 0)).values<std::int64_t>();
  CHECK(static_cast<double>(std::count(classes.begin(), classes.end(), 0)) / 50000 ==
        doctest::Approx(0.2).epsilon(0.03));
  CHECK(std::count(classes.begin(), classes.end(), 1) == 0);
}

TEST_CASE("gradients pass through the parameters of samples: 1 for means, the noise for deviations") {
  const Tensor mean_at = variable(tensor({1.0, 2.0}, f64)), stddev = variable(tensor(0.5, f64));
  const Tensor y = sample_normal(mean_at, stddev, drawn(1, 0));
  const Gradients gradients = backward(sum(y));
  CHECK(gradients[mean_at].values<double>() == std::vector<double>{1, 1});
  CHECK(gradients[stddev].item<double>() == doctest::Approx(sum(draw_normal({2}, drawn(1, 0), f64)).item<double>()));
  const Tensor low = variable(tensor(-1.0, f64)), high = variable(tensor(3.0, f64));
  const Tensor u = sample_uniform(low, high, drawn(1, 0));
  const double share = draw_uniform({}, drawn(1, 0), f64).item<double>();
  CHECK(u.item<double>() == doctest::Approx(-1 + 4 * share));
  CHECK(backward(u)[low].item<double>() == doctest::Approx(1 - share));
  CHECK(backward(u)[high].item<double>() == doctest::Approx(share));
}
