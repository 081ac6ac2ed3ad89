// The checker is checked: gradients that are wrong on purpose, each beside the right one.
#include <doctest/doctest.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>

#include <functional>

using namespace twopass;

namespace {

using Forward = std::function<Tensor(const Tensors&)>;
// The parameters of forward functions and rules: inputs, output, seed.
using In = const Tensors&;
using One = const Tensor&;

struct Planted {
  std::string mistake;
  Tensors inputs;
  Forward forward;
  GradientRule right, wrong;
  int order = 1;
};

Tensor drawn(const Shape& shape, std::uint64_t seed = 1, double low = -2, double high = 2) {
  return Random(seed).uniform(shape, f64, low, high);
}

std::vector<Planted> elementwise_mistakes() {
  const Tensor zero = tensor(0.0, f64), one = tensor(1.0, f64);
  const Tensor x23 = tensor({{0.5, -1.5, 1.25}, {-0.3, 0.9, -0.7}}, f64), positive = drawn({2, 3}, 2, 0.5, 2);
  return {
      {"a factor of 1.0005",
       {x23},
       [](In x) { return square(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * x[0] * 2.0}; },
       [](In x, One, One g) -> Tensors { return {g * x[0] * 2.001}; }},
      {"a factor of 1 + 1e-6",
       {x23},
       [](In x) { return sin(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * cos(x[0])}; },
       [](In x, One, One g) -> Tensors { return {g * cos(x[0]) * (1 + 1e-6)}; }},
      {"1e-6 added",
       {x23},
       [](In x) { return sin(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * cos(x[0])}; },
       [](In x, One, One g) -> Tensors { return {g * cos(x[0]) + 1e-6}; }},
      {"a sign",
       {x23},
       [](In x) { return exp(x[0]); },
       [](In, One y, One g) -> Tensors { return {g * y}; },
       [](In, One y, One g) -> Tensors { return {neg(g * y)}; }},
      {"a sign of the second input",
       {x23, drawn({2, 3}, 3)},
       [](In x) { return x[0] - x[1]; },
       [](In, One, One g) -> Tensors {
         return {g, neg(g)};
       },
       [](In, One, One g) -> Tensors {
         return {g, g};
       }},
      {"swapped inputs",
       {x23, drawn({2, 3}, 3)},
       [](In x) { return x[0] * x[1]; },
       [](In x, One, One g) -> Tensors {
         return {g * x[1], g * x[0]};
       },
       [](In x, One, One g) -> Tensors {
         return {g * x[0], g * x[1]};
       }},
      {"swapped gradients",
       {x23, positive},
       [](In x) { return x[0] / x[1]; },
       [](In x, One y, One g) -> Tensors {
         return {g / x[1], neg(g * y / x[1])};
       },
       [](In x, One y, One g) -> Tensors {
         return {neg(g * y / x[1]), g / x[1]};
       }},
      {"a dropped term of the product rule",
       {x23},
       [](In x) { return x[0] * exp(x[0]); },
       [](In x, One y, One g) -> Tensors { return {g * (exp(x[0]) + y)}; },
       [](In, One y, One g) -> Tensors { return {g * y}; }},
      {"a forgotten square",
       {x23},
       [](In x) { return tanh(x[0]); },
       [](In, One y, One g) -> Tensors { return {g * (1.0 - y * y)}; },
       [](In, One y, One g) -> Tensors { return {g * (1.0 - y)}; }},
      {"the input where the output is meant",
       {x23},
       [](In x) { return sigmoid(x[0]); },
       [](In, One y, One g) -> Tensors { return {g * y * (1.0 - y)}; },
       [](In x, One, One g) -> Tensors { return {g * x[0] * (1.0 - x[0])}; }},
      {"a forgotten half",
       {positive},
       [](In x) { return sqrt(x[0]); },
       [](In, One y, One g) -> Tensors { return {g / (y * 2.0)}; },
       [](In, One y, One g) -> Tensors { return {g / y}; }},
      {"a forgotten logarithm",
       {positive, x23},
       [](In x) { return pow(x[0], x[1]); },
       [](In x, One y, One g) -> Tensors {
         return {g * x[1] * y / x[0], g * y * log(x[0])};
       },
       [](In x, One y, One g) -> Tensors {
         return {g * x[1] * y / x[0], g * y};
       }},
      {"an exponent that is one too large",
       {positive},
       [](In x) { return pow(x[0], 3.0); },
       [](In x, One, One g) -> Tensors { return {g * pow(x[0], 2.0) * 3.0}; },
       [](In x, One, One g) -> Tensors { return {g * pow(x[0], 3.0) * 3.0}; }},
      {"no mask",
       {x23},
       [](In x) { return relu(x[0]); },
       [=](In x, One, One g) -> Tensors { return {where(greater(x[0], zero), g, g * 0.0)}; },
       [](In, One, One g) -> Tensors { return {g}; }},
      {"a mask the wrong way round",
       {x23},
       [](In x) { return relu(x[0]); },
       [=](In x, One, One g) -> Tensors { return {where(greater(x[0], zero), g, g * 0.0)}; },
       [=](In x, One, One g) -> Tensors { return {where(less(x[0], zero), g, g * 0.0)}; }},
      {"another slope below 0",
       {x23},
       [](In x) { return leaky_relu(x[0], 0.1); },
       [=](In x, One, One g) -> Tensors { return {where(greater(x[0], zero), g, g * 0.1)}; },
       [=](In x, One, One g) -> Tensors { return {where(greater(x[0], zero), g, g * 0.01)}; }},
      {"wrong for negative numbers alone",
       {x23},
       [](In x) { return abs(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * sign(x[0])}; },
       [](In, One, One g) -> Tensors { return {g}; }},
      {"gradient beyond the bounds",
       {x23},
       [](In x) { return clip(x[0], -1, 1); },
       [=](In x, One, One g) -> Tensors { return {where(less(abs(x[0]), one), g, g * 0.0)}; },
       [=](In x, One, One g) -> Tensors { return {where(less(x[0], one), g, g * 0.0)}; }},
      {"no gradient at all",
       {x23},
       [](In x) { return sin(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * cos(x[0])}; },
       [](In, One, One) -> Tensors { return {Tensor()}; }},
      {"computed in single precision",
       {x23},
       [](In x) { return exp(x[0]); },
       [](In, One y, One g) -> Tensors { return {g * y}; },
       [](In, One y, One g) -> Tensors { return {g * cast(cast(y, f32), f64)}; }},
      {"one element in a hundred",
       {drawn({100})},
       [](In x) { return sin(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * cos(x[0])}; },
       [=](In x, One, One g) -> Tensors {
         return {g * cos(x[0]) * (1.0 - cast(equal(arange(0, 100, 1, f64), one * 41.0), f64))};
       }},
      {"an error that sums to 0",
       {x23},
       [](In x) { return sin(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * cos(x[0])}; },
       [](In x, One, One g) -> Tensors {
         return {g * cos(x[0]) + tensor({{1.0, -1.0, 0.0}, {1.0, 0.0, -1.0}}, f64) * 1e-3};
       }},
      {"a gradient that is not linear in its seed",
       {x23},
       [](In x) { return square(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * x[0] * 2.0}; },
       [](In x, One, One g) -> Tensors { return {g * g * x[0] * 2.0}; }},
      {"a second derivative that is cut off",
       {x23},
       [](In x) { return square(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * x[0] * 2.0}; },
       [](In x, One, One g) -> Tensors { return {g * detach(x[0]) * 2.0}; },
       2},
      {"a second derivative for the seed that is cut off",
       {x23},
       [](In x) { return square(x[0]); },
       [](In x, One, One g) -> Tensors { return {g * x[0] * 2.0}; },
       [](In x, One, One g) -> Tensors { return {detach(g) * x[0] * 2.0}; },
       2},
  };
}

std::vector<Planted> shape_mistakes() {
  const Tensor x23 = drawn({2, 3}), x33 = drawn({3, 3}), x4 = drawn({4});
  const Tensor indices = tensor({0, 2, 0}), tied = tensor({1.0, 3.0, 3.0, 2.0}, f64);
  return {
      {"a missing sum over the broadcast axis",
       {x23, drawn({3}, 3)},
       [](In x) { return x[0] + x[1]; },
       [](In, One, One g) -> Tensors {
         return {g, sum(g, {0})};
       },
       [](In, One, One g) -> Tensors {
         return {g, reshape(slice(g, 0, 0, 1), {3})};
       }},
      {"a mean for a sum over the broadcast axis",
       {x23, drawn({3}, 3)},
       [](In x) { return x[0] + x[1]; },
       [](In, One, One g) -> Tensors {
         return {g, sum(g, {0})};
       },
       [](In, One, One g) -> Tensors {
         return {g, mean(g, {0})};
       }},
      {"the wrong axis",
       {x33},
       [](In x) { return sum(x[0] * x[0], {0}); },
       [](In x, One, One g) -> Tensors { return {x[0] * expand_dims(g, 0) * 2.0}; },
       [](In x, One, One g) -> Tensors { return {x[0] * expand_dims(g, 1) * 2.0}; }},
      {"a mean that is not divided",
       {x23},
       [](In x) { return mean(x[0]); },
       [](In, One, One g) -> Tensors {
         return {broadcast_to(g / 6.0, {2, 3})};
       },
       [](In, One, One g) -> Tensors {
         return {broadcast_to(g, {2, 3})};
       }},
      {"the wrong correction",
       {x4},
       [](In x) { return var(x[0], {}, KeepAxis::no, 1); },
       [](In x, One, One g) -> Tensors { return {(x[0] - mean(x[0])) * g * (2.0 / 3)}; },
       [](In x, One, One g) -> Tensors { return {(x[0] - mean(x[0])) * g * (2.0 / 4)}; }},
      {"a tie that is counted twice",
       {tied},
       [](In x) { return max(x[0]); },
       [](In, One, One g) -> Tensors {
         return {g * tensor({0.0, 0.5, 0.5, 0.0}, f64)};
       },
       [](In x, One y, One g) -> Tensors { return {g * cast(equal(x[0], y), f64)}; }},
      {"a tie of two inputs that is counted twice",
       {x4, x4},
       [](In x) { return maximum(x[0], x[1]); },
       [](In, One, One g) -> Tensors {
         return {g * 0.5, g * 0.5};
       },
       [](In, One, One g) -> Tensors {
         return {g, g};
       }},
      {"a tie that nobody gets",
       {x4, x4},
       [](In x) { return maximum(x[0], x[1]); },
       [](In, One, One g) -> Tensors {
         return {g * 0.5, g * 0.5};
       },
       [](In x, One, One g) -> Tensors {
         return {g * cast(greater(x[0], x[1]), f64), g * cast(greater(x[1], x[0]), f64)};
       }},
      {"a factor that is not transposed",
       {x33, drawn({3, 3}, 3)},
       [](In x) { return matmul(x[0], x[1]); },
       [](In x, One, One g) -> Tensors {
         return {matmul(g, transpose(x[1])), matmul(transpose(x[0]), g)};
       },
       [](In x, One, One g) -> Tensors {
         return {matmul(g, x[1]), matmul(transpose(x[0]), g)};
       }},
      {"a product the wrong way round",
       {x33, drawn({3, 3}, 3)},
       [](In x) { return matmul(x[0], x[1]); },
       [](In x, One, One g) -> Tensors {
         return {matmul(g, transpose(x[1])), matmul(transpose(x[0]), g)};
       },
       [](In x, One, One g) -> Tensors {
         return {matmul(g, transpose(x[1])), matmul(g, transpose(x[0]))};
       }},
      {"no transposition back",
       {x33},
       [](In x) { return transpose(x[0]); },
       [](In, One, One g) -> Tensors { return {transpose(g)}; },
       [](In, One, One g) -> Tensors { return {g}; }},
      {"halves that are swapped",
       {x4, drawn({4}, 3)},
       [](In x) {
         return concat({x[0], x[1]});
       },
       [](In, One, One g) -> Tensors {
         return {slice(g, 0, 0, 4), slice(g, 0, 4, 8)};
       },
       [](In, One, One g) -> Tensors {
         return {slice(g, 0, 4, 8), slice(g, 0, 0, 4)};
       }},
      {"an index off by one",
       {x4},
       [](In x) { return slice(x[0], 0, 1, 3); },
       [](In, One, One g) -> Tensors {
         return {pad(g, {{1, 1}})};
       },
       [](In, One, One g) -> Tensors {
         return {pad(g, {{2, 0}})};
       }},
      {"an index that is met twice and counted once",
       {x4},
       [=](In x) { return gather(x[0], indices); },
       [=](In, One, One g) -> Tensors { return {scatter_add(g, indices, 4)}; },
       [=](In, One, One g) -> Tensors {
         return {scatter_add(g * tensor({0.0, 1.0, 1.0}, f64), indices, 4)};
       }},
      {"a softmax without its sum",
       {x23},
       [](In x) { return softmax(x[0]); },
       [](In, One y, One g) -> Tensors { return {y * (g - sum(g * y, {-1}, keep_axis))}; },
       [](In, One y, One g) -> Tensors { return {y * g}; }},
      {"a sum over the whole instead of the row",
       {x23},
       [](In x) { return softmax(x[0]); },
       [](In, One y, One g) -> Tensors { return {y * (g - sum(g * y, {-1}, keep_axis))}; },
       [](In, One y, One g) -> Tensors { return {y * (g - sum(g * y))}; }},
      {"an exponential that is not normalised",
       {x4},
       [](In x) { return logsumexp(x[0]); },
       [](In x, One y, One g) -> Tensors { return {g * exp(x[0] - y)}; },
       [](In x, One, One g) -> Tensors { return {g * exp(x[0])}; }},
      {"an order that is not turned round",
       {x4},
       [](In x) { return matmul(x[0], cast(less_equal(expand_dims(arange(0, 4), 1), arange(0, 4)), f64)); },
       [](In, One, One g) -> Tensors {
         return {matmul(cast(less_equal(expand_dims(arange(0, 4), 1), arange(0, 4)), f64), g)};
       },
       [](In, One, One g) -> Tensors {
         return {matmul(g, cast(less_equal(expand_dims(arange(0, 4), 1), arange(0, 4)), f64))};
       }},
      {"a normalisation that forgets the mean's own derivative",
       {x4},
       [](In x) { return x[0] - mean(x[0]); },
       [](In, One, One g) -> Tensors { return {g - mean(g)}; },
       [](In, One, One g) -> Tensors { return {g}; }},
  };
}

GradcheckReport checked(const Planted& planted, const GradientRule& rule) {
  return gradcheck(custom_gradient(planted.forward, rule), planted.inputs, {.order = planted.order});
}

std::vector<Planted> all_mistakes() {
  std::vector<Planted> all = elementwise_mistakes();
  for (Planted& each : shape_mistakes()) all.push_back(std::move(each));
  return all;
}

}  // namespace

TEST_CASE("forty planted mistakes are all found, and none is seen where the gradient is right") {
  const std::vector<Planted> all = all_mistakes();
  CHECK(all.size() >= 40);
  for (const Planted& planted : all) {
    CAPTURE(planted.mistake);
    const GradcheckReport right = checked(planted, planted.right);
    CHECK_MESSAGE(right.ok(), right.text());
    const GradcheckReport wrong = checked(planted, planted.wrong);
    CHECK_MESSAGE(!wrong.ok(), wrong.text());
  }
}

TEST_CASE("a planted mistake is blamed in the middle of other ops, at each place where it stands") {
  for (const Planted& planted : all_mistakes()) {
    CAPTURE(planted.mistake);
    const auto wrong = custom_gradient(planted.forward, planted.wrong);
    // What comes before leaves the values as they are, so that ties stay ties.
    const auto f = [&](const Tensors& at) {
      Tensors given;
      for (const Tensor& x : at) given.push_back(neg(neg(x)));
      return exp(sigmoid(wrong(given)));
    };
    const GradcheckReport report = gradcheck(f, planted.inputs, {.order = planted.order});
    CAPTURE(report.text());
    REQUIRE(!report.ok());
    REQUIRE(report.culprits().size() == 1);
    CHECK(report.culprits()[0].op == "custom_gradient");
    CHECK(report.text().find("to blame: custom_gradient(") != std::string::npos);
  }
}

TEST_CASE("a buffer that the next call overwrites is found") {
  static Tensor scratch;
  const auto stale = custom_gradient([](In x) { return scratch = exp(x[0]); },
                                     [](In, One, One g) -> Tensors { return {g * scratch}; });
  const auto f = [&](In x) { return stale({x[0]}) * stale({x[1]}); };
  CHECK(!gradcheck(f, {drawn({3}, 1), drawn({3}, 2)}).ok());
  scratch = Tensor();
}
