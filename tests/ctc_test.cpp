// Connectionist temporal classification. Numbers are sums over every alignment, one by one, or TensorFlow's.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/recurrent.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/ctc.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>
#include <twopass/optim/losses.h>

using namespace twopass;
using doctest::Approx;
using doctest::Contains;

namespace {

using Labels = std::vector<std::int64_t>;

// What an alignment says: its classes without repetitions, then without blanks.
Labels said(const Labels& alignment, std::int64_t blank) {
  Labels labels;
  for (std::size_t k = 0; k < alignment.size(); ++k)
    if (alignment[k] != blank && (k == 0 || alignment[k] != alignment[k - 1])) labels.push_back(alignment[k]);
  return labels;
}

// -log of the sum over the classes^steps alignments that say the labels.
double enumerated(const Tensor& logits, const Labels& labels, std::int64_t blank) {
  const std::int64_t steps = logits.shape()[0], classes = logits.shape()[1];
  const std::vector<double> p = softmax(logits).values<double>();
  double total = 0;
  for (std::int64_t code = 0; code < std::llround(std::pow(classes, steps)); ++code) {
    Labels alignment;
    double likelihood = 1;
    for (std::int64_t step = 0, rest = code; step < steps; ++step, rest /= classes) {
      alignment.push_back(rest % classes);
      likelihood *= p[static_cast<std::size_t>(step * classes + rest % classes)];
    }
    if (said(alignment, blank) == labels) total += likelihood;
  }
  return -std::log(total);
}

Tensor row(const Labels& labels) { return from_values(labels, {1, static_cast<std::int64_t>(labels.size())}); }

Tensor loss_of(const Tensor& logits, const Labels& labels, std::int64_t blank = 0) {
  return ctc_loss(expand_dims(logits, 0), row(labels), tensor({logits.shape()[0]}),
                  tensor({static_cast<std::int64_t>(labels.size())}), blank);
}

}  // namespace

TEST_CASE("ctc sums over every alignment of labels and steps") {
  Random random(11);
  for (const Labels& labels : std::vector<Labels>{{}, {1}, {2, 1}, {1, 1}, {2, 2, 1}, {1, 2, 1}, {3, 3}, {1, 2, 3, 1}})
    for (std::int64_t steps = 0; steps < 6; ++steps) {
      const Tensor logits = random.normal({steps, 4}, f64);
      const double found = loss_of(logits, labels).item<double>(), expected = enumerated(logits, labels, 0);
      INFO(steps, " steps for ", labels.size(), " labels");
      if (std::isinf(expected))
        CHECK(found == expected);
      else
        CHECK(found == Approx(expected).epsilon(1e-12));
    }
  const Tensor logits = random.normal({4, 3}, f64);
  CHECK(loss_of(logits, {0, 1}, 2).item<double>() == Approx(enumerated(logits, {0, 1}, 2)).epsilon(1e-12));
}

TEST_CASE("ctc gives what TensorFlow's does") {
  // testBasic of its ctc_loss_op_test.py
  const Tensor p = tensor({{{0.633766, 0.221185, 0.0917319, 0.0129757, 0.0142857, 0.0260553},
                            {0.111121, 0.588392, 0.278779, 0.0055756, 0.00569609, 0.010436},
                            {0.0357786, 0.633813, 0.321418, 0.00249248, 0.00272882, 0.0037688},
                            {0.0663296, 0.643849, 0.280111, 0.00283995, 0.0035545, 0.00331533},
                            {0.458235, 0.396634, 0.123377, 0.00648837, 0.00903441, 0.00623107}},
                           {{0.30176, 0.28562, 0.0831517, 0.0862751, 0.0816851, 0.161508},
                            {0.24082, 0.397533, 0.0557226, 0.0546814, 0.0557528, 0.19549},
                            {0.230246, 0.450868, 0.0389607, 0.038309, 0.0391602, 0.202456},
                            {0.280884, 0.429522, 0.0326593, 0.0339046, 0.0326856, 0.190345},
                            {0.423286, 0.315517, 0.0338439, 0.0393744, 0.0339315, 0.154046}}});
  const Tensor labels = tensor({{0, 1, 2, 1, 0}, {0, 1, 1, 0, 0}}), steps = tensor({5, 5}), counts = tensor({5, 4});
  const auto losses = ctc_loss(log(p), labels, steps, counts, 5).values<double>();
  CHECK(losses[0] == Approx(3.34211).epsilon(2e-6));
  CHECK(losses[1] == Approx(5.42262).epsilon(2e-6));
}

TEST_CASE("ctc has two derivatives, and says by name that there is no third") {
  const Tensor logits = Random(3).normal({2, 4, 3}, f64), labels = tensor({{1, 2, 1}, {2, 2, 0}});
  const auto f = [&](const Tensors& in) { return ctc_loss(in[0], labels, tensor({4, 4}), tensor({3, 2})); };
  const GradcheckReport report = gradcheck(f, {logits}, {.order = 2});
  INFO(report.text());
  CHECK(report.ok());
  CHECK(report.conclusive());
  const Tensor x = variable(logits);
  const Tensor first = backward(sum(f({x})), {.record = true})[x];
  const Tensor second = backward(sum(square(first)), {.record = true})[x];
  CHECK_THROWS_WITH_AS(backward(sum(second)), Contains("ctc_curvature has no gradient"), Error);
}

TEST_CASE("ctc of too few steps is infinite, and passes nothing back") {
  const Tensor logits = variable(Random(5).normal({2, 2, 3}, f64));
  const Tensor y = ctc_loss(logits, tensor({{1, 1}, {1, 2}}), tensor({2, 2}), tensor({2, 2}));
  CHECK(y.at<double>(0) == std::numeric_limits<double>::infinity());
  const auto g = backward(sum(y))[logits].values<double>();
  for (std::size_t k = 0; k < 6; ++k) CHECK(g[k] == 0);
  for (std::size_t k = 6; k < 12; ++k) CHECK(g[k] != 0);
  CHECK(loss_of(full({0, 3}, 0, f64), {}).item<double>() == 0);
}

TEST_CASE("ctc reads neither steps nor labels behind a row's own") {
  const auto both = [](double behind, std::int64_t label) {
    const Tensor own = Random(6).normal({1, 3, 3}, f64);
    const Tensor logits = variable(concat({own, full({1, 2, 3}, behind, f64)}, 1));
    const Tensor y = ctc_loss(logits, from_values(Labels{1, label}, {1, 2}), tensor({3}), tensor({1}));
    return std::pair(y.item<double>(), backward(y)[logits].values<double>());
  };
  const auto [loss, g] = both(0, 0);
  CHECK(both(NAN, -7) == std::pair(loss, g));
  for (std::size_t k = 9; k < 15; ++k) CHECK(g[k] == 0);
}

TEST_CASE("ctc neither overflows nor vanishes: impossible classes, huge logits, thousands of steps") {
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor logits = variable(tensor({{{0.0, -infinity, 0.0}, {1e4, 1e4, -1e4}}}, f64));
  const Tensor y = ctc_loss(logits, tensor({{1}}), tensor({2}), tensor({1}));
  CHECK(y.item<double>() == Approx(std::log(4.0)).epsilon(1e-12));  // a blank, then 1
  const auto g = backward(y)[logits].values<double>();
  CHECK(g[0] == Approx(-0.5));
  CHECK(g[1] == 0);
  CHECK(g[3] == Approx(0.5));
  CHECK(g[4] == Approx(-0.5));
  // n (n + 1) / 2 of 2^n alignments are one run of the label.
  const double n = 3000;
  CHECK(loss_of(full({3000, 2}, 0, f32), {1}).item<double>() ==
        Approx(n * std::log(2.0) - std::log(n * (n + 1) / 2)).epsilon(1e-6));
  CHECK(loss_of(tensor({{-1e4, 1e4}}, f64), {1}).item<double>() == 0);
  CHECK(std::isnan(loss_of(tensor({{0.0, std::nan("")}, {0.0, 0.0}}, f64), {1}).item<double>()));
}

TEST_CASE("a model learns sequences of labels from ctc alone, as Keras has it") {
  CHECK(ctc().takes_labels());
  CHECK(loss_from("ctc").name() == "ctc");
  const Tensor logits = Random(8).normal({2, 4, 3}, f64), labels = tensor({{1, 2}, {2, 0}});
  CHECK(ctc().per_sample(labels, logits).values<double>() ==
        ctc_loss(logits, labels, tensor({4, 4}), tensor({2, 1})).values<double>());
  CHECK_THROWS_WITH_AS(ctc().per_sample(tensor({1, 2}), logits), Contains("labels are i64 [batch, most]"), Error);
  CHECK_THROWS_WITH_AS(ctc().per_sample(labels, sum(logits, 1)), Contains("logits have three axes"), Error);
  CHECK_THROWS_WITH_AS(ctc().per_sample(tensor({{0, 1}, {1, 0}}), logits), Contains("label 0 of row 0 is the blank"),
                       Error);
  // Each step shows its label or nothing; what is said is what is shown.
  const Labels shown{0, 1, 0, 2, 0, 0, 2, 0, 1, 1, 0, 1, 1, 0, 0, 0, 2, 2};
  const Tensor x = one_hot(from_values(shown, {3, 6}), 3), y = tensor({{1, 2, 0}, {2, 1, 1}, {1, 2, 0}});
  const Tensor steps = input({6, 3}, "steps");
  Model model(steps, Dense(3)(GRU(8, {.return_sequences = true})(steps)), {.seed = 1});
  model.compile({.optimizer = adam({.learning_rate = 0.05}), .loss = ctc()});
  const double before = model.evaluate(x, y)["loss"];
  model.fit(x, y, {.epochs = 150, .verbose = 0});
  CHECK(before > 2);
  CHECK(model.evaluate(x, y)["loss"] < 0.1);
  CHECK_THROWS_WITH_AS(model.fit(x, tensor({{1, 1, 1, 1}, {1, 0, 0, 0}, {1, 0, 0, 0}}), {.verbose = 0}),
                       Contains("the loss is"), Error);
}
