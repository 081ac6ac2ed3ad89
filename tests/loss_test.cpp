#include <doctest/doctest.h>

#include <cmath>

#include <twopass/core/error.h>
#include <twopass/optim/loss.h>

using namespace twopass;

TEST_CASE("categorical cross-entropy is the example of Keras's documentation") {
  const Tensor t = tensor({{0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}}, f64),
               p = tensor({{0.05, 0.95, 0.0}, {0.1, 0.8, 0.1}}, f64);
  const Tensor each = categorical_crossentropy().per_sample(t, p);
  CHECK(each.at<double>(0) == doctest::Approx(-std::log(0.95)));
  CHECK(each.at<double>(1) == doctest::Approx(-std::log(0.1)));
  CHECK(sparse_categorical_crossentropy().per_sample(tensor({1, 2}), p).at<double>(1) ==
        doctest::Approx(-std::log(0.1)));
}

TEST_CASE("F15: targets (n, 1) are not broadcast against predictions (n,)") {
  CHECK_THROWS_AS(mean_squared_error().per_sample(tensor({{1.0}, {2.0}}), tensor({1.0, 2.0})), Error);
}

TEST_CASE("F16: one-hot targets and labels are not taken for each other") {
  const Tensor p = tensor({{0.5, 0.5}, {0.2, 0.8}});
  CHECK_THROWS_AS(sparse_categorical_crossentropy().per_sample(p, p), Error);
  CHECK_THROWS_AS(categorical_crossentropy().per_sample(tensor({0, 1}), p), Error);
}

TEST_CASE("N22: probabilities of exactly 0 and 1 give a finite loss, 1.5 is refused") {
  CHECK(std::isfinite(binary_crossentropy().per_sample(tensor({{1.0, 0.0}}), tensor({{0.0, 1.0}})).at<double>(0)));
  CHECK_THROWS_AS(binary_crossentropy().per_sample(tensor({{1.0}}), tensor({{1.5}})), Error);
}
