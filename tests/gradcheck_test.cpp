#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/coverage.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/products.h>
#include <twopass/ops/record.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

using namespace twopass;
using doctest::Contains;

namespace {

const GradcheckPair& pair_of(const GradcheckReport& report, const std::string& input, int order = 1) {
  for (const GradcheckPair& pair : report.pairs())
    if (pair.input == input && pair.order == order) return pair;
  throw Error("no pair of " + input);
}

Tensor single(double x) { return tensor({x}, f64); }

}  // namespace

TEST_CASE("the derivatives of smooth functions are found to 1e-8 of what calculus says, near poles and far from 0") {
  const auto slope = [](auto f, double at) {
    return pair_of(gradcheck([&](const Tensors& x) { return f(x[0]); }, {single(at)}), "input 0").numerical;
  };
  const auto near = [](double x) { return doctest::Approx(x).epsilon(1e-8); };
  CHECK(slope([](const Tensor& x) { return exp(x); }, 1) == near(M_E));
  CHECK(slope([](const Tensor& x) { return log(x); }, 1e-3) == near(1e3));
  CHECK(slope([](const Tensor& x) { return log(x); }, 1e-6) == near(1e6));
  CHECK(slope([](const Tensor& x) { return reciprocal(x); }, 0.01) == near(-1e4));
  CHECK(slope([](const Tensor& x) { return sin(x); }, 1000) == near(std::cos(1000.0)));
  CHECK(slope([](const Tensor& x) { return square(x); }, 1e8) == near(2e8));
  CHECK(slope([](const Tensor& x) { return sqrt(x); }, 1e-8) == near(5e3));
  CHECK(slope([](const Tensor& x) { return tanh(x); }, 3) == near(1 - std::pow(std::tanh(3.0), 2)));
}

TEST_CASE("every op's derivatives agree with differences to 1e-8, and most pairs to 1e-10") {
  int all = 0, close = 0;
  for (const Op* op : all_ops()) {
    if (!op->differentiable()) continue;
    const auto report = gradcheck(*op, {.order = 1, .blame = false});
    for (const GradcheckPair& pair : report.pairs()) {
      if (pair.verdict != Verdict::pass || std::abs(pair.numerical) < 1e-2) continue;
      CAPTURE(text_of(pair));
      CHECK_MESSAGE(pair.relative_error < 1e-8, op->name());
      ++all;
      close += pair.relative_error < 1e-10;
    }
  }
  CHECK(all > 50);
  CHECK(close > 9 * all / 10);
}

TEST_CASE("at a kink a subgradient passes as a kink, and one outside the slopes fails") {
  const auto kink = gradcheck([](const Tensors& x) { return relu(x[0]); }, {single(0)});
  CHECK(pair_of(kink, "input 0").verdict == Verdict::kink);
  CHECK(pair_of(kink, "input 0").below == doctest::Approx(0));
  CHECK(pair_of(kink, "input 0").above == doctest::Approx(1));
  CHECK(kink.ok());
  // 2 relu(x) - relu(x): what a wrong subgradient of 3 would be is not between 0 and 1.
  const auto wrong =
      gradcheck([](const Tensors& x) { return relu(x[0]) + x[0] * 3.0 - detach(x[0]) * 3.0; }, {single(0)});
  CHECK(pair_of(wrong, "input 0").verdict == Verdict::fail);
}

TEST_CASE("where all elements lie at kinks a direction through them is one too, whatever subgradients add up to") {
  const auto f = [](const Tensors& in) { return sum(relu(in[0]) * tensor({1.0, -1.0}, f64)); };
  const GradcheckReport report = gradcheck(f, {zeros({2}, f64)});
  CAPTURE(report.text());
  CHECK(report.ok());
  // Both winners of a tie taking the gradient is found where the direction has no kink.
  const auto twice = [](const Tensors& in) {
    const Tensor top = max(in[0]);
    return top + sum((in[0] - detach(in[0])) * 0.5);
  };
  CHECK(!gradcheck(twice, {ones({2}, f64)}).ok());
}

TEST_CASE("kinks of elements that cancel along a direction are kinks still: clip at both its bounds") {
  const auto clipped = [](double claim) {
    return gradcheck(
        [claim](const Tensors& in) {
          return sum(clip(in[0], -1, 1)) + sum((in[0] - detach(in[0])) * tensor({0.0, 0.0, claim}, f64));
        },
        {tensor({1.0, -1.0, 0.3}, f64)}, {.exact = false, .blame = false});
  };
  CAPTURE(clipped(0).text());
  CHECK(clipped(0).ok());
  CHECK(pair_of(clipped(0), "all inputs together").verdict == Verdict::kink);
  CHECK(clipped(0.01).wrong());  // beside them
}

TEST_CASE("a kink beside the point is no kink: smaller steps stay on one side of it") {
  for (const double at : {1e-2, 1e-4, -1e-6}) {
    const auto report = gradcheck([](const Tensors& x) { return abs(x[0]); }, {single(at)});
    CAPTURE(report.text());
    CHECK(pair_of(report, "input 0").verdict == Verdict::pass);
  }
}

TEST_CASE("a jump, noise and a slope without bounds are unreliable rather than right or wrong") {
  const auto verdict = [](auto f, double at) {
    return pair_of(gradcheck([&](const Tensors& x) { return f(x[0]); }, {single(at)}), "input 0").verdict;
  };
  CHECK(verdict([](const Tensor& x) { return sign(x); }, 0) == Verdict::unreliable);
  CHECK(verdict([](const Tensor& x) { return sqrt(x); }, 0) == Verdict::unreliable);
  const auto noisy = [](const Tensor& x) { return x + 1e-3 * std::sin(1e15 * x.item<double>()); };
  CHECK(verdict(noisy, 1) == Verdict::unreliable);
}

TEST_CASE("what depends on nothing is vacuous: no mistake, but nothing proven") {
  const auto report = gradcheck([](const Tensors& x) { return x[0] + x[1] * 0.0; }, {single(1), single(2)});
  CHECK(pair_of(report, "input 0").verdict == Verdict::pass);
  CHECK(pair_of(report, "input 1").verdict == Verdict::vacuous);
  CHECK(report.ok());
  CHECK(!report.conclusive());
  CHECK(report.text().find("input 1: vacuous, all 1 derivatives are 0 here") != std::string::npos);
}

TEST_CASE("functions that are constant but for roundings are not called wrong, nor their identities, to second order") {
  const Tensor x = tensor({0.5, -0.3, 1.2, 0.1}, f64);
  const std::vector<std::function<Tensor(const Tensors&)>> functions = {
      [](const Tensors& in) { return sum(softmax(in[0])); },
      [](const Tensors& in) { return logsumexp(log_softmax(in[0]), -1); },
      [](const Tensors& in) { return sigmoid(in[0]) + sigmoid(-in[0]) - 1.0; },
      [](const Tensors& in) { return exp(log(square(in[0]))) - square(in[0]); },
      [](const Tensors& in) { return mean(in[0] - mean(in[0])); },
      [](const Tensors& in) { return square(sin(in[0])) + square(cos(in[0])); },
  };
  for (std::size_t k = 0; k < functions.size(); ++k) {
    const GradcheckReport report = gradcheck(functions[k], {x}, {.order = 2});
    CAPTURE(k);
    CAPTURE(report.text());
    CHECK(report.ok());
  }
}

TEST_CASE("branches of constants that are never taken are reported") {
  const Tensor x = tensor({1.0, 2.0}, f64), none = tensor({0.0, 0.0}, f64);
  CHECK(gradcheck([&](const Tensors& in) { return maximum(in[0], none); }, {x})
            .text()
            .find("never taken: nothing of maximum((2,), (2,)) comes from its input 1") != std::string::npos);
}

TEST_CASE("branches that are never taken are reported: where, relu, maximum") {
  const Tensor x = tensor({1.0, 2.0, 3.0}, f64), zero = tensor({0.0, 0.0, 0.0}, f64);
  const auto notes = [&](auto f) {
    std::string all;
    const auto report = gradcheck([&](const Tensors& at) { return f(at[0]); }, {x});
    for (const auto& note : report.notes()) all += note + "\n";
    return all;
  };
  CHECK(notes([&](const Tensor& t) { return where(greater(t, zero), square(t), exp(t)); }) ==
        "never taken: nothing of where((3,), (3,), (3,)) comes from its input 2\n");
  CHECK(notes([&](const Tensor& t) { return maximum(t, t - 5.0); }) ==
        "never taken: nothing of maximum((3,), (3,)) comes from its input 1\n");
  CHECK(notes([](const Tensor& t) { return relu(t); }) == "never taken: the branch of relu((3,)) with slope 0\n");
  CHECK(notes([](const Tensor& t) { return relu(neg(t)); }) == "never taken: the branch of relu((3,)) with slope 1\n");
  CHECK(notes([](const Tensor& t) { return elu(t); }) ==
        "never taken: any branch of elu((3,)) but the one with slope 1\n");
  CHECK(notes([](const Tensor& t) { return relu(t - 2.5) + tanh(t) + exp(t); }).empty());
}

TEST_CASE("branches inside records are reported: relu of a product, clip, where the largest lies") {
  const Tensor rows = tensor({{1.0, 2.0, 3.0}, {2.0, 4.0, 9.0}}, f64), ones = full({3, 2}, 1, f64);
  const auto notes = [&](auto f, const Tensor& x) {
    std::string all;
    const auto report = gradcheck([&](const Tensors& at) { return f(at[0]); }, {x});
    for (const auto& note : report.notes()) all += note + "\n";
    return all;
  };
  const auto fused = [&](double by) {
    return [&, by](const Tensor& t) { return affine(t, ones * by, {}, FusedActivation::relu); };
  };
  CHECK(notes(fused(1), rows) == "never taken: the branch of affine_relu((2, 3), (3, 2)) with slope 0\n");
  CHECK(notes(fused(-1), rows) == "never taken: the branch of affine_relu((2, 3), (3, 2)) with slope 1\n");
  CHECK(notes(fused(1), rows - tensor({0.0, 0.0, 8.0}, f64)).empty());
  const auto image = [](const Tensor& t) { return reshape(t, {1, 1, t.shape()[0], t.shape()[1]}); };
  const auto filtered = [&](const Tensor& t) {
    return conv2d(image(t), full({1, 1, 1, 2}, 1, f64), {}, {.activation = FusedActivation::relu});
  };
  CHECK(notes(filtered, rows) == "never taken: the branch of conv2d_relu((1, 1, 2, 3), (1, 1, 1, 2)) with slope 0\n");
  CHECK(notes([](const Tensor& t) { return clip(t, 0, 5); }, rows) ==
        "never taken: the branch of clip((2, 3), high=5) below its bounds\n");
  CHECK(notes([](const Tensor& t) { return clip(t, 20, INFINITY); }, rows) ==
        "never taken: the branch of clip((2, 3), low=20, high=inf) between its bounds\n");
  CHECK(notes([](const Tensor& t) { return clip(t, 1.5, 5); }, rows).empty());
  CHECK(notes([](const Tensor& t) { return max(t, 1); }, rows) ==
        "never taken: any of the 3 places of max((2, 3), axes=[1]) but place 2\n");
  CHECK(notes([](const Tensor& t) { return min(t, {0, 1}); }, rows).empty());  // one element has one place
  CHECK(notes([](const Tensor& t) { return min(t, 0); }, rows) ==
        "never taken: any of the 2 places of min((2, 3), axes=[0]) but place 0\n");
  const Tensor turned = tensor({{1.0, 2.0, 3.0}, {8.0, 4.0, 7.0}}, f64);
  CHECK(notes([](const Tensor& t) { return max(t, 1); }, turned).empty());
  CHECK(notes([](const Tensor& t) { return max(t); }, tensor({1.0, 2.0}, f64)) ==
        "never taken: any of the 2 places of max((2,)) but place 1\n");
  const auto pooled = [&](const Tensor& t) { return max_pool2d(image(t), {.strides = 1}); };
  CHECK(notes(pooled, rows) ==
        "never taken: any of the 4 places of max_pool2d((1, 1, 2, 3), strides=[1, 1]) but place 3\n");
  CHECK(notes(pooled, turned).empty());
}

TEST_CASE("f32 inputs are checked in f64, and a function that takes f32 only within f32's bounds") {
  const Tensor x = tensor({0.3, -1.2, 2.0});
  const auto wide = gradcheck([](const Tensors& at) { return sin(at[0]); }, {x});
  CHECK(pair_of(wide, "input 0").bound < 1e-7);
  const auto narrow = gradcheck([](const Tensors& at) { return sin(at[0]) * tensor({1.0, 2.0, 3.0}); }, {x});
  CHECK(narrow.ok());
  CHECK(narrow.text().find("f takes f32 only") != std::string::npos);
  CHECK(!gradcheck([](const Tensors& at) { return sin(at[0]) * detach(at[0]) * tensor(2.0f); }, {x}).ok());
}

TEST_CASE("large inputs and outputs are checked at elements drawn from the seed and in directions, which is said") {
  Random random(4);
  const Tensor x = random.normal({40, 30}, f64), w = random.normal({30, 20}, f64);
  const auto f = [](const Tensors& in) { return tanh(matmul(in[0], in[1])); };
  const auto report = gradcheck(f, {x, w}, {.seed = 9});
  CAPTURE(report.text());
  CHECK(report.ok());
  CHECK(pair_of(report, "input 0").tried < pair_of(report, "input 0").elements);
  CHECK(pair_of(report, "input 0").elements == 1200 * 800);
  CHECK(report.text().find("drawn with seed 9") != std::string::npos);
  CHECK(report.text() == gradcheck(f, {x, w}, {.seed = 9}).text());
  CHECK(gradcheck(f, {x, w}, {.elements = 1200, .exact = false}).notes().empty());
}

TEST_CASE("each output of a function has its own pairs") {
  const auto f = [](const Tensors& in) { return Tensors{in[0] * in[1], sum(exp(in[0])), argmax(in[1])}; };
  const auto report = gradcheck(f, {tensor({1.0, 2.0}, f64), tensor({3.0, 5.0}, f64)},
                                {.order = 2, .names = {"a", "b"}, .outputs = {"product", "total", "place"}});
  CAPTURE(report.text());
  CHECK(report.ok());
  CHECK(report.text().find("a -> product: pass") != std::string::npos);
  CHECK(report.text().find("b -> total: vacuous") != std::string::npos);
  CHECK(report.text().find("a -> gradient of b, second order: pass") != std::string::npos);
  CHECK(report.text().find("place") == std::string::npos);
}

TEST_CASE("derivatives are checked to the fourth order") {
  const auto report = gradcheck([](const Tensors& x) { return sum(exp(x[0]) * sin(x[1]) * x[0]) / sum(square(x[1])); },
                                {tensor({0.5, -0.25}, f64), tensor({1.0, 0.75}, f64)}, {.order = 4, .relative = 1e-7});
  CAPTURE(report.text());
  CHECK(report.ok());
  CHECK(pair_of(report, "input 0", 4).verdict == Verdict::pass);
  CHECK(pair_of(report, "input 1", 4).tried == 2 * 2);
}

TEST_CASE("identities without differences hold to 1e-12, and a gradient that is not linear breaks one") {
  Random random(5);
  const auto report = gradcheck([](const Tensors& in) { return log_softmax(matmul(in[0], in[1]), -1); },
                                {random.normal({4, 3}, f64), random.normal({3, 5}, f64)}, {.order = 2});
  REQUIRE(report.exact().size() == 10);
  for (const ExactCheck& check : report.exact()) {
    CAPTURE(check.name);
    CHECK(check.ok);
    CHECK(check.left == doctest::Approx(check.right).epsilon(1e-12));
    CHECK(check.left != 0);
  }
}

TEST_CASE("an op whose gradient has none is checked to first order, and the report says so") {
  OpRecord<> cube{.name = "test_cube_slope",
                  .doc = "3 x² g.",
                  .shape = same_floating,
                  .forward = [](const NoArgs&, Inputs in, Output out) {
                    each(in, out, [](auto x, auto g) { return 3 * x * x * g; });
                  }};
  static const TypedOp<> slope(std::move(cube));
  OpRecord<> record{
      .name = "test_cube",
      .doc = "x³.",
      .shape = same_floating,
      .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x * x * x; }); },
      .keeps = Keep::input,
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {apply(slope, {call.input(0), g})};
      },
      .samples = {{.inputs = {sample::uniform({3})}}}};
  const TypedOp<> op(std::move(record));
  const auto report = gradcheck(op);
  CAPTURE(report.text());
  CHECK(report.ok());
  CHECK(report.text().find("test_cube_slope has no gradient: derivatives above order 1 do not exist") !=
        std::string::npos);
}

TEST_CASE("a function that computes beside its record fails with no op to blame, which is said") {
  const auto report = gradcheck([](const Tensors& x) { return exp(x[0]) * detach(x[0]); }, {single(1.5)});
  CHECK(!report.ok());
  CHECK(report.culprits().empty());
  CHECK(report.text().find("every recorded op is right by itself") != std::string::npos);
}

TEST_CASE("the report as JSON says what the text says") {
  const auto report = gradcheck([](const Tensors& x) { return sqrt(x[0]) * detach(x[0]); }, {tensor({0.0, 4.0}, f64)});
  const auto json = nlohmann::json::parse(report.json());
  CHECK(json["ok"] == false);
  CHECK(json["seed"] == 1);
  CHECK(json["pairs"][0]["input"] == "input 0");
  CHECK(json["pairs"][0]["verdict"] == "fail");
  CHECK(json["pairs"][0]["input_index"] == std::vector<int>{1});
  CHECK(json["pairs"][0]["analytic"] == doctest::Approx(1));   // x / 2√x of the record alone
  CHECK(json["pairs"][0]["numerical"] == doctest::Approx(3));  // 3/2 √x of the whole
}

TEST_CASE("gradients so small or large that their squares are 0 or infinite are right, and wrong ones are not") {
  Random random(1);
  const Tensor x = random.normal({4}, f64), many = random.normal({120}, f64);
  for (const double scale : {1e-170, 1e-250, 1e-290, 1e170, 1e250}) {
    CAPTURE(scale);
    CHECK(gradcheck([=](const Tensors& in) { return in[0] * scale; }, {x}, {.order = 2}));
  }
  CHECK(gradcheck([](const Tensors& in) { return prod(exp(square(in[0]) * -0.5) * 0.01); }, {many}));
  const FunctionOfTensors tiny = [](const Tensors& in) { return in[0] * 2e-250; };
  const GradientRule not_its = [](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * 3e-250}; };
  CHECK(gradcheck(custom_gradient(tiny, not_its), {x}).wrong());
}

TEST_CASE("a program can say which ops its checks met, and to which order") {
  const auto count = [](const std::string& op) {
    for (const OpCoverage& row : gradcheck_coverage())
      if (row.op == op) return std::pair(row.first, row.higher);
    return std::pair<std::int64_t, std::int64_t>();
  };
  const auto before = count("sin"), cos_before = count("cos");
  gradcheck([](const Tensors& x) { return sin(x[0]); }, {single(1)}, {.order = 2});
  CHECK(count("sin").first == before.first + 1);
  CHECK(count("sin").second == before.second + 1);
  CHECK(count("cos").first == cos_before.first + 1);  // the gradient of sin, differentiated
  CHECK(gradcheck_coverage_text().find("sin ") != std::string::npos);
}

TEST_CASE(
    "the table of what was checked says that the derivative of stop_gradient is 0 by definition, and of no other") {
  const std::string table = gradcheck_coverage_text();
  const std::size_t row = table.find("\nstop_gradient ") + 1, zero = table.find("derivative 0 by definition");
  REQUIRE(row != 0);
  CHECK(zero > row);
  CHECK(zero < table.find('\n', row));
  CHECK(table.find("derivative 0 by definition", zero + 1) == std::string::npos);
}

TEST_CASE("an op is checked by its name, and a name that there is not is refused") {
  CHECK(gradcheck("softmax"));
  CHECK(gradcheck("stop_gradient").text() == "nothing was checked: the record of stop_gradient has no samples");
  CHECK_THROWS_WITH_AS(gradcheck("softmaxx"), doctest::Contains("there is no op \"softmaxx\""), Error);
}
