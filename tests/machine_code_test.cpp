// Plans' machine code against the kernels that it stands for.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <twopass/graph/plan/machine_code.h>

using namespace twopass;

namespace {

bool has_code() { return planning::processor() != planning::Processor::none; }

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

// That machine code for both kinds of registers gives what kernels give, to the bit, and that there is some.
void check_code(const PlanFunction& f, const Tensors& inputs) {
  const Tensors wanted = plan(f, inputs, {.without = {"code"}})(inputs);
  for (const std::vector<std::string>& without : {std::vector<std::string>{}, {"avx512"}}) {
    CAPTURE(without.size());
    const Plan planned = plan(f, inputs, {.without = without});
    const bool coded = planned.text().find("as machine code") != std::string::npos;
    CHECK(coded == has_code());
    for (int run = 0; run < 2; ++run) {
      const Tensors found = planned(inputs);
      REQUIRE(found.size() == wanted.size());
      for (std::size_t k = 0; k < found.size(); ++k) CHECK(equal_bits(found[k], wanted[k]));
    }
  }
}

// Numbers of all kinds among random ones.
Tensor odd_numbers(Random& random, const Shape& shape, DType dtype) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> odd{0.0, -0.0, infinity, -infinity, std::nan(""), 1e-40, -1.0, 1.0};
  std::vector<double> values = cast(random.normal(shape, f64), f64).values<double>();
  for (std::size_t k = 0; k < values.size(); ++k)
    if (k % 3 == 1) values[k] = odd[(k / 3 + k / 24) % odd.size()];
  return cast(from_values(values, shape), dtype);
}

bool describes_elements(const Op& op, const Tensors& inputs, const ArgumentsPointer& arguments) {
  Lanes lanes;
  std::vector<Lane> x;
  for (std::size_t k = 0; k < inputs.size(); ++k) x.push_back(lanes.input(false));
  return op.lanes(arguments.get(), Specs(std::span<const Tensor>(inputs)), lanes, x).defined();
}

Tensor layer_norm_of_ops(const Tensor& x, const Tensor& gain, const Tensor& bias) {
  const Tensor c = x - mean(x, -1, keep_axis);
  return c / sqrt(mean(c * c, -1, keep_axis) + 1e-5) * gain + bias;
}

}  // namespace

TEST_CASE("what a record says of elements is what its kernel does, for numbers of all kinds and rows of any length") {
  Random random(4);
  int tried = 0;
  for (const Op* op : all_ops())
    for (const Op::Sample& sample : op->samples()) {
      const std::size_t count = sample.inputs.size();
      if (!op->elementwise() || !describes_elements(*op, Tensors(count, ones({2})), sample.arguments)) continue;
      for (const DType dtype : {f32, f64})
        for (const std::int64_t n : {1, 5, 16, 37, 200}) {
          CAPTURE(op->name());
          CAPTURE(n);
          Tensors inputs;
          for (std::size_t k = 0; k < count; ++k) inputs.push_back(odd_numbers(random, {3, n}, dtype));
          check_code([&](const Tensors& in) -> Tensors { return {apply(*op, sample.arguments, in) * 1.0}; }, inputs);
          ++tried;
        }
    }
  CHECK(tried >= 150);
}

TEST_CASE("machine code adds up rows in the order of the kernels") {
  Random random(5);
  for (const DType dtype : {f32, f64})
    for (const std::int64_t n : {32, 96, 512, 544, 1024, 1536, 2080, 4096})
      for (const std::int64_t rows : {2, 5, 70}) {
        CAPTURE(n);
        CAPTURE(rows);
        const Tensors inputs{random.normal({rows, n}, dtype), random.normal({n}, dtype), random.normal({n}, dtype),
                             random.normal({rows, n}, dtype)};
        check_code(
            [](const Tensors& in) -> Tensors {
              Tensors at;
              for (std::size_t k = 0; k < 3; ++k) at.push_back(in[k].symbolic() ? in[k] : variable(in[k]));
              const Tensor y = layer_norm_of_ops(at[0], at[1], at[2]);
              return {detach(y), gradients(y, {at[0]}, {.seed = in[3]})[0]};
            },
            inputs);
      }
}

TEST_CASE("rows that no vector fills, rows in common, and one number for all go through machine code") {
  Random random(6);
  for (const DType dtype : {f32, f64})
    for (const std::int64_t n : {33, 47, 100, 129}) {
      CAPTURE(n);
      check_code(
          [](const Tensors& in) -> Tensors {
            const Tensor scaled = (in[0] + in[1]) * in[2];                       // (rows, n), (n,), (rows, 1)
            return {neg(scaled) / (square(in[0]) + 2.0), relu(scaled) - in[3]};  // and ()
          },
          {random.normal({9, n}, dtype), random.normal({n}, dtype), random.normal({9, 1}, dtype),
           random.normal({}, dtype)});
    }
}

TEST_CASE("chains between kernels of other kinds, in many blocks, give the same bits on two threads") {
  Random random(7);
  const int before = threads::count();
  for (const int count : {1, 2}) {
    threads::set_count(count);
    check_code(
        [](const Tensors& in) -> Tensors {
          Tensor h = in[0];
          for (int k = 0; k < 12; ++k) h = tanh(relu(h * in[1] + 0.25) - square(h)) / 2.0 + in[0];
          return {h, sum(h * in[1], 1)};
        },
        {random.normal({300, 1000}), random.normal({300, 1000})});
  }
  threads::set_count(before);
}

TEST_CASE("steps of more calls than registers, or than a function has, are several functions") {
  Random random(8);
  check_code(
      [](const Tensors& in) -> Tensors {
        Tensors parts;
        for (int k = 0; k < 40; ++k) parts.push_back(in[0] * static_cast<double>(k) + in[1]);
        Tensor total = parts[0];
        for (int k = 39; k > 0; --k) total = total / (parts[static_cast<std::size_t>(k)] + 100.0);
        return {total};
      },
      {random.uniform({64, 64}, f32, 1, 2), random.uniform({64, 64}, f32, 1, 2)});
}

TEST_CASE("an output that takes an input's memory is not written before the input was read") {
  Random random(9);
  // d reads c, which dies there, one loop later than e, which is made first, may be written
  check_code(
      [](const Tensors& in) -> Tensors {
        Tensor h = matmul(in[0], in[1]);
        for (int k = 0; k < 4; ++k) {
          const Tensor d = h - mean(h, 1, keep_axis);
          h = matmul(d / (sum(square(d), 1, keep_axis) + 1.0) + h, in[1]);
        }
        return {h};
      },
      {random.normal({40, 64}), random.normal({64, 64})});
}
