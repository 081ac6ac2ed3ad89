#include <doctest/doctest.h>

#include <vector>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/optim/loss.h>
#include <twopass/optim/metric.h>

using namespace twopass;
using doctest::Contains;

namespace {

std::vector<double> values(const Metric& metric, const Tensor& targets, const Tensor& predictions) {
  return metric.per_sample(targets, predictions).values<double>();
}

using Values = std::vector<double>;
const Tensor kTwoRows = tensor({{0.2, 0.5, 0.3}, {0.6, 0.3, 0.1}});

}  // namespace

TEST_CASE("categorical accuracy asks whether the largest of both stand at one place") {
  CHECK(values(categorical_accuracy(), tensor({{0.0, 1.0, 0.0}, {0.0, 1.0, 0.0}}), kTwoRows) == Values{1, 0});
}

TEST_CASE("sparse accuracy asks whether the largest stands at the label, also for labels (n, 1)") {
  CHECK(values(sparse_categorical_accuracy(), tensor({1, 2}), kTwoRows) == Values{1, 0});
  CHECK(values(sparse_categorical_accuracy(), tensor({{1}, {2}}), kTwoRows) == Values{1, 0});
}

TEST_CASE("binary accuracy counts what is above the threshold, not at it, as 1") {
  const Tensor t = tensor({{1.0, 0.0, 0.0, 1.0}}), p = tensor({{0.7, 0.5, 0.6, 0.5}});
  CHECK(values(binary_accuracy(), t, p) == Values{0.5});  // right, right, wrong, wrong
  CHECK(values(binary_accuracy({.threshold = 0.65}), t, p) == Values{0.75});
}

TEST_CASE("accuracy is binary for one column, sparse for labels, else categorical") {
  CHECK(values(accuracy(), tensor({{1.0}, {1.0}}), tensor({{0.9}, {0.2}})) == Values{1, 0});
  CHECK(values(accuracy(), tensor({1, 2}), kTwoRows) == Values{1, 0});
  CHECK(values(accuracy(), tensor({{0.0, 1.0, 0.0}, {0.0, 1.0, 0.0}}), kTwoRows) == Values{1, 0});
}

TEST_CASE("a loss is a metric under its name, and so is a function") {
  CHECK(metric(mean_absolute_error()).name() == "mean_absolute_error");
  CHECK(values(metric(mean_absolute_error()), tensor({{1.0, 2.0}}), tensor({{2.0, 4.0}})) == Values{1.5});
  const Metric largest = metric("largest", [](const Tensor&, const Tensor& p) { return max(p, -1); });
  CHECK(largest.name() == "largest");
  CHECK(values(largest, kTwoRows, kTwoRows) == Values{0.5f, 0.6f});
}

TEST_CASE("a metric passes no derivative") {
  const Tensor p = variable(kTwoRows);
  CHECK_FALSE(categorical_accuracy().per_sample(tensor({{0.0, 1.0, 0.0}, {0.0, 1.0, 0.0}}), p).recorded());
}

TEST_CASE("targets of another shape are refused, not broadcast, and unknown names too") {
  CHECK_THROWS_WITH_AS(values(binary_accuracy(), tensor({1.0, 0.0}), tensor({{0.7}, {0.2}})), Contains("(2, 1)"),
                       Error);
  CHECK_THROWS_WITH_AS(values(sparse_categorical_accuracy(), tensor({1, 2, 0}), kTwoRows), Contains("(3,)"), Error);
  CHECK_THROWS_WITH_AS(metric_from("acuracy"), Contains("\"acuracy\""), Error);
  CHECK(metric_from("binary_accuracy", {{"threshold", 0.25}}).attributes() ==
        binary_accuracy({.threshold = 0.25}).attributes());
}
