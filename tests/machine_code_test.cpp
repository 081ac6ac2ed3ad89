// Plans' machine code against the kernels that it stands for.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <twopass/graph/plan/machine_code.h>

using namespace twopass;

namespace {

bool has_code() { return planning::processor() != planning::Processor::none; }

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

// That machine code for both kinds of registers gives what kernels give, to the bit, and that there is some.
void check_code(const PlanFunction& f, const Tensors& inputs, const std::vector<std::string>& left_out = {}) {
  const auto planned_without = [&](std::vector<std::string> names) {
    names.insert(names.end(), left_out.begin(), left_out.end());
    return plan(f, inputs, {.without = names});
  };
  const Tensors wanted = planned_without({"code"})(inputs);
  for (const Plan& planned : {planned_without({}), planned_without({"avx512"})}) {
    const bool coded = planned.text().find("as machine code") != std::string::npos;
    CHECK(coded == has_code());
    for (int run = 0; run < 2; ++run) {
      const Tensors found = planned(inputs);
      REQUIRE(found.size() == wanted.size());
      for (std::size_t k = 0; k < found.size(); ++k) CHECK(equal_bits(found[k], wanted[k]));
    }
  }
}

// Numbers of all kinds among random ones; those of two inputs, by `turn`, meet in all pairs in long rows.
// NaN is the one that x86 makes itself, as it is open which of two NaNs an instruction passes on.
Tensor odd_numbers(Random& random, const Shape& shape, DType dtype, std::size_t turn) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> odd{0.0, -0.0, infinity, -infinity, -std::nan(""), 1e-40, -1.0, 1.0};
  std::vector<double> values = cast(random.normal(shape, f64), f64).values<double>();
  for (std::size_t k = 0; k < values.size(); ++k)
    if (k % 3 == 1) values[k] = odd[(k / 3 + k / 24 * turn) % odd.size()];
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
          for (std::size_t k = 0; k < count; ++k) inputs.push_back(odd_numbers(random, {3, n}, dtype, k + 1));
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

TEST_CASE("chains between kernels of other kinds, in many blocks, give the same bits on 1, 2, 4 and 8 threads") {
  Random random(7);
  const int before = threads::count();
  for (const int count : {1, 2, 4, 8}) {
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

TEST_CASE("sums and means of a part of each row, or over rows, are their kernels' beside machine code") {
  check_code(
      [](const Tensors& in) -> Tensors {
        const Tensor h = square(in[0] * 2.0 + 1.0) - in[0];
        return {h * in[0], sum(h, 2), mean(h, 2), sum(h, 1), mean(h, 1), sum(h, 0), mean(h, 0), mean(h, {1, 2})};
      },
      {Random(11).normal({40, 8, 16})});
}

TEST_CASE("sums and means of nothing but -0 are -0 in machine code, as in kernels") {
  for (const std::int64_t n : {32, 640}) {
    check_code([](const Tensors& in) -> Tensors { return {sum(in[0] * 1.0, 1)}; }, {full({4, n}, -0.0)});
    check_code([](const Tensors& in) -> Tensors { return {mean(in[0] * 1.0, 1)}; }, {full({4, n}, -0.0)});
  }
}

TEST_CASE("an output that takes an input's memory is not written before a later loop has read the input") {
  Random random(9);
  const Tensor w = random.normal({64, 64});
  check_code(
      [&](const Tensors& in) -> Tensors {
        const Tensor h = matmul(in[0], w), shares = h / (sum(square(h), 1, keep_axis) + 1.0);
        const Tensor more = h + 1.0;  // the last to read h, and ready one loop earlier than the shares
        return {sum(shares * in[0], 1), matmul(more, w)};
      },
      {random.normal({80, 64})}, {"order"});
}

TEST_CASE("a vector may be a number for each row and a row in common at once") {
  Random random(10);
  const Tensors inputs{random.normal({64, 64}), random.normal({64})};
  const PlanFunction rows_first = [](const Tensors& in) -> Tensors { return {in[0] * expand_dims(in[1], 1) * in[1]}; };
  const PlanFunction rows_last = [](const Tensors& in) -> Tensors { return {in[0] * in[1] * expand_dims(in[1], 1)}; };
  for (const PlanFunction& f : {rows_first, rows_last}) CHECK(equal_bits(plan(f, inputs)(inputs)[0], f(inputs)[0]));
}

TEST_CASE("what is more than caches hold and goes past them is what kernels write, in rows of whole lines and others") {
  Random random(8);
  for (const DType dtype : {f32, f64})
    for (const std::int64_t n : {1024, 1023}) {  // rows that begin at lines of the cache, and rows that do not
      const std::int64_t rows = (std::int64_t{12} << 20) / (n * static_cast<std::int64_t>(size_of(dtype)));
      const Tensors inputs{random.normal({rows, n}, dtype), random.normal({rows, n}, dtype)};
      CAPTURE(n);
      check_code([](const Tensors& in) -> Tensors { return {in[0] * in[1] + in[0]}; }, inputs);
      if (n % 32) continue;  // sums are added 32 at a time
      check_code(
          [](const Tensors& in) -> Tensors {
            const Tensor c = in[0] - mean(in[0], -1, keep_axis);
            return {c / sqrt(mean(c * c, -1, keep_axis) + 1e-5) * in[1], c * in[1]};
          },
          inputs);
    }
}

TEST_CASE("machine code writes the elements that it is asked for and no others") {
  using planning::MachineCode, planning::Processor, planning::Sweeps;
  // y = x + x
  for (const DType dtype : {f32, f64}) {
    Sweeps sweeps;
    sweeps.dtype = dtype;
    Lanes lanes;
    const Lane x = lanes.input(false);
    lanes.add(x, x);
    for (const Lanes::Line& line : lanes.lines()) sweeps.lines.push_back({line});
    sweeps.lines[0].from = 0;
    sweeps.lines[1].to = 1;
    sweeps.parts = {{0, 0, true}, {1, 0, true}};
    for (const Processor best : {Processor::avx2, Processor::avx512}) {
      if (best > planning::processor()) continue;
      MachineCode code(best);
      for (const bool past_cache : {false, true}) {
        const planning::Stream streams[]{{}, {.past_cache = past_cache}};
        REQUIRE(code.write(sweeps, streams) == past_cache);
      }
      code.finish();
      for (std::int64_t n = 1; n < 70; ++n)
        for (const int number : {0, 1}) {
          CAPTURE(n);
          const Tensor from = full({80}, 1.5, dtype), to = full({80}, 7.0, dtype);
          std::byte* pointers[]{from.node().data, to.node().data};
          code.function(number)(pointers, n);
          for (std::int64_t k = 0; k < 80; ++k) CHECK(to.at<double>(k) == (k < n ? 3.0 : 7.0));
        }
    }
  }
}

TEST_CASE("what is written twice is one function, and what differs in a constant alone is another") {
  if (!has_code()) return;
  const auto doubled = [](double by) {
    Lanes lanes;
    const Lane x = lanes.input(false);
    lanes.multiply(x, lanes.constant(by));
    planning::Sweeps sweeps;
    sweeps.dtype = f64;
    for (const Lanes::Line& line : lanes.lines()) sweeps.lines.push_back({.what = line});
    sweeps.lines[0].from = 0;
    sweeps.lines.back().to = 1;
    sweeps.parts = {{.value = 0, .elements = 1, .moves = true}, {.value = 1, .elements = 1, .moves = true}};
    return sweeps;
  };
  planning::MachineCode code(planning::processor());
  const std::vector<planning::Stream> streams(2, planning::Stream{.row_bytes = 8});
  const int twice = code.write(doubled(2), streams), again = code.write(doubled(2), streams);
  const int thrice = code.write(doubled(3), streams);
  CHECK(again == twice);
  CHECK(thrice != twice);
  // So do the steps between rows, where results go and what length a row has.
  const std::vector<planning::Stream> wider{{.row_bytes = 16}, {.row_bytes = 8}},
      past{{.row_bytes = 8}, {.row_bytes = 8, .past_cache = true}};
  for (const auto& other : {wider, past}) CHECK(code.write(doubled(2), other) != twice);
  planning::Sweeps back = doubled(2), rows = doubled(2);
  std::swap(back.lines[0].from, back.lines.back().to);
  rows.elements = 1;
  for (const planning::Sweeps& other : {back, rows}) CHECK(code.write(other, streams) != twice);
  code.finish();
  for (const auto& [function, factor] : {std::pair{twice, 2.0}, std::pair{thrice, 3.0}}) {
    std::vector<double> from{1, 2, 3, 4, 5}, to(5, 0);
    std::byte* pointers[] = {reinterpret_cast<std::byte*>(from.data()), reinterpret_cast<std::byte*>(to.data())};
    code.function(function)(pointers, 5);
    for (std::size_t k = 0; k < to.size(); ++k) CHECK(to[k] == factor * from[k]);
  }
}
