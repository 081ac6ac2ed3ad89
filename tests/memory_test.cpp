#include <doctest/doctest.h>

#include <cstdint>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/parameter.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

using namespace twopass;
using doctest::Contains;

namespace {

// Released after main, when other statics are gone already.
const Parameter kWeights(ones({3, 3}), "static");
const Tensor kRecorded = square(kWeights.tensor()) * 2.0;

}  // namespace

TEST_CASE("G22: tensors and parameters of static storage can be used, and are released after main") {
  CHECK(backward(sum(kRecorded))[kWeights].at<float>(0) == 4);
}

TEST_CASE("memory of tensors is aligned to 64 bytes") {
  for (std::int64_t n : {1, 17, 64, 1000, 1 << 20})
    CHECK(reinterpret_cast<std::uintptr_t>(uninitialised({n + 100}, f32).data<float>()) % 64 == 0);
}

TEST_CASE("the counters say what is handed out now, and the most there has been") {
  const auto before = memory::live_bytes();
  memory::reset_peak();
  {
    const Tensor big = zeros({1000, 1000});
    CHECK(memory::live_bytes() - before >= 4000000);
    CHECK(memory::live_bytes() - before < 4001000);
  }
  CHECK(memory::live_bytes() == before);
  CHECK(memory::peak_bytes() - before >= 4000000);
  memory::reset_peak();
  CHECK(memory::peak_bytes() == before);
}

TEST_CASE("a parameter's first value is drawn when it is read, from the seed that it has by then") {
  int drawn = 0;
  const Parameter p("p", {2}, f32, [&](const Shape& shape, DType dtype, Random& random) {
    ++drawn;
    return random.uniform(shape, dtype);
  });
  p.seed(5);
  p.seed(6);
  CHECK(drawn == 0);
  CHECK(p.value().values<float>() == Random(6).uniform({2}).values<float>());
  p.seed(7);
  CHECK(p.value().values<float>() == Random(6).uniform({2}).values<float>());
  CHECK(drawn == 1);
}

TEST_CASE("an UndrawnScope gives symbols for parameters that have no value yet, and the value for others") {
  const Parameter fresh("fresh", {2, 3}, f32, [](const Shape& shape, DType, Random&) { return ones(shape); });
  const Parameter known(ones({2}), "known");
  {
    const UndrawnScope scope;
    CHECK(fresh.tensor().symbolic());
    CHECK(fresh.tensor().shape() == Shape{2, 3});
    CHECK_FALSE(known.tensor().symbolic());
  }
  CHECK_FALSE(fresh.tensor().symbolic());
}

TEST_CASE("a parameter refuses other shapes, dtypes and symbols, and keeps its value then") {
  const Parameter p(tensor({1.0, 2.0}), "weights");
  CHECK_THROWS_WITH_AS(p.set(ones({3})), Contains("parameter \"weights\" holds f32 (2,) and cannot be set to f32 (3,)"),
                       Error);
  CHECK_THROWS_WITH_AS(p.set(ones({2}, f64)), Contains("f64"), Error);
  CHECK_THROWS_WITH_AS(p.set(symbol({2}, f32, "s")), Contains("a symbol"), Error);
  CHECK(p.value().values<float>() == std::vector<float>{1, 2});
}

TEST_CASE("a leaf knows its parameter, and a substitution stands in for it on this thread") {
  const Parameter p(tensor({1.0}), "p");
  CHECK(Parameter::of(p.tensor()) == p);
  CHECK_FALSE(Parameter::of(variable(ones({1}))).defined());
  {
    const Substitution scope({p}, {tensor({5.0})});
    CHECK(p.tensor().at<float>(0) == 5);
    CHECK(p.value().at<float>(0) == 1);
  }
  CHECK(p.tensor().at<float>(0) == 1);
}

TEST_CASE("shapes say their text, their elements and what is wrong with an axis") {
  CHECK(Shape().text() == "()");
  CHECK(Shape{4}.text() == "(4,)");
  CHECK(Shape({kOpen, 3}).text() == "(None, 3)");
  CHECK(Shape().elements() == 1);
  CHECK(Shape{2, 0, 3}.elements() == 0);
  CHECK(Shape{2, 3}.index_text(4) == "(1, 1)");
  CHECK(Shape{7}.index_text(4) == "4");
  CHECK_THROWS_WITH_AS(Shape({2, 3}).axis(3), Contains("axis 3 is out of range for rank 2"), Error);
  CHECK_THROWS_WITH_AS(Shape({kOpen, 3}).elements(), Contains("open"), Error);
}
