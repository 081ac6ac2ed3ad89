#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/optim/loss.h>
#include <twopass/optim/metric.h>

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

using Values = std::vector<double>;

Values values(const Metric& metric, const Tensor& targets, const Tensor& predictions) {
  return metric.per_sample(targets, predictions).values<double>();
}

}  // namespace

TEST_CASE("of equal predictions the first is the answer") {
  const Tensor even = tensor({{0.5, 0.5}, {0.5, 0.5}});
  CHECK(values(sparse_categorical_accuracy(), tensor({0, 1}), even) == Values{1, 0});
  CHECK(values(categorical_accuracy(), tensor({{1.0, 0.0}, {0.0, 1.0}}), even) == Values{1, 0});
}

TEST_CASE("soft targets stand for their largest") {
  CHECK(values(categorical_accuracy(), tensor({{0.4, 0.6}, {0.6, 0.4}}), tensor({{0.1, 0.9}, {0.1, 0.9}})) ==
        Values{1, 0});
}

TEST_CASE("logits have the accuracy of their probabilities") {
  CHECK(values(sparse_categorical_accuracy(), tensor({0, 2}), tensor({{-1.0, -2.0, -3.0}, {50.0, 9.0, 60.0}})) ==
        Values{1, 1});
  // sigmoid(0) = 1/2
  CHECK(values(binary_accuracy({.threshold = 0}), tensor({{1.0, 0.0}}), tensor({{0.1, -0.1}})) == Values{1});
}

TEST_CASE("a sequence has an accuracy per row and time") {
  const Tensor p = tensor({{{0.9, 0.1}, {0.2, 0.8}}, {{0.6, 0.4}, {0.3, 0.7}}});
  const Tensor found = sparse_categorical_accuracy().per_sample(tensor({{0, 0}, {1, 1}}), p);
  CHECK(found.shape() == Shape{2, 2});
  CHECK(found.values<double>() == Values{1, 0, 0, 1});
  CHECK(accuracy().per_sample(tensor({{0, 0}, {1, 1}}), p).values<double>() == Values{1, 0, 0, 1});
}

TEST_CASE("predictions without a last axis have a binary accuracy per row") {
  CHECK(values(binary_accuracy(), tensor({1.0, 0.0, 1.0}), tensor({0.7, 0.7, 0.2})) == Values{1, 0, 0});
  CHECK(values(accuracy(), tensor({1.0, 0.0, 1.0}), tensor({0.7, 0.7, 0.2})) == Values{1, 0, 0});
}

TEST_CASE("binary accuracy takes targets of integers and of truth values") {
  const Tensor p = tensor({{0.7, 0.2, 0.9, 0.6}});
  CHECK(values(binary_accuracy(), tensor({{1, 0, 0, 0}}), p) == Values{0.5});
  CHECK(values(binary_accuracy(), tensor({{true, false, true, true}}), p) == Values{1});
}

TEST_CASE("accuracy of labels in a column is sparse, and of several labels at once categorical") {
  const Tensor p = tensor({{0.6, 0.7, 0.1}});
  CHECK(values(accuracy(), tensor({{1}}), p) == Values{1});
  // both labels are found, which binary accuracy says; the largest target stands first, the largest prediction second
  CHECK(values(accuracy(), tensor({{1.0, 1.0, 0.0}}), p) == Values{0});
  CHECK(values(binary_accuracy(), tensor({{1.0, 1.0, 0.0}}), p) == Values{1});
}

TEST_CASE("a metric of f64 predictions is right in f64") {
  const Tensor close = tensor({{0.3, 0.3 + 1e-12}}, f64);  // equal in f32
  CHECK(values(sparse_categorical_accuracy(), tensor({1}), close) == Values{1});
  CHECK(values(binary_accuracy({.threshold = 0.3}), tensor({{0.0, 1.0}}), close) == Values{1});
}

TEST_CASE("every loss is a metric with the loss's numbers") {
  const Tensor t = tensor({{1.0, 0.0}}, f64), p = tensor({{0.75, 0.25}}, f64);
  CHECK(values(metric(mean_squared_error()), t, p) == Values{0.0625});
  CHECK(values(metric(huber({.delta = 0.125})), t, p) == Values{0.125 * 0.25 - 0.125 * 0.125 / 2});
  CHECK(values(metric(binary_crossentropy()), t, p)[0] == Approx(std::log(4.0 / 3)));
  CHECK(values(metric(categorical_crossentropy()), t, p)[0] == Approx(std::log(4.0 / 3)));
  CHECK(values(metric(sparse_categorical_crossentropy()), tensor({1}), p)[0] == Approx(std::log(4.0)));
}

TEST_CASE("a loss as a metric passes no derivative, and its options are its attributes") {
  const Metric of = metric(huber({.delta = 3}));
  CHECK_FALSE(of.per_sample(tensor({{0.0}}), variable(tensor({{1.0}}))).recorded());
  CHECK(of.attributes() == huber({.delta = 3}).attributes());
}

TEST_CASE("every metric but the user's own is made again from its name and attributes") {
  for (const Metric& each : {accuracy(), binary_accuracy({.threshold = 0.25}), categorical_accuracy(),
                             sparse_categorical_accuracy(), metric(huber({.delta = 2}))}) {
    CHECK(each.saveable());
    const Metric again = metric_from(each.name(), each.attributes());
    CHECK(again.name() == each.name());
    CHECK(again.attributes() == each.attributes());
  }
  CHECK_FALSE(metric("own", [](const Tensor&, const Tensor& p) { return p; }).saveable());
}

TEST_CASE("a metric made of a loss of the user's own can't be saved") {
  CHECK_FALSE(metric(loss("own", [](const Tensor& t, const Tensor& p) { return sum(p - t, -1); })).saveable());
}

TEST_CASE("binary accuracy has the threshold 0.5 where its name is all that is known") {
  CHECK(metric_from("binary_accuracy").attributes() == binary_accuracy({.threshold = 0.5}).attributes());
}

TEST_CASE("refusals name the metric with both shapes and say what was wanted") {
  const Tensor p = tensor({{0.2, 0.5, 0.3}, {0.6, 0.3, 0.1}});
  CHECK_THROWS_WITH_AS(categorical_accuracy().per_sample(tensor({{1.0, 0.0}}), p),
                       Contains("categorical_accuracy((1, 2), (2, 3)): targets have shape (1, 2) but predictions"),
                       Error);
  CHECK_THROWS_WITH_AS(sparse_categorical_accuracy().per_sample(tensor({{1, 0}, {0, 1}}), p),
                       Contains("labels have shape (2, 2) where predictions (2, 3) need (2,)"), Error);
  CHECK_THROWS_WITH_AS(sparse_categorical_accuracy().per_sample(tensor({1.0, 2.0}), p),
                       Contains("labels are i64, not f32"), Error);
  CHECK_THROWS_WITH_AS(binary_accuracy().per_sample(tensor(1.0), tensor(0.5)), Contains("no batch axis"), Error);
  CHECK_THROWS_WITH_AS(accuracy().per_sample(tensor({1.0, 0.0}), p), Contains("accuracy((2,), (2, 3)): labels are i64"),
                       Error);
}

TEST_CASE("an error of the user's own metric says whose it is") {
  const Metric own = metric("worst", [](const Tensor&, const Tensor&) -> Tensor { throw Error("cannot be told"); });
  CHECK_THROWS_WITH_AS(own.per_sample(tensor({1.0}), tensor({1.0})), "worst((1,), (1,)): cannot be told", Error);
}

TEST_CASE("a metric without a name or a function is refused, and an unknown name with those that there are") {
  CHECK_THROWS_WITH_AS(metric("", [](const Tensor&, const Tensor& p) { return p; }), Contains("needs a name"), Error);
  CHECK_THROWS_WITH_AS(metric("own", Metric::Function()), Contains("needs a name and a function"), Error);
  CHECK_THROWS_WITH_AS(metric_from("f1"), Contains("sparse_categorical_accuracy"), Error);
}

TEST_CASE("accuracies of classes refuse predictions without an axis of classes, and a threshold that is NaN") {
  CHECK_THROWS_WITH_AS(categorical_accuracy().per_sample(tensor({0.5}), tensor({0.5})), doctest::Contains("classes"),
                       Error);
  CHECK_THROWS_WITH_AS(sparse_categorical_accuracy().per_sample(tensor({0}), tensor({0.5})),
                       doctest::Contains("classes"), Error);
  CHECK_THROWS_AS(binary_accuracy({.threshold = NAN}), Error);
}
