// What plans refuse, and in which words.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <vector>

using namespace twopass;

TEST_CASE("an op that refuses its inputs inside a plan is named, and nothing changes") {
  const Parameter w(ones({3, 2}), "w");
  const Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        const Tensor y = gather(w, in[0]);
        w.set(w * 2.0);
        return {y};
      },
      {tensor({0, 0})});
  CHECK_THROWS_WITH_AS(step({tensor({0, 7})}), doctest::Contains("gather((3, 2), (2,)"), Error);
  CHECK(w.value().at<double>(0) == 1);
  CHECK(step({tensor({0, 2})})[0].shape() == Shape{2, 2});
}

TEST_CASE("inputs of another number, shape or dtype are refused with what was planned for") {
  const Plan planned = plan([](const Tensors& in) -> Tensors { return {exp(in[0])}; }, {ones({2, 3})});
  CHECK_THROWS_WITH_AS(planned({}), "a plan of 1 input was given 0", Error);
  CHECK_THROWS_WITH_AS(planned({ones({3, 2})}), "input 0 of a plan is f32 (3, 2) where it was planned for f32 (2, 3)",
                       Error);
  CHECK_THROWS_WITH_AS(planned({ones({2, 3}, f64)}), doctest::Contains("is f64 (2, 3)"), Error);
}

TEST_CASE("inputs that are undefined or have open axes are named, and stages that were not kept") {
  const PlanFunction twice = [](const Tensors& in) -> Tensors { return {in[0] + in[1]}; };
  const Tensor x = ones({3});
  CHECK_THROWS_WITH_AS(plan(twice, {x, Tensor()}), "plan: input 1 is an undefined tensor", Error);
  CHECK_THROWS_WITH_AS(plan(twice, {input({3}, "x"), x}),
                       doctest::Contains("plan: input 0 has an open axis, (None, 3), but"), Error);
  const Plan planned = plan(twice, {x, x});
  CHECK_THROWS_WITH_AS(planned({x, Tensor()}), "input 1 of a plan is an undefined tensor", Error);
  CHECK_THROWS_WITH_AS(planned.stages(), doctest::Contains(".keep_stages = true"), Error);
}

TEST_CASE("a function that reads values cannot be planned and says so") {
  CHECK_THROWS_WITH_AS(plan([](const Tensors& in) -> Tensors { return {in[0] * in[0].item<double>()}; }, {ones({1})}),
                       doctest::Contains("has no elements: graphs, plans and the shapes of layers are made without "
                                         "values, and what reads them cannot be part of these; eagerly() lets it run "
                                         "within a plan, and sizes are in .shape()"),
                       Error);
}

TEST_CASE("a model is not made in a plan's function, and the error says where instead") {
  CHECK_THROWS_WITH_AS(
      plan([](const Tensors& in) -> Tensors { return {Sequential({Dense(3)}, {.input_shape = {4}})(in[0])}; },
           {ones({2, 4})}),
      doctest::Contains("a model is made in a plan's function, where parameters, such as its \"bias\" of "
                        "shape (3,), are symbols of the plan: make the model outside and call it in the "
                        "function"),
      Error);
}

TEST_CASE("a plan that is run in its own check is refused and runs on") {
  const Tensor x = ones({3});
  const Plan doubled = plan([](const Tensors& in) { return Tensors{in[0] * 2.0}; }, {x});
  Tensors y, inner;
  CHECK_THROWS_WITH_AS(doubled.run_into(y, {x}, [&](const Tensors&) { doubled.run_into(inner, {x}); }),
                       doctest::Contains("while it runs"), Error);
  CHECK(doubled({x})[0].values<float>() == std::vector<float>{2, 2, 2});
}
