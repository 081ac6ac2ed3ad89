#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>

#include "thread_counts.h"

using namespace twopass;

namespace {

using Doubles = std::vector<double>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool says(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

bool all_zero(const Tensor& x) { return x.values<double>() == Doubles(static_cast<std::size_t>(x.elements()), 0.0); }

}  // namespace

TEST_CASE("N17: softmax and cross-entropy do not change with an offset of 1e4 to 1e20") {
  for (const double offset : {1e4, 1e10, 1e20, -1e20})
    for (const DType dtype : {f32, f64}) {
      const Tensor x = full({2, 10}, offset, dtype);
      for (const double p : softmax(x).values<double>()) CHECK(p == doctest::Approx(0.1).epsilon(1e-6));
      for (const double p : log_softmax(x).values<double>())
        CHECK(p == doctest::Approx(-2.302585092994046).epsilon(1e-6));
      for (const double p : log_softmax(x, 0).values<double>())
        CHECK(p == doctest::Approx(-0.6931471805599453).epsilon(1e-6));
      const Tensor sparse = sparse_softmax_cross_entropy(x, tensor({0, 9}));
      const Tensor dense = softmax_cross_entropy(x, full({2, 10}, 0.1, dtype));
      CHECK(sparse.at<double>(1) == doctest::Approx(2.302585092994046).epsilon(1e-6));
      CHECK(dense.at<double>(0) == doctest::Approx(2.302585092994046).epsilon(1e-6));
    }
}

TEST_CASE("N18: masked logits have probability 0 and gradient 0; a row that is masked whole is NaN") {
  for (const DType dtype : {f32, f64}) {
    const Tensor x = variable(tensor({{1.0, -kInfinity, 1.0}, {-kInfinity, 3.0, -kInfinity}}, dtype));
    const Tensor p = softmax(x);
    CHECK(p.values<double>() == Doubles{0.5, 0, 0.5, 0, 1, 0});
    const Tensor g = backward(sum(p * tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}}, dtype)))[x];
    CHECK(g.values<double>() == Doubles{-0.5, 0, 0.5, 0, 0, 0});
    CHECK(softmax(transpose(x), 0).values<double>() == Doubles{0.5, 0, 0, 1, 0.5, 0});

    const Tensor t = tensor({{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}}, dtype);
    const Tensor loss = softmax_cross_entropy(x, t);
    CHECK(loss.at<double>(0) == doctest::Approx(0.6931471805599453));
    CHECK(loss.at<double>(1) == 0);
    CHECK(backward(sum(loss))[x].values<double>() == Doubles{-0.5, 0, 0.5, 0, 0, 0});
    for (const double y : softmax(full({1, 3}, -kInfinity, dtype)).values<double>()) CHECK(std::isnan(y));
  }
}

TEST_CASE("N23: cross-entropies of logits of 1000 are 1000 or 0 with gradients of 1 or 0") {
  const Tensor x = variable(tensor({{1000.0, 0.0}, {0.0, 1000.0}}));
  const Tensor sparse = sparse_softmax_cross_entropy(x, tensor({0, 0}));
  CHECK(sparse.values<double>() == Doubles{0, 1000});
  CHECK(backward(sum(sparse))[x].values<double>() == Doubles{0, 0, -1, 1});
  const Tensor dense = softmax_cross_entropy(x, tensor({{1.0, 0.0}, {1.0, 0.0}}));
  CHECK(dense.values<double>() == Doubles{0, 1000});
  CHECK(backward(sum(dense))[x].values<double>() == Doubles{0, 0, -1, 1});

  const Tensor z = variable(tensor({1000.0, -1000.0, 1000.0, -1000.0}));
  const Tensor binary = sigmoid_cross_entropy(z, tensor({1.0, 1.0, 0.0, 0.0}));
  CHECK(binary.values<double>() == Doubles{0, 1000, 1000, 0});
  CHECK(backward(sum(binary))[z].values<double>() == Doubles{0, -1, 1, 0});
}

TEST_CASE("S8: an empty batch has empty losses and exactly zero gradients") {
  const Tensor x = variable(zeros({0, 3}));
  CHECK(softmax(x).shape() == Shape({0, 3}));
  CHECK(log_softmax(x, 0).shape() == Shape({0, 3}));
  const Tensor loss = sparse_softmax_cross_entropy(x, zeros({0}, i64));
  CHECK(loss.shape() == Shape({0}));
  CHECK(backward(sum(loss))[x].shape() == Shape({0, 3}));
  CHECK_THROWS_WITH_AS(mean(loss), doctest::Contains("mean"), Error);
  CHECK(softmax_cross_entropy(x, zeros({0, 3})).shape() == Shape({0}));
}

TEST_CASE("F15: labels out of range, broken or of another shape are refused with index and value") {
  const Tensor x = zeros({3, 4});
  CHECK(says(message_of([&] {
               sparse_softmax_cross_entropy(x, tensor({0, 4, 1}));
             }),
             "label 4 at index 1 is outside 0 … 3"));
  CHECK(says(message_of([&] { sparse_softmax_cross_entropy(x, tensor({0, 1, -1})); }), "label -1 at index 2"));
  CHECK(says(message_of([&] {
               sparse_softmax_cross_entropy(zeros({2, 2, 3}), tensor({{0, 1}, {2, 3}}));
             }),
             "label 3 at index (1, 1)"));
  CHECK(says(message_of([&] {
               sparse_softmax_cross_entropy(x, tensor({0.0, 1.5, 1.0}));
             }),
             "labels must be i64, not f32"));
  CHECK(says(message_of([&] {
               sparse_softmax_cross_entropy(x, tensor({{0}, {1}, {2}}));
             }),
             "need labels of shape (3,), one per row, not (3, 1)"));
  CHECK(says(message_of([&] {
               sigmoid_cross_entropy(zeros({3, 1}), zeros({3}));
             }),
             "need targets of the same shape, not (3,)"));
}

TEST_CASE("F16: one-hot targets in the sparse loss and labels in the dense one are refused by name of the other") {
  const Tensor x = zeros({2, 3});
  CHECK(says(message_of([&] {
               sparse_softmax_cross_entropy(x, tensor({{1, 0, 0}, {0, 1, 0}}));
             }),
             "one-hot targets belong in softmax_cross_entropy"));
  CHECK(says(message_of([&] {
               sparse_softmax_cross_entropy(x, tensor({{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}}));
             }),
             "one-hot targets belong"));
  CHECK(says(message_of([&] { softmax_cross_entropy(x, tensor({0, 2})); }), "belong in sparse_softmax_cross_entropy"));
}

TEST_CASE("targets that sum to nothing give no loss and no gradient") {
  const Tensor x = variable(tensor({{1.0, 2.0}, {3.0, 4.0}}));
  const Tensor loss = softmax_cross_entropy(x, zeros({2, 2}));
  CHECK(all_zero(loss));
  CHECK(all_zero(backward(sum(loss))[x]));
}

TEST_CASE("soft targets receive the gradient -log softmax") {
  const Tensor t = variable(tensor({{0.5, 0.5}}, f64));
  const auto g = backward(sum(softmax_cross_entropy(tensor({{0.0, 0.0}}, f64), t)))[t].values<double>();
  CHECK(g[0] == doctest::Approx(0.6931471805599453));
  CHECK(g[1] == doctest::Approx(0.6931471805599453));
}

TEST_CASE("the softmax of an element does not depend on where it stands or how long the row is") {
  const Tensor equal = softmax(zeros({7, 13}));
  for (const float p : equal.values<float>()) CHECK(p == equal.at<float>(0));
  const Tensor x = Random(2).normal({3, 37});
  const auto rows = softmax(x).values<float>();
  for (std::int64_t row = 0; row < 3; ++row) {
    const auto alone = softmax(slice(x, 0, row, row + 1)).values<float>();
    for (std::int64_t k = 0; k < 37; ++k)
      CHECK(alone[static_cast<std::size_t>(k)] == rows[static_cast<std::size_t>(row * 37 + k)]);
  }
}

TEST_CASE("softmax along any axis is the softmax of the transposed, also over many columns, and so are gradients") {
  const Tensor x = variable(Random(4).normal({5, 7, 300}, f64)), g = Random(5).normal({5, 7, 300}, f64);
  for (const int axis : {0, 1, 2}) {
    std::vector<std::int64_t> order{0, 1, 2};
    std::swap(order[static_cast<std::size_t>(axis)], order[2]);
    for (const auto f : {softmax, log_softmax}) {
      const Tensor straight = f(x, axis), turned = transpose(f(transpose(x, order), -1), order);
      CHECK(max(abs(straight - turned)).item<double>() < 1e-13);
      const Tensor back = backward(sum(straight * g))[x], turned_back = backward(sum(turned * g))[x];
      CHECK(max(abs(back - turned_back)).item<double>() < 1e-12);
    }
  }
}

TEST_CASE("the gradients of cross-entropies are softmax less the targets, also over many rows") {
  const Tensor x = variable(Random(8).normal({500, 33}, f64)), labels = Random(9).integers({500}, 0, 33);
  const Tensor other =
      variable(Random(10).normal({500, 33}, f64));  // so that memory used again does not hold what is right
  const Tensor targets = one_hot(labels, 33, f64);
  const auto expected = [&](const Tensor& at) { return softmax(stop_gradient(at)) - targets; };
  CHECK(max(abs(backward(sum(softmax_cross_entropy(x, targets)))[x] - expected(x))).item<double>() < 1e-14);
  CHECK(max(abs(backward(sum(sparse_softmax_cross_entropy(other, labels)))[other] - expected(other))).item<double>() <
        1e-14);
}

TEST_CASE("softmax and its losses are bit-equal for any number of threads") {
  const Tensor x = Random(6).normal({5000, 33});
  const Tensor labels = Random(7).integers({5000}, 0, 33);
  check_equal_for_thread_counts(
      [&] { return std::pair(softmax(x).values<float>(), sparse_softmax_cross_entropy(x, labels).values<float>()); });
}
