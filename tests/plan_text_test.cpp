// What a plan says of its steps.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <twopass/twopass.h>

#include <string>
#include <utility>
#include <vector>

using namespace twopass;

TEST_CASE("profile and text of a model's step say which layers' calls a step has, and which parameter it updates") {
  const Tensor x = input({4});
  Model model(x, Dense(2)(Dense(3, {.activation = "relu"})(x)));
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  const Plan step = model.step_plan(ones({5, 4}), ones({5, 2}));
  std::string steps;
  for (const Plan::StepTime& each : step.profile(1)) steps += each.calls + ": " + each.places + "\n";
  const auto has = [&](const std::string& line) { return steps.find(line) != std::string::npos; };
  CHECK_MESSAGE(has("affine_relu: dense\n"), steps);
  CHECK_MESSAGE(has("affine: dense_1\n"), steps);
  CHECK_MESSAGE(has("gate: dense\n"), steps);  // of the backward pass
  CHECK_MESSAGE(has("dense/kernel"), steps);
  CHECK_MESSAGE(has("dense_1/bias"), steps);
  CHECK(step.text().find("; sgd/dense_1/kernel\n") != std::string::npos);
}

TEST_CASE("a line of a plan's text is one, whatever users call what stands in it") {
  const auto text = [](const std::string& of) {
    const Parameter weight(ones({3}), "weight" + of);
    return plan(
               [&](const Tensors& in) -> Tensors {
                 const Tensor y = within(in[0] * weight.tensor(), 0, 9, "advice" + of);
                 weight.set(weight.value() * 0.5);
                 return {y};
               },
               {ones({2, 3})}, {.input_names = {"image" + of}, .output_names = {"result" + of}})
        .text();
  };
  CHECK(text("\nof\r\ntwo") == text(" of  two"));
  CHECK(text("\nof\r\ntwo").find("= image of  two\n") != std::string::npos);
}

TEST_CASE("the rate of a step is the optimizer's in a plan's text, not that of the parameter that comes first") {
  const Tensor x = input({4});
  Model model(x, Dense(2)(Dense(3)(x)));
  model.compile({.optimizer = adamw(), .loss = mean_squared_error()});
  const Plan step = model.step_plan(ones({5, 4}), ones({5, 2}));
  int numbers = 0;
  for (const Plan::StepTime& each : step.profile(1)) {
    if (each.calls.find("pow") == std::string::npos && each.calls != "cast") continue;
    ++numbers;  // β₁ᵗ, β₂ᵗ, the rate of the decay and that of the step
    CHECK(each.places == "adamw");
  }
  CHECK(numbers > 0);
}

TEST_CASE("the update of a parameter is one sweep, whatever the optimizer: it reads and writes nothing twice") {
  Random random(1);
  const Tensor x = random.normal({8, 32}), y = random.normal({8, 64});
  // By optimizer: what of the kernel's size is read and written, its gradient among it.
  const std::vector<std::pair<Optimizer, int>> optimizers{{sgd({.momentum = 0.9}), 5},
                                                          {sgd({.momentum = 0.9, .nesterov = true}), 5},
                                                          {adam(), 7},
                                                          {adamw(), 7},
                                                          {rmsprop(), 5},
                                                          {rmsprop({.momentum = 0.9, .centered = true}), 9}};
  for (const auto& [optimizer, tensors] : optimizers) {
    const Tensor image = input({32});
    Model model(image, Dense(64, {.activation = "tanh"})(image), {.seed = 1});
    model.compile({.optimizer = optimizer, .loss = mean_squared_error()});
    int sweeps = 0;
    std::string steps;
    for (const Plan::StepTime& each : model.step_plan(x, y).profile(1)) {
      steps += fmt::format("{}: {}, {} B\n", each.places, each.calls, each.bytes);
      if (each.places.find("/kernel") == std::string::npos) continue;
      ++sweeps;
      CHECK(static_cast<double>(each.bytes) < 1.05 * 4 * 32 * 64 * tensors);
    }
    CAPTURE(steps);
    CHECK(sweeps == 1);
  }
}

TEST_CASE("text says what each step does, how much it moves and where it lies; profile times it") {
  const Tensor x = ones({128, 64}), w = ones({64, 32});
  const Plan planned = plan([&](const Tensors& in) -> Tensors { return {tanh(matmul(in[0], w)) * 2.0}; }, {x});
  CHECK(planned.text().find("FLOP") != std::string::npos);
  CHECK(planned.text().find("affine_tanh(%0, %1)  @ arena + 0") != std::string::npos);
  const auto profile = planned.profile({x}, 3);
  REQUIRE(profile.size() == planned.steps());
  CHECK(profile[0].calls == "affine_tanh");
  CHECK(profile[0].bytes == 4 * (128 * 64 + 64 * 32 + 128 * 32));
  CHECK(planned.peak_bytes() == planned.arena_bytes() + 4 * 128 * 32);
  CHECK_THROWS_WITH_AS(planned.profile(0), "profile: the number of runs must be 1 or more, not 0", Error);
  CHECK_THROWS_WITH_AS(planned.profile({x}, -5), "profile: the number of runs must be 1 or more, not -5", Error);
}

TEST_CASE("text says at its head what a plan reads, by name, and at its end what it gives and sets") {
  const Tensor image = input({4}, "image");
  Model model(image, Dense(2)(Dense(3, {.activation = "relu"})(image)));
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  const std::string text = model.step_plan(ones({5, 4}), ones({5, 2})).text();
  const std::size_t first_step = text.find("\n   0  ");
  REQUIRE(first_step != std::string::npos);
  for (const char* source : {"\n      %0 f32 (5, 4) = image\n", "f32 (5, 2) = dense_1 targets\n",
                             "f32 (4, 3) = parameter \"dense/kernel\"\n", "f32 (2,) = parameter \"dense_1/bias\"\n"})
    CHECK_MESSAGE(text.find(source) < first_step, source << " in\n" << text);
  CHECK(text.find(" as loss\n", first_step) != std::string::npos);
  CHECK(text.find("      sets \"dense/kernel\" to %", first_step) != std::string::npos);
}

TEST_CASE("a view of an input is listed together with the input") {
  const Plan planned = plan([](const Tensors& in) -> Tensors { return {exp(slice(in[0], 0, 1, 2))}; }, {ones({3, 4})});
  CHECK(planned.text().find("%0 f32 (3, 4) = input 0\n      %1 f32 (1, 4) = %0 from element 4\n") != std::string::npos);
}

TEST_CASE("each pass of plans has a stage, that of AVX-512 where the processor has it") {
  const auto stages = [](const std::vector<std::string>& without) {
    std::vector<std::string> names;
    for (const Plan::Stage& stage : plan([](const Tensors& in) -> Tensors { return {(in[0] * 2.0 + 1.0) * in[0]}; },
                                         {ones({64, 32})}, {.without = without, .keep_stages = true})
                                        .stages())
      names.push_back(stage.pass + (stage.text.find("calls as machine code for AVX-512") != std::string::npos ? ": 512"
                                    : stage.text.find("calls as machine code for AVX2") != std::string::npos  ? ": 2"
                                                                                                              : ""));
    return names;
  };
  std::vector<std::string> wanted{"trace"};
  for (const PlanPass& pass : plan_passes()) wanted.push_back(pass.name);
  wanted.resize(wanted.size() - 2);
  const std::vector<std::string> none = wanted;
  const bool wide = plan_code() == "machine code for AVX-512";
  if (wide || plan_code() == "machine code for AVX2") wanted.push_back("code: 2");
  CHECK(stages({"avx512"}) == wanted);
  if (wide) wanted.push_back("avx512: 512");
  CHECK(stages({}) == wanted);
  CHECK(stages({"code"}) == none);
}
