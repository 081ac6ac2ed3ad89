// Points where branches of several ops meet: what is right beside them is no mistake there, and what is wrong is.
#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/doctest.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/callback.h>
#include <twopass/graph/model/model.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/grid_sampling.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/rounding.h>
#include <twopass/ops/shaping.h>

#include <functional>
#include <string>

using namespace twopass;

namespace {

Tensor zero() { return tensor({0.0}, f64); }

// relu(t) - relu(-t), which is t, and whose record says 0 at 0.
Tensor same(const Tensor& t) { return relu(t) - relu(-1.0 * t); }

// sin whose gradient is 1 % too large.
Tensor wrong_sin(const Tensor& x) {
  return custom_gradient(
      [](const Tensors& in) { return sin(in[0]); },
      [](const Tensors& in, const Tensor&, const Tensor& g) -> Tensors { return {g * cos(in[0]) * 1.01}; })({x});
}

// Transforms its images by an affine map that it learns, at first the identity.
class Transformer : public Layer {
 public:
  void build(const Shapes& inputs) override {
    const Shape& in = inputs[0];
    kernel_ = add_weight("kernel", {in[1] * in[2] * in[3], 6}, zeros_initializer());
    bias_ = add_weight("bias", {6}, [](const Shape&, DType dtype, Random&) {
      return tensor({1.0, 0.0, 0.0, 0.0, 1.0, 0.0}, dtype);
    });
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    const Shape& in = inputs[0].shape();
    const Tensor theta = reshape(matmul(flatten(inputs[0]), kernel_) + bias_, {-1, 2, 3});
    return {grid_sample(inputs[0], affine_grid(theta, {in[2], in[3]}))};
  }

 private:
  Parameter kernel_, bias_;
};

}  // namespace

TEST_CASE("where slopes of several branches do not add up at a point, the report says kink and which calls sit at it") {
  const GradcheckReport report = gradcheck([](const Tensors& in) { return sum(same(in[0])); }, {zero()});
  CAPTURE(report);
  CHECK(report.ok());
  REQUIRE(report.pairs().size() == 1);
  CHECK(report.pairs()[0].verdict == Verdict::kink);
  CHECK(report.text().find("analytic 0 beside the slopes 1 and 1, off by 1") != std::string::npos);
  CHECK(report.text().find("at a kink or a jump sits relu((1,)) (2 calls)") != std::string::npos);
  CHECK(report.text().find("beside the record") == std::string::npos);
  const auto ties = [](const Tensors& in) {
    return sum(maximum(in[0], -1.0 * in[0]) + minimum(in[0], -1.0 * in[0]) * 3.0 + abs(in[0]) * 2.0 + same(in[0]));
  };
  CHECK(!gradcheck(ties, {zero()}).wrong());
  const auto unasked = gradcheck([](const Tensors& in) { return sum(same(in[0])); }, {zero()}, {.blame = false});
  CHECK(unasked.json() == report.json());
}

TEST_CASE("a wrong gradient or a detached value is found where branches of several ops meet") {
  const auto wrong = [](auto f, const Tensor& at) {
    const GradcheckReport report = gradcheck([&](const Tensors& in) { return sum(f(in[0])); }, {at});
    CAPTURE(report);
    CHECK(report.wrong());
    const auto unasked = gradcheck([&](const Tensors& in) { return sum(f(in[0])); }, {at}, {.blame = false});
    CHECK(unasked.wrong());
    CHECK(unasked.culprits().empty());
    return report;
  };
  const auto blamed = wrong([](const Tensor& x) { return same(x) + wrong_sin(x); }, zero());
  CHECK(!blamed.culprits().empty());
  wrong([](const Tensor& x) { return same(x) * 2.0 + (x - detach(x)); }, zero());
  wrong([](const Tensor& x) { return same(x) + x * detach(exp(x)); }, zero());
  wrong([](const Tensor& x) { return same(x) + where(x >= 0.0, detach(x), x); }, zero());
  // Elements at a kink, and one that is none of them.
  wrong(
      [](const Tensor& x) {
        return same(x) + detach(x) * tensor({0.0, 0.0, 1e-3}, f64);
      },
      tensor({0.0, 0.0, 0.7}, f64));
  // No op sits at a kink here: the function asks for the point itself.
  wrong([](const Tensor& x) { return x.values<double>()[0] == 0 ? detach(x) : x * 1.0; }, zero());
}

TEST_CASE("calls that jump are named as those that bend, and those that only round are not") {
  const auto jumps = [](const Tensors& in) {
    const Tensor s = sign(in[0]);
    return sum(in[0] * s * s);
  };
  const GradcheckReport report = gradcheck(jumps, {zero()});
  CAPTURE(report);
  CHECK(report.ok());
  CHECK(report.text().find("at a kink or a jump sits sign((1,))") != std::string::npos);
  const auto rounded = [](const Tensors& in) { return sum(same(in[0]) + (in[0] + 1e8)); };
  const GradcheckReport beside = gradcheck(rounded, {zero()});
  CAPTURE(beside);
  CHECK(!beside.wrong());
  CHECK(beside.text().find("sits relu((1,)) (2 calls)") != std::string::npos);
}

TEST_CASE("what is wrong on one side of a kink, or in one corner of several, is found") {
  int corners = 0;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const auto wrong = [&](const auto& f, const Tensor& at) {
      return gradcheck([&](const Tensors& in) { return sum(f(in[0])); }, {at}, {.blame = false, .seed = seed}).wrong();
    };
    CHECK(wrong([](const Tensor& x) { return same(x) * 2.0 + where(x > 0.0, detach(x) - x, x * 0.0); }, zero()));
    CHECK(wrong([](const Tensor& x) { return same(x) * 2.0 + where(x < 0.0, detach(x) - x, x * 0.0); }, zero()));
    const auto corner = [](const Tensor& x) {
      const Tensor signs = tensor({1.0, -1.0}, f64), inside = min(x * signs);
      return same(x) * 2.0 + where(inside > 0.0, detach(x) - x, x * 0.0);
    };
    corners += wrong(corner, tensor({0.0, 0.0}, f64)) ? 1 : 0;
  }
  // By chance: lines through the point meet half of the corners each.
  CHECK(corners >= 3);
}

TEST_CASE("a function that computes something else beside a point of kinks has no excuse there") {
  const auto wrong = [](const std::function<Tensor(const Tensor&, bool)>& f) {
    const auto here = [&](const Tensors& in) { return sum(f(in[0], in[0].values<double>()[0] == 0)); };
    const GradcheckReport report = gradcheck(here, {zero()});
    CAPTURE(report);
    CHECK(report.wrong());
  };
  wrong([](const Tensor& x, bool zero) { return zero ? same(x) : same(x) + x; });
  wrong([](const Tensor& x, bool zero) { return same(x) + (zero ? cos(x) : exp(x)); });
}

TEST_CASE("a spatial transformer that begins with the identity is at kinks, and one that is wrong is wrong there") {
  Random random(1);
  const Tensor x = random.normal({1, 1, 4, 4}, f64), w = random.normal({1, 1, 4, 4}, f64);
  const Tensor identity = tensor({{{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}}}, f64);
  const auto f = [&](const Tensors& in) { return sum(w * grid_sample(x, affine_grid(in[0], {4, 4}))); };
  const GradcheckReport report = gradcheck(f, {identity});
  CAPTURE(report);
  CHECK(report.ok());
  CHECK(report.text().find("at a kink or a jump sits floor(") != std::string::npos);
  const auto detached = [&](const Tensors& in) { return f(in) + 0.1 * sum(detach(in[0]) * in[0]); };
  CHECK(gradcheck(detached, {identity}).wrong());
}

TEST_CASE("gradient_checks do not end the training of a spatial transformer that begins with the identity") {
  Random random(1);
  const Tensor image = input({1, 8, 8}, "image"), x = random.normal({16, 1, 8, 8}), y = random.normal({16, 3});
  Model model(image, Dense(3)(Flatten()(layer<Transformer>()(image))), {.seed = 1});
  model.compile({.loss = mean_squared_error()});
  CHECK_NOTHROW(model.fit(x, y, {.verbose = 0, .callbacks = {gradient_checks()}}));
}
