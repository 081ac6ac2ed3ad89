// Steps of plans that run at once.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace twopass;

namespace {

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

class ThreadsScope {
 public:
  explicit ThreadsScope(int count) : before_(threads::count()) { threads::set_count(count); }
  ~ThreadsScope() { threads::set_count(before_); }

 private:
  int before_;
};

struct ParallelBranches {
  explicit ParallelBranches(int count, std::int64_t width = 64) {
    Random random(7);
    for (int k = 0; k < count; ++k)
      for (const Shape& shape : {Shape{256, width}, Shape{width}, Shape{width, 10}, Shape{10}})
        parameters.emplace_back(random.normal(shape) * 0.1, "w");
  }
  Tensor operator()(const Tensor& x) const {
    Tensor votes;
    for (std::size_t k = 0; k < parameters.size(); k += 4) {
      const Tensor h = affine(x, parameters[k], parameters[k + 1], FusedActivation::relu);
      const Tensor vote = affine(h, parameters[k + 2], parameters[k + 3]);
      votes = votes.defined() ? votes + vote : vote;
    }
    return votes;
  }
  // A training step.
  PlanFunction step() const {
    return [this](const Tensors& in) -> Tensors {
      const Tensor loss = mean(square((*this)(in[0])));
      const Gradients found = backward(loss);
      for (const Parameter& each : parameters) each.set(each - 0.01 * found[each]);
      return {loss};
    };
  }
  Parameters parameters;
};

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Products and elementwise ops on [n, n] matrices, each of matrices made before; the same for values and symbols.
Tensors random_program(std::uint64_t seed, const Tensors& in) {
  Random random(seed);
  const auto below = [&](std::size_t n) {
    return static_cast<std::size_t>(random.integers({}, 0, static_cast<std::int64_t>(n)).item<std::int64_t>());
  };
  Tensors known = in;
  for (int k = 0; k < 40; ++k) {
    const Tensor a = known[below(known.size())], b = known[below(known.size())];
    switch (below(6)) {
      case 0:
        known.push_back(relu(a) + b * 0.5);
        break;
      case 1:
        known.push_back(tanh(a));
        break;
      case 2:
        known.push_back(a - mean(a, 0));
        break;
      default:
        known.push_back(matmul(a, b, {.transpose_a = below(2) == 1}) * 0.1);
    }
  }
  return {known.end() - 5, known.end()};
}

}  // namespace

TEST_CASE("the branches of a model are strands that run at once, forward and backward, each with all its own steps") {
  const ParallelBranches branches(8);
  const std::string text = plan(branches.step(), {ones({64, 256})}).text();
  CHECK(count_of(text, ", strand 0 of 8 at once") == 2);  // both products of the first branch
  CHECK(count_of(text, "affine_relu") == 8);
  // Of the hidden layer its gradient, relu's, that of the bias and of the weights, and both updates.
  CHECK(count_of(text, ", strand 7 of 16 at once") == 6);
  CHECK(plan(branches.step(), {ones({64, 256})}, {.without = {"strands"}}).text().find("at once") == std::string::npos);
}

TEST_CASE("the two gradients of a small layer are no strands: one thread would wait for what the other holds") {
  Parameters parameters;
  for (int k = 0; k < 6; ++k) parameters.emplace_back(full({64, 64}, 0.01), "w");
  const Plan planned = plan(
      [&](const Tensors& in) -> Tensors {
        Tensor h = in[0];
        for (const Parameter& each : parameters) h = relu(matmul(h, each));
        const Gradients found = backward(mean(square(h)));
        for (const Parameter& each : parameters) each.set(each - 0.1 * found[each]);
        return {};
      },
      {ones({64, 64})});
  CHECK(planned.text().find("at once") == std::string::npos);
}

TEST_CASE("steps that threads share by themselves, and steps too short to be shared, are no strands") {
  const Tensor large = ones({512, 512}), small = ones({8, 8});
  const PlanFunction f = [](const Tensors& in) -> Tensors { return {matmul(in[0], in[0]), matmul(in[0], exp(in[0]))}; };
  CHECK(plan(f, {large}).text().find("at once") == std::string::npos);
  CHECK(plan(f, {small}).text().find("at once") == std::string::npos);
  CHECK(plan(f, {ones({64, 64})}).text().find("at once") != std::string::npos);
}

TEST_CASE("programs with strands give the bits of eager execution, whatever the number of threads") {
  Random random(3);
  const Tensors inputs{random.normal({48, 48}), random.normal({48, 48}), random.normal({48, 48})};
  int with_strands = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    const PlanFunction f = [&](const Tensors& in) -> Tensors {
      Tensors at;
      for (const Tensor& x : in) at.push_back(x.symbolic() ? x : variable(x));
      const Tensors y = random_program(seed, at);
      Tensor total = sum(y[0]);
      for (std::size_t k = 1; k < y.size(); ++k) total = total + sum(y[k]);
      Tensors found = gradients(total, at);
      for (const Tensor& each : y) found.push_back(detach(each));
      return found;
    };
    const Tensors eager = f(inputs);
    for (const auto& without : {std::vector<std::string>{}, {"tiles"}, {"views", "order"}}) {
      const Plan planned = plan(f, inputs, {.without = without});
      with_strands += planned.text().find("at once") != std::string::npos;
      for (const int count : {1, 2, 4, 8}) {
        const ThreadsScope scope(count);
        const Tensors found = planned(inputs);
        for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(found[k], eager[k]));
      }
    }
  }
  CHECK(with_strands > 90);
}

TEST_CASE("a user's own code runs on one thread at a time, beside no other step") {
  std::atomic<int> inside = 0, most = 0;
  const auto busy = custom_gradient(
      [&](const Tensors& in) {
        const int now = ++inside;
        for (int known = most; now > known && !most.compare_exchange_weak(known, now);) continue;
        const Tensor y = in[0] * 2.0;
        if (!y.symbolic()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        --inside;
        return y;
      },
      [](const Tensors&, const Tensor&, const Tensor& g) -> Tensors { return {g * 2.0}; });
  Random random(6);
  const Tensor x = random.normal({96, 96});
  const PlanFunction f = [&](const Tensors& in) -> Tensors {
    Tensors found;
    for (int k = 0; k < 6; ++k) found.push_back(matmul(busy({matmul(in[0] + (k + 1.0), in[0])}), in[0]));
    return found;
  };
  const Plan planned = plan(f, {x});
  CHECK(planned.text().find("at once") != std::string::npos);  // the products are
  CHECK(planned.text().find("custom_gradient") != std::string::npos);
  const Tensors eager = f({x});
  const ThreadsScope scope(4);
  const Tensors found = planned({x});
  for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(found[k], eager[k]));
  CHECK(most == 1);
}

TEST_CASE("a step does not write over what another strand still reads") {
  Random random(4);
  const Tensor x = random.normal({128, 128}), w = random.normal({128, 128}), wide = random.normal({128, 160});
  const PlanFunction f = [&](const Tensors& in) -> Tensors {
    const Tensor h = matmul(in[0], in[0]);
    return {matmul(h, wide), matmul(tanh(h), w)};
  };
  const ThreadsScope scope(2);
  const Plan planned = plan(f, {x});
  CHECK(count_of(planned.text(), "of 2 at once") == 3);
  const Tensors eager = f({x});
  for (int k = 0; k < 50; ++k) {
    const Tensors found = planned({x});
    CHECK(equal_bits(found[0], eager[0]));
    CHECK(equal_bits(found[1], eager[1]));
  }
}

TEST_CASE("training branches gives equal weights with and without strands, for 1 and 2 threads") {
  std::vector<Tensors> weights;
  Random random(5);
  const Tensor x = random.normal({64, 256});
  for (const int count : {1, 2})
    for (const auto& without : {std::vector<std::string>{}, {"strands"}}) {
      const ThreadsScope scope(count);
      const ParallelBranches branches(8);
      const Plan step = plan(branches.step(), {x}, {.without = without});
      for (int k = 0; k < 5; ++k) step({x});
      weights.emplace_back();
      for (const Parameter& each : branches.parameters) weights.back().push_back(each.value());
    }
  for (const Tensors& each : weights)
    for (std::size_t k = 0; k < each.size(); ++k) CHECK(equal_bits(each[k], weights[0][k]));
}

TEST_CASE("the arena of branches is within a tenth of what must live at a time, and strands add about a megabyte") {
  const ParallelBranches branches(128);
  const Plan planned = plan(branches.step(), {ones({64, 256})});
  const Plan serial = plan(branches.step(), {ones({64, 256})}, {.without = {"strands"}});
  CHECK(planned.arena_bytes() <= planned.least_arena_bytes() * 11 / 10);
  CHECK(planned.arena_bytes() <= serial.arena_bytes() + (5 << 18));  // weight gradients are 8 MiB
}

TEST_CASE("products in strands have the precision of the thread that runs the plan") {
  if (!bf16_available()) return;
  const ParallelBranches branches(8);
  const Tensor x = ones({64, 256});
  const PrecisionScope precision(Precision::bf16);
  const PlanFunction f = [&](const Tensors& in) -> Tensors { return {branches(in[0])}; };
  const ThreadsScope scope(2);
  const Plan planned = plan(f, {x});
  const Tensor eager = f({x})[0];
  for (int k = 0; k < 20; ++k) CHECK(equal_bits(planned({x})[0], eager));
}

TEST_CASE("T14: a new value that is not finite is found in a strand, and the first of several is named") {
  const ParallelBranches branches(8);
  Tensor x = ones({64, 256});
  const Plan step = plan(branches.step(), {x});
  branches.parameters[8].set(full({256, 64}, 1e30));
  const Tensor before = branches.parameters[0].value();
  const ThreadsScope scope(2);
  CHECK_THROWS_WITH_AS(step({x}), doctest::Contains("is not finite; nothing was changed"), Error);
  CHECK(equal_bits(branches.parameters[0].value(), before));
}
