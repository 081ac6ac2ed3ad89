// Many calls of an op as one, and the Jacobians that stand on it.
#include <doctest/doctest.h>
#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/autodiff/forward.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/autodiff/transforms.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/products.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/record.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/scans.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>
#include <twopass/ops/stacking.h>

#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

using namespace twopass;

namespace {

bool close(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape()) || a.dtype() != b.dtype()) return false;
  const auto x = a.values<double>(), y = b.values<double>();
  for (std::size_t k = 0; k < x.size(); ++k)
    if (!(x[k] == doctest::Approx(y[k]).epsilon(1e-13).scale(1)) && !(std::isnan(x[k]) && std::isnan(y[k])))
      return false;
  return true;
}

Tensor by_rule(const std::string& name, const Tensors& inputs, const std::vector<bool>& which) {
  const Op* op = find_op(name);
  return op->stacked(op->arguments(op->defaults()).get(), inputs, which);
}

// The ops without a rule for calls side by side among the calls that a linear function makes of a tensor like x.
std::set<std::string> one_by_one(const std::function<Tensors(const Tensor&)>& map, const Tensor& x) {
  const Tensor v = symbol(x.shape(), x.dtype(), "v");
  const Tensors results = map(v);
  std::set<std::string> names;
  for (Node* node : nodes_behind(results, v.node().number)) {
    if (!node->is(Node::kSymbol) || node->is(Node::kLeaf) || node->op->elementwise()) continue;
    Tensors inputs;
    std::vector<bool> which;
    for (const Node::Edge& edge : node->edges()) {
      which.push_back(edge.node()->is(Node::kSymbol));
      const Tensor input(edge.node());
      inputs.push_back(which.back() ? ones(input.shape().inserted(0, 2), input.dtype()) : detach(input));
    }
    if (!node->op->stacked(node->arguments.get(), inputs, which).defined()) names.insert(node->op->name());
  }
  return names;
}

}  // namespace

TEST_CASE("every op gives for tensors side by side what it gives for each, whichever inputs are the same for all") {
  constexpr int kCalls = 3;
  int compared = 0;
  for (const Op* op : all_ops())
    for (std::size_t s = 0; s < op->samples().size(); ++s) {
      const Op::Sample& sample = op->samples()[s];
      const std::size_t inputs = sample.inputs.size();
      if (inputs == 0 || inputs > 5) continue;
      for (unsigned mask = 1; mask < 1U << inputs; ++mask) {
        std::vector<Tensors> calls(kCalls);
        std::vector<bool> which;
        Tensors together;
        for (std::size_t k = 0; k < inputs; ++k) {
          which.push_back(mask >> k & 1U);
          Tensors each;
          for (int call = 0; call < kCalls; ++call) {
            Random random(seed_of(call == 0 || which[k] ? static_cast<std::uint64_t>(call) : 0, op->name() + "x"));
            each.push_back(which[k] || call == 0 ? sample.inputs[k].draw(random, f64) : each[0]);
            calls[static_cast<std::size_t>(call)].push_back(each.back());
          }
          together.push_back(which[k] ? stack(each) : each[0]);
        }
        Tensors expected;
        for (const Tensors& call : calls) expected.push_back(apply(*op, sample.arguments, call));
        CAPTURE(op->name());
        CAPTURE(s);
        CAPTURE(mask);
        CHECK(close(apply_stacked(*op, sample.arguments, together, which), stack(expected)));
        ++compared;
      }
    }
  CHECK(compared > 600);
}

TEST_CASE("Jacobians of every op in either mode, and Hessians, are made of calls that go side by side") {
  std::set<std::string> found;
  int maps = 0;
  for (const Op* op : all_ops())
    for (const Op::Sample& sample : op->samples()) {
      if (!op->differentiable()) continue;
      Random random(seed_of(1, op->name()));
      Tensors at, of;
      for (const sample::Input& input : sample.inputs) {
        const Tensor x = input.draw(random, f64);
        at.push_back(is_floating(x.dtype()) ? variable(x) : x);
        if (is_floating(x.dtype())) of.push_back(at.back());
      }
      const Tensor y = apply(*op, sample.arguments, at);
      if (!y.recorded()) continue;
      CAPTURE(op->name());
      found.merge(one_by_one([&](const Tensor& v) { return gradients(y, of, {.seed = v}); }, y));
      const Tensors slopes = gradients(y, of, {.seed = random.normal(y.shape(), f64), .record = true});
      for (const Tensor& x : of) {
        found.merge(one_by_one([&](const Tensor& v) { return tangents({y}, {x}, {v}); }, x));
        if (op->name() != "ctc_slope")  // its slope has no derivative
          found.merge(one_by_one([&](const Tensor& v) { return tangents(slopes, {x}, {v}); }, x));
        ++maps;
      }
    }
  CHECK(maps > 200);
  std::string names;
  for (const std::string& name : found) names += name + " ";
  CHECK(names == "");
}

TEST_CASE("rules for calls side by side are used: one product for all rows of a Jacobian") {
  const Tensor w = Random(1).normal({5, 4}, f64);
  const Tensor together = by_rule("matmul", {Random(2).normal({7, 2, 5}, f64), w}, {true, false});
  CHECK(together.shape() == Shape({7, 2, 4}));
  CHECK(by_rule("sum", {ones({7, 2})}, {true}).shape() == Shape({7}));
  CHECK(!by_rule("cumprod", {ones({7, 2})}, {true}).defined());
}

TEST_CASE(
    "no calls at all give nothing, of the right shape, and one gives its own; a rule that gives another shape is "
    "refused with its op") {
  const Op* sums = find_op("cumsum");
  CHECK(apply_stacked(*sums, sums->arguments(sums->defaults()), {zeros({0, 3}, f64)}, {true}).shape() == Shape({0, 3}));
  const Tensor alone = apply_stacked(*sums, sums->arguments(sums->defaults()), {tensor({{1.0, 2.0}}, f64)}, {true});
  CHECK(close(alone, tensor({{1.0, 3.0}}, f64)));
  const TypedOp<> op(
      {.name = "stacked_wrongly",
       .doc = "x, copied.",
       .shape = same_floating,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x; }); },
       .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {g}; },
       .stacked = [](const NoArgs&, const Tensors& in, const std::vector<bool>&) -> Tensor { return sum(in[0], -1); }});
  CHECK_THROWS_WITH_AS(apply_stacked(op, {}, {ones({4, 2}, f64)}, {true}),
                       "4 calls of stacked_wrongly side by side give f64 (4,), where each gives f64 (2,): see its "
                       "record's stacked",
                       Error);
}

TEST_CASE("the check of an op finds a rule for calls side by side that is wrong") {
  const TypedOp<> op(
      {.name = "stacked_thrice",
       .doc = "2 x.",
       .shape = same_floating,
       .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return x + x; }); },
       .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {g * 2.0}; },
       .stacked = [](const NoArgs&, const Tensors& in, const std::vector<bool>&) -> Tensor { return in[0] * 3.0; },
       .samples = {{{}, {sample::uniform({3})}}}});
  const GradcheckReport report = gradcheck(op);
  CHECK(!report.ok());
  CHECK(report.text().find("sample 0, calls side by side: fail") != std::string::npos);
}

TEST_CASE("Jacobians through shapes without room for one axis more, and of more rows than go at once, are right") {
  const Shape many({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3});
  const Tensor x = tensor({1.0, 2.0, 3.0}, f64);
  const Tensor squares = jacobian([&](const Tensor& t) { return reshape(square(reshape(t, many)), {3}); }, x);
  CHECK(close(squares, diag(x * 2.0)));
  const Tensor wide = Random(8).normal({3000}, f64);
  CHECK(close(jacobian([](const Tensor& t) { return square(t); }, wide), diag(wide * 2.0)));
}

TEST_CASE(
    "Jacobians are the same in one go, in parts and row by row, with ops that have no rule and functions of users") {
  const Tensor w = Random(3).normal({30, 20}, f64), x = Random(4).normal({3, 30}, f64);
  const auto doubled = custom_gradient([](const Tensors& in) { return in[0] * 2.0; },
                                       [](const Tensors&, const Tensor&, const Tensor& g) { return Tensors{g * 2.0}; });
  const auto f = [&](const Tensor& t) {
    const Tensor h = softmax(tanh(matmul(t, w)) + sum(t, -1, keep_axis));
    return doubled({cumsum(h, 1) * slice(t, 1, 0, 20)});
  };
  const Tensor whole = jacobian(f, x);
  REQUIRE(whole.shape() == Shape({3, 20, 3, 30}));
  for (const std::int64_t at : {0, 17, 59}) {
    const Tensor unit = reshape(one_hot(tensor({at}), 60, f64), {3, 20});
    CHECK(close(slice(reshape(whole, {60, 3, 30}), 0, at, at + 1), expand_dims(vjp(f, x, unit).second, 0)));
  }
}

TEST_CASE("a Jacobian that is differentiated or planned asks each gradient once for all rows") {
  int asked = 0;
  const auto cube = custom_gradient([](const Tensors& in) { return in[0] * in[0] * in[0]; },
                                    [&](const Tensors& in, const Tensor&, const Tensor& g) -> Tensors {
                                      ++asked;
                                      return {g * in[0] * in[0] * 3.0};
                                    });
  const Tensor w = Random(5).normal({40, 30}, f64), at = Random(6).normal({40}, f64);
  const auto f = [&](const Tensor& t) { return cube({reshape(matmul(reshape(t, {1, 40}), w), {30})}); };
  // Σ J for f_j = (x w)_j³ is Σ_j 3 (x w)_j² Σ_i w_ij, so that its gradient for x_k is Σ_j 6 (x w)_j Σ_i w_ij w_kj.
  const Tensor x = variable(at);
  const Tensor total = sum(jacobian(f, x));
  CHECK(asked <= 3);  // as it is, as a trace
  const Tensor h = reshape(matmul(reshape(at, {1, 40}), w), {30});
  CHECK(close(backward(total)[x], sum(6.0 * h * sum(w, 0) * w, 1)));

  const Plan planned = plan([&](const Tensors& in) -> Tensors { return {jacobian(f, in[0])}; }, {at});
  CHECK(asked <= 8);
  CHECK(close(planned({at})[0], jacobian(f, at)));
  CHECK(planned.steps() < 30);
}

TEST_CASE(
    "a Jacobian of a Jacobian is that of calculus, through functions that are linear and that ignore their input") {
  // f = (x₀² x₁, 2 x₁, 5): all second derivatives are 0 but 2 x₁ for x₀ twice and 2 x₀ for both.
  const auto f = [](const Tensor& x) {
    const Tensor a = slice(x, 0, 0, 1), b = slice(x, 0, 1, 2);
    return concat({a * a * b, b * 2.0, full({1}, 5.0, f64)});
  };
  const auto first = [&](const Tensor& x) { return jacobian(f, x); };
  const Tensor second = jacobian(first, tensor({3.0, 7.0}, f64));
  REQUIRE(second.shape() == Shape({3, 2, 2}));
  CHECK(second.values<double>() == std::vector<double>{14, 6, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0});
}
