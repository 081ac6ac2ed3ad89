// What every op's record promises, checked for every op: a new op needs no new test.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/coverage.h>
#include <twopass/graph/autodiff/doctest.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/record.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

using namespace twopass;

namespace {

Tensors drawn(const Op& op, const Op::Sample& sample, DType dtype) {
  Random random(seed_of(5, op.name()));
  Tensors inputs;
  for (const auto& input : sample.inputs) inputs.push_back(input.draw(random, dtype));
  return inputs;
}

// Largest difference of two tensors, relative to the size of the numbers; equal infinities and NaNs are equal.
double distance(const Tensor& a, const Tensor& b) {
  double largest = 0;
  const auto x = a.values<double>(), y = b.values<double>();
  for (std::size_t k = 0; k < x.size(); ++k) {
    if (x[k] == y[k] || (std::isnan(x[k]) && std::isnan(y[k]))) continue;
    largest = std::max(largest, std::abs(x[k] - y[k]) / std::max(1.0, std::abs(y[k])));
  }
  return largest;
}

}  // namespace

TEST_CASE("every op has a name of its own, a sentence, an example and a refusal, and samples where it takes inputs") {
  std::set<std::string> names;
  for (const Op* op : all_ops()) {
    CAPTURE(op->name());
    CHECK(names.insert(op->name()).second);
    CHECK(op->doc().ends_with("."));
    CHECK(!op->examples().empty());
    CHECK(!op->refusals().empty());
    if (op->differentiable() && op->name() != "stop_gradient") CHECK(!op->samples().empty());
    CHECK(find_op(op->name()) == op);
  }
}

TEST_CASE("the gradient of every op agrees with numerical differentiation to second order") {
  std::set<std::string> first_order_only;
  for (const Op* op : all_ops()) {
    if (!op->differentiable() || op->samples().empty()) continue;
    const GradcheckReport report = gradcheck(*op);
    INFO(op->name());
    CHECK(report);
    for (const std::string& note : report.notes())
      if (note.find("derivatives above order 1 do not exist") != std::string::npos) first_order_only.insert(op->name());
  }
  for (const OpCoverage& row : gradcheck_coverage()) {
    if (!row.differentiable || find_op(row.op)->samples().empty()) continue;
    INFO(row.op);
    CHECK(row.first > 0);
    CHECK((row.higher > 0 || first_order_only.contains(row.op)));
  }
}

TEST_CASE("that the gradient of every op is linear in its seed is checked of each sample, to 1e-12") {
  constexpr const char* kLinearity = "linearity of the gradient in its seed";
  int checked = 0;
  for (const Op* op : all_ops()) {
    if (!op->differentiable()) continue;
    INFO(op->name());
    const GradcheckReport report = gradcheck(*op, {.order = 1, .draws = 1, .blame = false});
    std::size_t found = 0;
    for (const ExactCheck& check : report.exact()) {
      if (!check.name.ends_with(kLinearity)) continue;
      ++found;
      CAPTURE(check.name);
      CHECK(check.ok);
      const double size = std::max({std::abs(check.left), std::abs(check.right), 1.0});
      CHECK(std::abs(check.left - check.right) <= 1e-12 * size);
      checked += check.left != 0 ? 1 : 0;
    }
    CHECK(found == op->samples().size());
  }
  CHECK(checked > 150);
}

TEST_CASE("an op that is constant between its jumps has the verdict zero, and no other has") {
  std::set<std::string> zero;
  for (const Op* op : all_ops()) {
    if (!op->differentiable()) continue;
    const GradcheckReport report = gradcheck(*op, {.order = 1, .draws = 1, .blame = false});
    for (const GradcheckPair& pair : report.pairs())
      if (pair.verdict == Verdict::zero) zero.insert(op->name());
  }
  CHECK(zero == std::set<std::string>{"ceil", "det_sign", "floor", "round", "sign", "trunc", "win_share"});
  CHECK(gradcheck("floor").conclusive());
}

TEST_CASE("the samples of every op let each input matter that its gradient knows") {
  for (const Op* op : all_ops()) {
    if (!op->differentiable() || op->samples().empty()) continue;
    std::map<std::string, bool> matters;
    const GradcheckReport report = gradcheck(*op, {.order = 1, .exact = false});
    for (const GradcheckPair& pair : report.pairs())
      matters[pair.input.substr(pair.input.rfind(", ") + 2)] |= pair.verdict != Verdict::vacuous;
    Tensors at = drawn(*op, op->samples()[0], f64);
    for (Tensor& x : at)
      if (is_floating(x.dtype())) x = variable(x);
    const Tensor y = apply(*op, op->samples()[0].arguments, at);
    if (!y.recorded()) continue;
    const Gradients found = backward(y, {.seed = full(y.shape(), 1, y.dtype())});
    for (std::size_t k = 0; k < at.size(); ++k) {
      if (!at[k].recorded() || !found.contains(at[k])) continue;
      INFO(op->name(), ", input ", k);
      CHECK(matters[fmt::format("input {}", k)]);
    }
  }
}

TEST_CASE("every op gives what its examples say, in f64") {
  for (const Op* op : all_ops())
    for (const Op::Example& example : op->examples()) {
      Tensors inputs;
      for (const auto& input : example.inputs) inputs.push_back(input.tensor());
      const Tensor found = apply(*op, example.arguments, inputs);
      INFO(op->name(), ": ", found.text(), " instead of ", example.output.tensor().text());
      CHECK(found.shape() == example.output.tensor().shape());
      CHECK(distance(found, example.output.tensor()) < 1e-7);
    }
}

TEST_CASE("every op refuses what its record says it does, with the call and the reason in words") {
  for (const Op* op : all_ops())
    for (const Op::Refusal& refusal : op->refusals()) {
      INFO(op->name(), ": ", refusal.message);
      Random random(3);
      Tensors inputs;
      for (const auto& input : refusal.inputs) inputs.push_back(input.draw(random, f64));
      std::string said;
      try {
        apply(*op, refusal.arguments, inputs);
      } catch (const Error& error) {
        said = error.what();
      }
      CAPTURE(said);
      CHECK(said.find(refusal.message) != std::string::npos);
      CHECK(said.starts_with(op->name()));
    }
}

TEST_CASE("the shape rule of every op says on symbols what forward gives on values") {
  for (const Op* op : all_ops())
    for (const Op::Sample& sample : op->samples()) {
      const Tensors values = drawn(*op, sample, f64);
      if (values.empty()) continue;
      Tensors symbols;
      for (const Tensor& x : values) symbols.push_back(symbol(x.shape(), x.dtype(), "x"));
      const Tensor found = apply(*op, sample.arguments, values), said = apply(*op, sample.arguments, symbols);
      INFO(op->name());
      CHECK(said.symbolic());
      CHECK(said.shape() == found.shape());
      CHECK(said.dtype() == found.dtype());
    }
}

TEST_CASE("every op gives in f32 what it gives in f64, within single precision") {
  for (const Op* op : all_ops())
    for (const Op::Sample& sample : op->samples()) {
      const Tensors wide = drawn(*op, sample, f64);
      Tensors narrow;
      for (const Tensor& x : wide)
        narrow.push_back(x.dtype() == f64 ? from_values(x.values<double>(), x.shape(), f32) : x);
      INFO(op->name());
      CHECK(distance(apply(*op, sample.arguments, narrow), apply(*op, sample.arguments, wide)) < 2e-5);
    }
}

TEST_CASE("the arguments of every op survive being written as attributes and read again") {
  for (const Op* op : all_ops())
    for (const Op::Sample& sample : op->samples()) {
      const Attributes written = op->attributes(sample.arguments.get());
      const ArgumentsPointer read = op->arguments(written);
      INFO(op->name(), ": ", text_of(written));
      CHECK(text_of(op->attributes(read.get())) == text_of(written));
    }
}

TEST_CASE("an op of the user's stands beside the library's, and its name can't be taken twice") {
  const auto record = [] {
    return OpRecord<>{
        .name = "test_triple",
        .doc = "3 x.",
        .shape = same_floating,
        .forward = [](const NoArgs&, Inputs in, Output out) { each(in, out, [](auto x) { return 3 * x; }); },
        .gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors { return {g}; },
        .samples = {{.inputs = {sample::uniform({2})}}},
        .examples = {{.inputs = {{1.0}}, .output = {3.0}}},
        .refuses = {{.inputs = {sample::integers({2}, 0, 3)}, .message = "only f32 and f64"}}};
  };
  static const OpHandle<NoArgs> triple = [&] {
    OpRecord<> right = record();
    right.gradient = [](const NoArgs&, const Call&, const Tensor& g) -> Tensors {
      return {apply(*find_op("mul"), {g, from_values<double>({3}, {}, g.dtype())})};
    };
    return define<NoArgs>(right);
  }();
  CHECK(gradcheck(triple).ok());
  CHECK_THROWS_WITH_AS(define<NoArgs>(record()), doctest::Contains("there is an op \"test_triple\" already"), Error);
  // The check finds a gradient that is wrong.
  OpRecord<> wrong = record();
  wrong.name = "test_wrong";
  const TypedOp<NoArgs> op(std::move(wrong));
  CHECK(!gradcheck(op).ok());
}
