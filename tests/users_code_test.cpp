// What users' layers and losses throw that is no Error.
#include <doctest/doctest.h>

#include <new>
#include <stdexcept>
#include <string>

#include <twopass/core/error.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>

using namespace twopass;
using doctest::Contains;

namespace {

struct Cancelled : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws on values, where it is asked to.
template <typename Exception>
struct Throws : Layer {
  bool in_build = false;
  Parameter factor;
  void build(const Shapes&) override {
    factor = add_weight("factor", {1}, ones_initializer());
    if (in_build) throw Exception("no such row");
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    if (!inputs[0].symbolic()) throw Exception("no such row");
    return {inputs[0] * factor};
  }
  std::string type() const override { return "Throws"; }
};

template <typename Exception>
LayerHandle throws(const std::string& name = "") {
  LayerHandle made = layer<Throws<Exception>>();
  made->set_name(name);
  return made;
}

Model model_with(const LayerHandle& inner, bool run_eagerly) {
  Model model = Sequential({inner, Dense(1)}, {.input_shape = {2}, .name = "net"});
  model.compile({.loss = mean_squared_error(), .run_eagerly = run_eagerly});
  return model;
}

}  // namespace

TEST_CASE("any exception of a layer is told with the layer's name and its own words") {
  CHECK_THROWS_WITH_AS(throws<std::out_of_range>("reader")(ones({1, 2})), "no such row\n  in layer \"reader\"", Error);
  CHECK_THROWS_WITH_AS(throws<std::out_of_range>()(ones({1, 2})), "no such row\n  in a Throws layer", Error);
  CHECK_THROWS_WITH_AS(model_with(throws<Cancelled>(), true).fit(ones({3, 2}), ones({3, 1}), {.verbose = 0}),
                       Contains("no such row\n  in a Throws layer\n  in layer \"throws\"\n  of model \"net\""), Error);
}

TEST_CASE("a layer whose building throws has no weights of the attempt, and may be built again") {
  const LayerHandle reader = throws<std::out_of_range>("reader");
  auto& made = static_cast<Throws<std::out_of_range>&>(*reader);
  made.in_build = true;
  CHECK_THROWS_WITH_AS(reader(input({2})), "no such row\n  in layer \"reader\"", Error);
  CHECK(reader.parameters().empty());
  made.in_build = false;
  reader(input({2}));
  CHECK(reader.parameters().size() == 1);
}

TEST_CASE("the exception itself is the error's cause, through every layer and model") {
  Model model = model_with(throws<Cancelled>("reader"), true);
  try {
    model.fit(ones({3, 2}), ones({3, 1}), {.verbose = 0});
    FAIL("nothing was thrown");
  } catch (const Error& error) {
    REQUIRE(error.cause());
    CHECK_THROWS_AS(std::rethrow_exception(error.cause()), Cancelled);
  }
  CHECK_FALSE(Error("of the library").within("somewhere").cause());
}

TEST_CASE("memory that there is not stays std::bad_alloc") {
  struct Greedy : Layer {
    Tensors call(const Tensors&, const CallContext&) override { throw std::bad_alloc(); }
  };
  CHECK_THROWS_AS(layer<Greedy>()(ones({1})), std::bad_alloc);
}

TEST_CASE("an exception of a loss or a metric is told with its name") {
  const auto lost = [](const Tensor&, const Tensor&) -> Tensor { throw std::out_of_range("no such row"); };
  const Tensor one = ones({1, 1});
  CHECK_THROWS_WITH_AS(loss("mine", lost).per_sample(one, one), "mine((1, 1), (1, 1)): no such row", Error);
  CHECK_THROWS_WITH_AS(metric("mine", lost).per_sample(one, one), "mine((1, 1), (1, 1)): no such row", Error);
}
