#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <cmath>
#include <string>
#include <thread>

using namespace twopass;

namespace {

bool equal_bits(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape()) || a.dtype() != b.dtype()) return false;
  return std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

Tensor centred_and_scaled(const Tensor& x) {
  const Tensor c = x - mean(x, -1, keep_axis);
  return c / sqrt(mean(square(c), -1, keep_axis) + 1e-5);
}

}  // namespace

TEST_CASE("a plan gives the bits that eager execution gives") {
  Random random(1);
  const Tensor x = random.normal({37, 5}), w = random.normal({5, 3}), b = random.normal({3});
  const PlanFunction f = [&](const Tensors& in) -> Tensors {
    const Tensor h = tanh(matmul(in[0], w) + b);
    return {h, sum(square(h)), softmax(h, -1)};
  };
  const Tensors eager = f({x}), planned = plan(f, {x})({x});
  REQUIRE(planned.size() == 3);
  for (std::size_t k = 0; k < 3; ++k) CHECK(equal_bits(planned[k], eager[k]));
}

TEST_CASE("a plan may hold its own backward pass") {
  Random random(2);
  const Tensor x = random.normal({64, 33}), g = random.normal({64, 33});
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    const Tensor y = centred_and_scaled(in[0]);
    return {y, gradients(y, {in[0]}, {.seed = in[1]})[0]};
  };
  const Tensors eager = f({variable(x), g});
  const Plan planned = plan(f, {x, g});
  CHECK(planned.steps() == 1);
  const Tensors found = planned({x, g});
  CHECK(equal_bits(found[0], eager[0]));
  CHECK(equal_bits(found[1], eager[1]));
}

TEST_CASE("every pass may be left out, and no bit changes") {
  Random random(3);
  const Tensor x = random.normal({20, 6});
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    const Tensor h = reshape(centred_and_scaled(in[0]), {10, 12});
    return {exp(h) * 2.0 + sum(exp(h), 1, keep_axis), stop_gradient(h)};
  };
  const Tensors eager = f({x});
  std::string names;
  for (const PlanPass& pass : plan_passes()) {
    CAPTURE(pass.name);
    const Plan planned = plan(f, {x}, {.without = {pass.name}, .keep_stages = true});
    for (const Plan::Stage& stage : planned.stages()) CHECK(stage.pass != pass.name);
    const Tensors found = planned({x});
    CHECK(equal_bits(found[0], eager[0]));
    CHECK(equal_bits(found[1], eager[1]));
    names += (names.empty() ? "" : ", ") + pass.name;
  }
  CHECK(names ==
        "constants, common, broadcasts, dead, absorb, channels, views, order, tiles, strands, layout, turn, code, "
        "avx512");
  CHECK_THROWS_WITH_AS(plan(f, {x}, {.without = {"code", "tile"}}),
                       ("plan: there is no pass \"tile\": it must be one of " + names).c_str(), Error);
}

TEST_CASE("what a step still reads is not written over, and calls of other rows are no part of it") {
  Random random(4);
  const Tensor w = random.normal({64, 64});
  const PlanFunction overwriting = [&](const Tensors& in) -> Tensors {
    const Tensor h = matmul(in[0], w), more = h + 1.0, product = h * more;
    return {matmul(more, w), matmul(product, w)};
  };
  const PlanFunction in_other_rows = [](const Tensors& in) -> Tensors {
    const Tensor scaled = in[0] * in[1];
    return {tanh(reshape(scaled, {1280, 32})) * in[2], scaled};
  };
  const Tensors inputs{random.normal({640, 64}), random.normal({640, 1}), random.normal({1280, 1})};
  for (const PlanFunction& f : {overwriting, in_other_rows})
    for (const std::vector<std::string>& without : {std::vector<std::string>{"order"}, {"order", "code"}}) {
      const Tensors eager = f(inputs), planned = plan(f, inputs, {.without = without})(inputs);
      for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(planned[k], eager[k]));
    }
}

TEST_CASE("what is made of nothing is no part of a step of blocks") {
  const std::vector<PlanFunction> functions{
      [](const Tensors& in) -> Tensors { return {tanh(sum(in[0] * 2.0, 1))}; },
      [](const Tensors& in) -> Tensors { return {tanh(prod(in[0], 1))}; },
      [](const Tensors& in) -> Tensors { return {sum(sum(in[0], 1) + 1.0, 1)}; },
      [](const Tensors& in) -> Tensors {
        const Tensor b = in[1].symbolic() ? in[1] : variable(in[1]);
        return gradients(sum(in[0] / (square(b) + 1.0)), {b});
      },
  };
  const Tensors inputs{zeros({100, 0, 65}), ones({100, 1, 65})};
  for (const PlanFunction& f : functions) {
    const Plan planned = plan(f, inputs);
    CHECK(equal_bits(planned(inputs)[0], f(inputs)[0]));
  }
  CHECK(plan(functions[0], inputs).text().find("in blocks of") == std::string::npos);
  CHECK(plan(functions[1], inputs).text().find("in blocks of") == std::string::npos);
}

TEST_CASE("the program is shown after each pass") {
  const Tensor x = ones({4, 3});
  const Plan planned = plan(
      [](const Tensors& in) -> Tensors {
        const Tensor a = exp(in[0]), b = exp(in[0]);
        return {a + b};
      },
      {x}, {.keep_stages = true});
  const auto stages = planned.stages();
  REQUIRE(stages.size() >= 12);  // those of machine code where there is some
  CHECK(stages[0].pass == "trace");
  CHECK(stages[0].text ==
        "%0 f32 (4, 3) = input 0\n%1 f32 (4, 3) = exp(%0)\n%2 f32 (4, 3) = exp(%0)\n"
        "%3 f32 (4, 3) = add(%1, %2)\ngives %3 as output 0\n");
  CHECK(stages[2].text ==
        "%0 f32 (4, 3) = input 0\n%1 f32 (4, 3) = exp(%0)\n%3 f32 (4, 3) = add(%1, %1)\ngives %3 as output 0\n");
}

TEST_CASE("without layout every value has memory of its own, and with it less is needed") {
  Random random(9);
  const Tensor x = random.normal({50, 8}), w = random.normal({8, 8});
  const PlanFunction f = [&](const Tensors& in) -> Tensors {
    Tensor h = in[0];
    for (int k = 0; k < 4; ++k) h = tanh(matmul(h, w)) * 2.0;
    return {sum(h)};
  };
  const Plan shared = plan(f, {x}, {.keep_stages = true}), apart = plan(f, {x}, {.without = {"layout"}});
  CHECK(apart.arena_bytes() == 8 * 1600);  // four times a product and its double
  CHECK(shared.arena_bytes() < apart.arena_bytes());
  CHECK(equal_bits(apart({x})[0], shared({x})[0]));
  CHECK(apart.text().find("@ block") == std::string::npos);
  const auto stages = shared.stages();
  const auto layout =
      std::find_if(stages.begin(), stages.end(), [](const auto& each) { return each.pass == "layout"; });
  REQUIRE(layout != stages.end());
  CHECK(layout->text.find("@ arena + 0") != std::string::npos);
  CHECK(layout->text.find("machine code") == std::string::npos);
  CHECK(stages[10].pass == "strands");
  CHECK(stages[10].text.find("@ arena") == std::string::npos);
}

TEST_CASE("the weight gradient of a narrow layer is computed turned, which can be left out and changes no bit") {
  Random random(10);
  const Tensor x = random.normal({64, 300}), g = random.normal({64, 10});
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    return {matmul(in[0], in[1], {.transpose_a = true}), matmul(in[1], in[0], {.transpose_a = true})};
  };
  const Plan turned = plan(f, {x, g}, {.keep_stages = true}), plain = plan(f, {x, g}, {.without = {"turn"}});
  CHECK(turned.text().find("transpose_a=true)  @ outside; turned") != std::string::npos);
  CHECK(turned.text().find("; turned") == turned.text().rfind("; turned"));  // the other one is wide
  CHECK(plain.text().find("turned") == std::string::npos);
  for (const Plan::Stage& stage : turned.stages())
    CHECK((stage.text.find("; turned") != std::string::npos) ==
          (stage.pass == "turn" || stage.pass == "code" || stage.pass == "avx512"));
  for (std::size_t k = 0; k < 2; ++k) CHECK(equal_bits(turned({x, g})[k], plain({x, g})[k]));
}

TEST_CASE("a run that fails does not go on holding the values of parameters") {
  const Parameter w(ones({1 << 16}), "w");
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        w.set(w * in[0]);
        return {};
      },
      {ones({})});
  step({ones({})});
  w.set(zeros({1 << 16}));
  const std::int64_t live = memory::live_bytes();
  CHECK_THROWS_AS(step({full({}, NAN)}), Error);
  w.set(zeros({1 << 16}));
  CHECK(memory::live_bytes() == live);
}

TEST_CASE("a plan reads parameters anew in each run, and sets those that its function sets") {
  const Parameter w(tensor({1.0, 2.0}), "w");
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor loss = sum(square(w - in[0]));
        w.set(w - 0.25 * backward(loss)[w]);
        return {loss};
      },
      {zeros({2})});
  CHECK(step({zeros({2})})[0].item<double>() == 5);
  CHECK(w.value().values<double>() == std::vector{0.5, 1.0});
  w.set(tensor({2.0, 0.0}));
  CHECK(step({zeros({2})})[0].item<double>() == 4);
  CHECK(w.value().values<double>() == std::vector{1.0, 0.0});
}

TEST_CASE("G12: what was recorded before a plan ran keeps the old value") {
  const Parameter w(tensor({1.0, 2.0}), "w");
  const Tensor before = w.value();
  const Tensor y = sum(square(w.tensor()));
  const Plan step = plan(
      [&](const Tensors&) -> Tensors {
        w.set(w * 2.0);
        return {};
      },
      {});
  step({});
  CHECK(before.values<double>() == std::vector{1.0, 2.0});
  CHECK(backward(y)[w].values<double>() == std::vector{2.0, 4.0});
  CHECK(w.value().values<double>() == std::vector{2.0, 4.0});
}

TEST_CASE("T14: where one new value is not finite no parameter changes") {
  const Parameter a(tensor({1.0}), "a"), b(tensor({0.0}), "b");
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        a.set(a + in[0]);
        b.set(in[0] / b);
        return {};
      },
      {ones({1})});
  CHECK_THROWS_WITH_AS(step({ones({1})}), "the new value of parameter \"b\" is not finite; nothing was changed", Error);
  CHECK(a.value().item<double>() == 1);
  CHECK(b.value().item<double>() == 0);
}

TEST_CASE("T14: a new value that is part of what blocks make, or an input, is looked through too") {
  const Parameter w(zeros({40, 8}), "w");
  std::vector<float> values(80 * 8, 1.0F);
  const Plan lower = plan(
      [&](const Tensors& in) -> Tensors {
        w.set(slice(in[0] * 2.0 + 1.0, 0, 40, 80));
        return {};
      },
      {ones({80, 8})});
  values[3] = INFINITY;  // in no part that w is given
  lower({from_values(values, {80, 8})});
  CHECK(w.value().at<double>(0) == 3);
  values[60 * 8] = NAN;
  CHECK_THROWS_WITH_AS(lower({from_values(values, {80, 8})}), doctest::Contains("\"w\" is not finite"), Error);
  const Plan given = plan(
      [&](const Tensors& in) -> Tensors {
        w.set(in[0]);
        return {};
      },
      {ones({40, 8})});
  CHECK_THROWS_WITH_AS(given({full({40, 8}, NAN)}), doctest::Contains("\"w\" is not finite"), Error);
  CHECK(w.value().at<double>(0) == 3);
}

TEST_CASE("two functions with gradients of their own stay two in a plan") {
  const auto twice =
      custom_gradient([](const Tensors& x) { return x[0] * 2.0; },
                      [](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g * 2.0}; });
  const auto thrice =
      custom_gradient([](const Tensors& x) { return x[0] * 3.0; },
                      [](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g * 3.0}; });
  const Tensor x = ones({4});
  const Tensors found = plan([&](const Tensors& in) -> Tensors { return {twice({in[0]}), thrice({in[0]})}; }, {x})({x});
  CHECK(found[0].at<double>(0) == 2);
  CHECK(found[1].at<double>(0) == 3);
}

TEST_CASE("a plan's inputs are variables to its function") {
  const Tensor x = tensor({1.0, 2.0});
  const Tensor g =
      plan([](const Tensors& in) -> Tensors { return {backward(sum(square(in[0])))[in[0]]}; }, {x})({x})[0];
  CHECK(equal_bits(g, x * 2.0));
}

TEST_CASE("results stay what they are while the plan runs again") {
  const Plan planned = plan(
      [](const Tensors& in) -> Tensors {
        return {in[0] * 2.0, in[0], in[0] * 2.0};
      },
      {ones({9})});
  const Tensors first = planned({ones({9})}), second = planned({full({9}, 3)});
  CHECK(first[0].at<double>(8) == 2);
  CHECK(first[1].at<double>(8) == 1);
  CHECK(first[2].at<double>(8) == 2);
  CHECK(second[0].at<double>(8) == 6);
  CHECK(second[1].at<double>(8) == 3);
}

TEST_CASE("a hundred thousand runs take no memory for tensors from the system, and none is left behind") {
  Random random(4);
  const Tensor x = random.normal({8, 8});
  const Parameter w(random.normal({8, 8}), "w");
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor loss = mean(square(tanh(matmul(in[0], w))));
        w.set(w - 0.1 * backward(loss)[w]);
        return {loss};
      },
      {x});
  step({x});
  const std::int64_t live = memory::live_bytes(), nodes = Node::live();
  memory::reset_peak();
  for (int k = 0; k < 100'000; ++k) step({x});
  CHECK(memory::live_bytes() == live);
  CHECK(Node::live() == nodes);
  CHECK(memory::peak_bytes() - live <= 64 << 10);  // a block's own memory
}

TEST_CASE("the arena is within a tenth of what must live at a time") {
  Random random(5);
  Parameters parameters;
  for (int k = 0; k < 20; ++k) parameters.emplace_back(random.normal({64, 64}), "w");
  const Plan planned = plan(
      [&](const Tensors& in) -> Tensors {
        Tensor h = in[0];
        for (std::size_t k = 0; k < parameters.size(); k += 2)
          h = h + matmul(relu(matmul(h, parameters[k])), parameters[k + 1]);
        const Gradients found = backward(mean(square(h)));
        for (const Parameter& each : parameters) each.set(each - 0.1 * found[each]);
        return {};
      },
      {ones({64, 64})});
  CHECK(planned.arena_bytes() <= planned.least_arena_bytes() * 11 / 10);
}

TEST_CASE("a plan of ten thousand steps is laid out in no time squared, and its values do not lie on one another") {
  const Tensor x = ones({4, 3});
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    Tensor h = in[0], total = in[0];
    for (int k = 0; k < 10000; ++k) {
      h = transpose(h, {1, 0}) * (k % 2 ? 2.0 : 0.5);
      if (k % 100 == 1) total = total + h;
    }
    return {total};
  };
  CHECK(equal_bits(plan(f, {x}, {.without = {"tiles"}})({x})[0], f({x})[0]));
}

TEST_CASE("C3: two threads may run one plan") {
  const Plan planned = plan([](const Tensors& in) -> Tensors { return {sum(square(in[0]))}; }, {ones({1000})});
  std::vector<double> found(2);
  std::vector<std::thread> threads;
  for (int k = 0; k < 2; ++k)
    threads.emplace_back([&, k] {
      for (int run = 0; run < 50; ++run)
        found[static_cast<std::size_t>(k)] = planned({full({1000}, k + 1)})[0].item<double>();
    });
  for (auto& each : threads) each.join();
  CHECK(found == std::vector{1000.0, 4000.0});
}
