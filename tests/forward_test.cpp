// Forward mode: the rules of every record, and the pass that hands tangents on.
#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/forward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/normalization.h>
#include <twopass/ops/products.h>
#include <twopass/ops/record.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>

#include <cmath>

using namespace twopass;
using doctest::Approx;

namespace {

Tensor number(double x) { return tensor(x, f64); }

double dot(const Tensor& a, const Tensor& b) { return sum(a * b).item<double>(); }
double size(const Tensor& a) { return std::sqrt(dot(a, a)); }

void same(const Tensor& a, const Tensor& b, double relative = 1e-12) {
  REQUIRE(a.shape() == b.shape());
  for (std::int64_t k = 0; k < a.elements(); ++k)
    CHECK(a.at<double>(k) == Approx(b.at<double>(k)).epsilon(relative).scale(1));
}

// x², with a rule for tangents, whose gradient counts how often it is asked.
int gradients_asked = 0;
OpRecord<> square_record() {
  return {.name = "test_square",
          .doc = "x².",
          .shape = same_floating,
          .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x * x; }); },
          .keeps = Keep::first,
          .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
            ++gradients_asked;
            return {call.input(0) * g * 2.0};
          },
          .tangent = [](const NoArgs&, const Call& call, const Tensors& t) { return call.input(0) * t[0] * 2.0; },
          .samples = {{.inputs = {sample::uniform({3})}}}};
}

// 3 x by a record whose gradient uses what has none.
const TypedOp<>& opaque_op() {
  static const TypedOp<> op(
      {.name = "test_opaque",
       .doc = "3 x.",
       .shape = same_floating,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return 3 * x; }); }});
  return op;
}
const TypedOp<>& first_order_op() {
  static const TypedOp<> op(
      {.name = "test_first_order",
       .doc = "3 x.",
       .shape = same_floating,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return 3 * x; }); },
       .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {apply(opaque_op(), {g})}; }});
  return op;
}

}  // namespace

TEST_CASE("for every sample of every op J v is the transpose of the gradient, and so are its own derivatives") {
  for (const Op* op : all_ops()) {
    if (!op->differentiable()) continue;
    for (std::size_t number = 0; number < op->samples().size(); ++number) {
      const Op::Sample& sample = op->samples()[number];
      Random random(seed_of(11, op->name()));
      Tensors inputs, of, along, others;
      for (const auto& input : sample.inputs) {
        inputs.push_back(input.draw(random, f64));
        if (!is_floating(inputs.back().dtype())) continue;
        of.push_back(inputs.back() = variable(inputs.back()));
        along.push_back(variable(random.normal(of.back().shape(), f64)));
        others.push_back(random.normal(of.back().shape(), f64));
      }
      const Tensor y = apply(*op, sample.arguments, inputs);
      if (!y.recorded()) continue;
      const Tensor w = variable(random.normal(y.shape(), f64));
      INFO(op->name(), ", sample ", number);
      const Tensor forward = tangents({y}, of, along, {.record = true})[0];
      const Tensors back = gradients(y, of, {.seed = w, .record = true});
      double total = 0, sizes = size(w) * size(forward);
      for (std::size_t k = 0; k < of.size(); ++k) {
        total += dot(back[k], along[k]);
        sizes += size(back[k]) * size(along[k]);
      }
      CHECK(std::abs(dot(w, forward) - total) <= 1e-12 * sizes);
      // Where some stand still, they might as well move by zero.
      for (unsigned moving = 1; moving + 1 < 1U << of.size() && of.size() < 5; ++moving) {
        Tensors some, their, all = along;
        for (std::size_t k = 0; k < of.size(); ++k)
          if (moving >> k & 1)
            some.push_back(of[k]), their.push_back(along[k]);
          else
            all[k] = zeros(of[k].shape(), f64);
        same(tangents({y}, some, their)[0], tangents({y}, of, all)[0], 1e-10);
      }
      // wᵀ J v from both sides, differentiated for the inputs and for v.
      const auto slopes = [&](const Tensor& product, const Tensors& for_these, const Tensors& against) {
        double result = 0;
        if (!product.recorded()) return result;
        const Tensors found = gradients(product, for_these);
        for (std::size_t k = 0; k < found.size(); ++k) result += dot(found[k], against[k]);
        return result;
      };
      Tensor from_back = tensor(0.0, f64);
      for (std::size_t k = 0; k < of.size(); ++k) from_back = from_back + sum(back[k] * along[k]);
      const Tensor from_forward = sum(w * forward);
      if (op->name() == "ctc_slope") {  // a second derivative, of which there is none
        CHECK_THROWS_WITH_AS(slopes(from_forward, of, others), doctest::Contains("ctc_curvature has no gradient"),
                             Error);
        continue;
      }
      for (const Tensors& for_these : {of, along}) {
        const double a = slopes(from_forward, for_these, others), b = slopes(from_back, for_these, others);
        CHECK(a == Approx(b).epsilon(1e-10).scale(std::max(1.0, sizes)));
      }
    }
  }
}

TEST_CASE("jvp asks no gradient where records have rules for tangents") {
  const TypedOp<> op(square_record());
  gradients_asked = 0;
  const Tensor found = jvp([&](const Tensor& t) { return sum(apply(op, {apply(op, {t}) + t}) * 3.0); },
                           tensor({1.0, 2.0}, f64), tensor({1.0, -1.0}, f64));
  CHECK(found.item<double>() == Approx(3 * (2 * 2 * 3.0 - 2 * 6 * 5.0)));  // 3 Σ 2 (x² + x) (2 x + 1) v
  CHECK(gradients_asked == 0);
}

TEST_CASE("at ties, constants and poles, and of nothing, forward mode gives what gradients do") {
  CHECK(jvp([](const Tensor& x) { return max(x); }, tensor({2.0, 2.0, 1.0}, f64), tensor({1.0, 3.0, 9.0}, f64))
            .item<double>() == 2);
  const Tensor flat = full({3}, 4, f64), v = tensor({1.0, 0.0, 2.0}, f64);
  CHECK(jvp([](const Tensor& x) { return twopass::std(x); }, flat, v).item<double>() == 0);
  CHECK(jvp([](const Tensor& x) { return norm(x); }, zeros({3}, f64), v).item<double>() == 0);
  CHECK(jvp([](const Tensor& x) { return logsumexp(x); }, zeros({0}, f64), zeros({0}, f64)).item<double>() == 0);
  CHECK(jvp([](const Tensor& x) { return standardize(x); }, zeros({0, 2}, f64), zeros({0, 2}, f64)).elements() == 0);
  const double none = -INFINITY;
  CHECK(
      jvp([](const Tensor& x) { return logsumexp(x, 1); }, tensor({{none, none}, {none, 0.0}}, f64), ones({2, 2}, f64))
          .values<double>() == std::vector<double>{0, 1});
  // Where nothing moves, nothing comes, whatever the slope: x log x and 1 / x at 0.
  const Tensor x = tensor({0.0, 1.0, 2.0}, f64), still = tensor({0.0, 1.0, 1.0}, f64);
  CHECK(jvp([](const Tensor& t) { return t * log(t); }, x, still).values<double>() ==
        std::vector<double>{0, 1, std::log(2.0) + 1});
  CHECK(jvp([](const Tensor& t) { return 1.0 / t; }, x, still).values<double>() == std::vector<double>{0, -1, -0.25});
}

TEST_CASE("where a derivative does not exist forward mode says so, if the output depends on it") {
  const Tensor x = tensor({1.0, 2.0}, f64), v = ones({2}, f64);
  CHECK_THROWS_WITH_AS(jvp([](const Tensor& t) { return apply(opaque_op(), {t}) + t; }, x, v),
                       doctest::Contains("test_opaque has no gradient"), Error);
  // Nothing of it comes through a sign.
  const Tensor found = jvp([](const Tensor& t) { return sign(apply(opaque_op(), {t})) * t; }, x, v);
  CHECK(found.values<double>() == std::vector<double>{1, 1});
  // One whose gradient cannot be differentiated has no columns: its Jacobian is found by rows.
  const auto first_order = [](const Tensor& t) { return apply(first_order_op(), {t}); };
  CHECK_THROWS_WITH_AS(jvp(first_order, x, v), doctest::Contains("test_opaque has no gradient"), Error);
  CHECK(jacobian(first_order, x).values<double>() == std::vector<double>{3, 0, 0, 3});
}

TEST_CASE("an elementwise gradient that sums what was broadcast is transposed, not taken element by element") {
  const auto record = [] {
    return OpRecord<>{.name = "test_sub",
                      .doc = "a - b.",
                      .shape = [](const NoArgs&, const Specs& in) -> Spec {
                        return {broadcast(in.shape(0), in.shape(1)), in.dtype(0)};
                      },
                      .run =
                          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType) {
                            const double *a = in[0].data<double>(), *b = in[1].data<double>();
                            for (std::int64_t k = 0; k < n; ++k)
                              reinterpret_cast<double*>(out)[k] = a[in[0].splat ? 0 : k] - b[in[1].splat ? 0 : k];
                          },
                      .broadcasts = true,
                      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
                        return {g, neg(sum_to(g, call.shape(1)))};
                      }};
  };
  static const TypedOp<> op(record());
  const Tensor a = variable(ones({2, 3}, f64)), b = variable(ones({3}, f64)), t = tensor({1.0, 2.0, 3.0}, f64);
  const Tensor y = apply(op, {a, b});
  CHECK(tangents({y}, {b}, {t})[0].values<double>() == std::vector<double>{-1, -2, -3, -1, -2, -3});
}

TEST_CASE("a wrong rule for tangents is found by gradcheck and blamed, at first and at second order") {
  const auto checked = [](Tensor (*tangent)(const NoArgs&, const Call&, const Tensors&)) {
    OpRecord<> record = square_record();
    record.tangent = tangent;
    const TypedOp<> op(std::move(record));
    const auto f = [&](const Tensors& x) { return sum(exp(apply(op, {x[0]}) * 0.5)); };
    const GradcheckReport report = gradcheck(f, {tensor({0.5, -1.0, 0.25}, f64)}, {.order = 2});
    return std::pair(report.ok(), report.culprits().empty() ? "" : report.culprits()[0].op);
  };
  CHECK(checked(square_record().tangent) == std::pair(true, std::string()));
  const std::pair found(false, std::string("test_square"));
  CHECK(checked([](const NoArgs&, const Call& call, const Tensors& t) { return call.input(0) * t[0] * 2.0002; }) ==
        found);
  CHECK(checked([](const NoArgs&, const Call&, const Tensors&) { return Tensor(); }) == found);
  // Right in value, wrong in how it depends on the point or on the direction.
  CHECK(checked([](const NoArgs&, const Call& call, const Tensors& t) { return detach(call.input(0)) * t[0] * 2.0; }) ==
        found);
  CHECK(checked([](const NoArgs&, const Call& call, const Tensors& t) { return call.input(0) * detach(t[0]) * 2.0; }) ==
        found);
}

TEST_CASE("errors of rules for tangents name the op") {
  OpRecord<> record = square_record();
  record.tangent = [](const NoArgs&, const Call&, const Tensors& t) { return sum(t[0]); };
  const TypedOp<> wrong(std::move(record));
  const Tensor x = ones({3}, f64);
  CHECK_THROWS_WITH_AS(jvp([&](const Tensor& t) { return apply(wrong, {t}); }, x, x),
                       doctest::Contains("the tangent of test_square is f64 () but its output f64 (3,)"), Error);
  record = square_record();
  record.keeps = Keep::none;
  const TypedOp<> forgetful(std::move(record));
  CHECK_THROWS_WITH_AS(jvp([&](const Tensor& t) { return sum(apply(forgetful, {t * 2.0})); }, x, x),
                       doctest::Contains("in the tangent of test_square"), Error);
  CHECK_THROWS_WITH_AS(tangents({x}, {x}, {x}), doctest::Contains("a tensor of shape (3,) is not recorded"), Error);
  const Tensor at = variable(x);
  CHECK_THROWS_WITH_AS(tangents({at}, {at}, {}), doctest::Contains("1 tensor but 0 directions"), Error);
  CHECK_THROWS_WITH_AS(tangents({at}, {at}, {number(1)}), doctest::Contains("direction 0 is f64 () but its tensor"),
                       Error);
}

TEST_CASE("several outputs have their tangents from one pass, and each tensor moves as given") {
  const Tensor x = variable(tensor({1.0, 2.0}, f64));
  const Tensor square = x * x, cube = square * x, other = variable(x) * 2.0;
  const Tensor v = tensor({1.0, 1.0}, f64), still = zeros({2}, f64);
  const Tensors found = tangents({square, cube, other, x}, {x}, {v});
  CHECK(found[0].values<double>() == std::vector<double>{2, 4});
  CHECK(found[1].values<double>() == std::vector<double>{3, 12});
  CHECK(found[2].values<double>() == std::vector<double>{0, 0});
  CHECK(found[3].values<double>() == std::vector<double>{1, 1});
  // x² held still: d(x² x) = x² dx.
  CHECK(tangents({cube}, {x, square}, {v, still})[0].values<double>() == std::vector<double>{1, 4});
}

TEST_CASE("forward mode through a long chain needs no recursion and keeps few tangents") {
  constexpr std::int64_t kElements = 10'000, kBytes = kElements * 8;
  const auto chain = [](const Tensor& x, int length) {
    Tensor y = x;
    for (int k = 0; k < length; ++k) y = y * 1.0;
    return y;
  };
  const Tensor x = variable(number(0)), wide = variable(zeros({kElements}, f64));
  CHECK(tangents({chain(x, 200'000)}, {x}, {number(3)})[0].item<double>() == 3);
  const Tensor y = chain(wide, 100), v = ones({kElements}, f64);
  const std::int64_t before = memory::live_bytes();
  memory::reset_peak();
  CHECK(tangents({y}, {wide}, {v})[0].at<double>(0) == 1);
  CHECK(memory::peak_bytes() - before < 10 * kBytes);
}
