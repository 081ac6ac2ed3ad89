// Sums over rows that begin in the steps of plans which make or read what is summed.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <string>

using namespace twopass;

namespace {

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

Tensor normalized(const Tensor& x, const Tensor& gain, const Tensor& bias) {
  const Tensor c = x - mean(x, -1, keep_axis);
  return c / sqrt(mean(square(c), -1, keep_axis) + 1e-5) * gain + bias;
}

// What each of some numbers of threads gives, which must be what one gives eagerly.
void check_for_all_threads(const PlanFunction& f, const Tensors& inputs, const std::string& without) {
  const Plan planned = plan(f, inputs, {.without = {without}});
  const int before = threads::count();
  threads::set_count(1);
  const Tensors eager = f(inputs);
  for (const int count : {1, 2, 4, 8}) {
    CAPTURE(count);
    threads::set_count(count);
    const Tensors again = f(inputs);
    for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(again[k], eager[k]));
    for (int run = 0; run < 25; ++run) {
      const Tensors found = planned(inputs);
      for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(found[k], eager[k]));
    }
  }
  threads::set_count(before);
}

}  // namespace

TEST_CASE("a sum over rows is the sum of partial sums of 16 rows each, bit for bit") {
  Random random(1);
  const Op& partial = *find_op("partial_sums");
  for (const DType dtype : {f32, f64})
    for (const std::int64_t rows : {1, 15, 16, 17, 255, 256, 257, 272, 385, 4096, 4099})
      for (const Shape& row : {Shape{3}, Shape{130}, Shape{2, 5}}) {
        CAPTURE(rows);
        const Tensor x = random.normal(row.inserted(0, rows), dtype);
        CHECK(equal_bits(sum(apply(partial, {x}), 0), sum(x, 0)));
      }
}

TEST_CASE("partial sums go on with what the rows before have given") {
  Random random(2);
  const Op& partial = *find_op("partial_sums");
  const Tensor x = random.normal({16, 7});
  const Tensor before = apply(partial, {slice(x, 0, 0, 6)});
  CHECK(equal_bits(apply(partial, {slice(x, 0, 6, 16), before}), apply(partial, {x})));
}

TEST_CASE("layer norm with gain and bias is one sweep over memory, its gradients for both included") {
  Random random(3);
  const Tensors inputs{random.normal({1024, 512}), random.normal({512}), random.normal({512}),
                       random.normal({1024, 512})};
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    Tensors at;
    for (std::size_t k = 0; k < 3; ++k) at.push_back(in[k].symbolic() ? in[k] : variable(in[k]));
    const Tensor y = normalized(at[0], at[1], at[2]);
    Tensors found = gradients(y, at, {.seed = in[3]});
    found.push_back(detach(y));
    return found;
  };
  const Plan planned = plan(f, inputs);
  // The sum of the seed and the seed times gain; all the rest; the end of both sums.
  CHECK(planned.steps() == 4);
  const std::string text = planned.text();
  CHECK(text.find("partial_sums") != text.rfind("partial_sums"));
  CHECK(planned.arena_bytes() < 2 * 1024 * 512 * 4);  // no product of seed and standardized input lies in memory
  for (const char* without : {"common", "tiles", "strands"}) check_for_all_threads(f, inputs, without);
}

TEST_CASE("sums begin in blocks of any number of rows, with rows left over, kept axes and f64") {
  Random random(4);
  for (const DType dtype : {f32, f64})
    for (const Shape& shape : {Shape{5003, 105}, Shape{40001, 16}, Shape{523, 1200}, Shape{16391, 4, 8}}) {
      CAPTURE(shape.text());
      const Tensor x = random.normal(shape, dtype), g = random.normal(shape, dtype);
      const PlanFunction f = [](const Tensors& in) -> Tensors {
        const Tensor h = tanh(in[0]) * in[1];
        return {sum(h, 0), sum(in[1], 0, keep_axis), h + sum(h, 0)};
      };
      CHECK(plan(f, {x, g}).text().find("partial_sums") != std::string::npos);
      check_for_all_threads(f, {x, g}, "common");
    }
}
