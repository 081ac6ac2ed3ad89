// What products and convolutions in plans take over from the call behind them.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

using namespace twopass;

namespace {

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

struct Behind {
  const char* into;  // the op that is left
  std::vector<Shape> shapes;
  PlanFunction f;
};

bool calls(const std::string& text, const std::string& op) { return text.find("= " + op + "(") != std::string::npos; }

// That the plan is one call of `into`, two without the pass, and gives the bits of eager execution either way, with
// infinity and NaN among the inputs too.
void check_one_call(const Behind& behind) {
  for (const DType dtype : {f32, f64}) {
    CAPTURE(behind.into);
    CAPTURE(name_of(dtype));
    Random random(11);
    Tensors inputs;
    for (const Shape& shape : behind.shapes) inputs.push_back(random.normal(shape, dtype));
    const Plan planned = plan(behind.f, inputs), apart = plan(behind.f, inputs, {.without = {"absorb"}});
    INFO(planned.text());
    CHECK(planned.text().starts_with("1 steps of 1 calls"));
    CHECK(calls(planned.text(), behind.into));
    CHECK(!apart.text().starts_with("1 steps of 1 calls"));
    const Tensor eager = behind.f(inputs)[0];
    CHECK(equal_bits(planned(inputs)[0], eager));
    CHECK(equal_bits(apart(inputs)[0], eager));
    Tensor& wild = inputs.back();  // numbers that relu and sums must not hide
    const Tensor place = reshape(cast(arange(0, static_cast<double>(wild.elements()), 1, i64), dtype), wild.shape());
    wild = where(place < 1.0, full({}, std::nan(""), dtype), where(place < 2.0, full({}, -INFINITY, dtype), wild));
    CHECK(equal_bits(planned(inputs)[0], behind.f(inputs)[0]));
  }
}

// That the plan still has the calls `kept` apart, and the bits of eager execution.
void check_apart(const PlanFunction& f, const Tensors& inputs, const std::vector<std::string>& kept) {
  const Plan planned = plan(f, inputs);
  INFO(planned.text());
  for (const std::string& op : kept) CHECK(calls(planned.text(), op));
  const Tensors eager = f(inputs), found = planned(inputs);
  for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(found[k], eager[k]));
}

}  // namespace

TEST_CASE("a bias, a tensor that is added and an activation behind a product are part of it, bit for bit") {
  const Shape x{37, 29}, w{29, 45}, b{45}, c{37, 45};
  for (const Behind& each : std::vector<Behind>{
           {"affine", {x, w, b}, [](const Tensors& in) -> Tensors { return {matmul(in[0], in[1]) + in[2]}; }},
           {"affine", {x, w, {1, 45}}, [](const Tensors& in) -> Tensors { return {in[2] + matmul(in[0], in[1])}; }},
           {"affine_relu", {x, w}, [](const Tensors& in) -> Tensors { return {relu(matmul(in[0], in[1]))}; }},
           {"affine_sigmoid", {x, w}, [](const Tensors& in) -> Tensors { return {sigmoid(matmul(in[0], in[1]))}; }},
           {"affine_tanh", {x, w}, [](const Tensors& in) -> Tensors { return {tanh(matmul(in[0], in[1]))}; }},
           {"affine_tanh", {x, w, b}, [](const Tensors& in) -> Tensors { return {tanh(affine(in[0], in[1], in[2]))}; }},
           {"affine_relu",
            {x, w, b},
            [](const Tensors& in) -> Tensors { return {relu(affine(in[0], in[1], {}) + in[2])}; }},
           {"fused_product_add",
            {x, w, b, c},
            [](const Tensors& in) -> Tensors { return {in[3] + affine(in[0], in[1], in[2])}; }},
           {"fused_product_add",
            {x, w, b, c},
            [](const Tensors& in) -> Tensors { return {sigmoid(matmul(in[0], in[1]) + in[2] + in[3])}; }},
           {"fused_product_add",
            {x, w, c},
            [](const Tensors& in) -> Tensors { return {relu(in[2] + matmul(in[0], in[1]))}; }},
           {"multiply_add", {x, w, c}, [](const Tensors& in) -> Tensors { return {matmul(in[0], in[1]) + in[2]}; }}})
    check_one_call(each);
}

TEST_CASE("transposed products, stacks of them and products too large for one tile take over what is behind them") {
  for (const Behind& each : std::vector<Behind>{
           {"fused_product",
            {{37, 29}, {45, 29}, {45}},
            [](const Tensors& in) -> Tensors { return {tanh(matmul(in[0], in[1], {.transpose_b = true}) + in[2])}; }},
           {"fused_product_add",
            {{29, 70}, {29, 12}, {12}, {70, 12}},
            [](const Tensors& in) -> Tensors {
              return {in[3] + (matmul(in[0], in[1], {.transpose_a = true}) + in[2])};
            }},
           {"affine",
            {{3, 7, 9}, {9, 20}, {20}},
            [](const Tensors& in) -> Tensors { return {matmul(in[0], in[1]) + in[2]}; }},
           {"fused_product",
            {{3, 7, 9}, {3, 9, 20}, {20}},
            [](const Tensors& in) -> Tensors { return {relu(matmul(in[0], in[1]) + in[2])}; }},
           {"fused_product_add",
            {{4, 1, 7, 9}, {3, 9, 20}, {4, 3, 7, 20}},
            [](const Tensors& in) -> Tensors { return {sigmoid(matmul(in[0], in[1]) + in[2])}; }},
           {"fused_product_add",
            {{900, 130}, {130, 200}, {200}, {900, 200}},
            [](const Tensors& in) -> Tensors { return {tanh(affine(in[0], in[1], in[2]) + in[3])}; }},
           {"affine_tanh", {{60, 1100}, {1100, 900}, {900}}, [](const Tensors& in) -> Tensors {
              return {tanh(affine(in[0], in[1], in[2]))};
            }}})
    check_one_call(each);
}

TEST_CASE("a bias, relu and a tensor that is added behind a convolution are part of it, bit for bit") {
  const Shape x{5, 4, 9, 8}, kernel{6, 4, 3, 3}, y{5, 6, 7, 6};
  for (const Behind& each : std::vector<Behind>{
           {"conv2d",
            {x, kernel, {6, 1, 1}},
            [](const Tensors& in) -> Tensors { return {conv2d(in[0], in[1]) + in[2]}; }},
           {"conv2d_relu",
            {x, kernel, {1, 6, 1, 1}},
            [](const Tensors& in) -> Tensors { return {relu(in[2] + conv2d(in[0], in[1]))}; }},
           {"conv2d_relu",
            {x, kernel, {6}},
            [](const Tensors& in) -> Tensors { return {relu(conv2d(in[0], in[1], in[2]))}; }},
           {"conv2d_add", {x, kernel, y}, [](const Tensors& in) -> Tensors { return {conv2d(in[0], in[1]) + in[2]}; }},
           {"conv2d_add_relu",
            {x, kernel, {6}, y},
            [](const Tensors& in) -> Tensors { return {relu(in[3] + conv2d(in[0], in[1], in[2]))}; }},
           {"conv2d_add_relu",
            {{3, 4, 9, 9}, {6, 2, 3, 3}, {6, 1, 1}, {3, 6, 5, 5}},
            [](const Tensors& in) -> Tensors {
              return {relu(conv2d(in[0], in[1], {}, {.strides = 2, .padding = 1, .groups = 2}) + in[2] + in[3])};
            }},
           {"conv2d_add", {{40, 16, 12, 12}, {24, 16, 1, 1}, {24}, {40, 24, 12, 12}}, [](const Tensors& in) -> Tensors {
              return {conv2d(in[0], in[1], in[2]) + in[3]};
            }}})
    check_one_call(each);
}

TEST_CASE("S7, S8: products of nothing and over nothing take over what is behind them") {
  for (const Behind& each : std::vector<Behind>{
           {"affine_tanh",
            {{0, 3}, {3, 4}, {4}},
            [](const Tensors& in) -> Tensors { return {tanh(matmul(in[0], in[1]) + in[2])}; }},
           {"affine_sigmoid",
            {{2, 0}, {0, 4}, {4}},
            [](const Tensors& in) -> Tensors { return {sigmoid(matmul(in[0], in[1]) + in[2])}; }},
           {"fused_product_add", {{5, 2, 0}, {5, 0, 4}, {5, 2, 4}, {4}}, [](const Tensors& in) -> Tensors {
              return {tanh(in[2] + (matmul(in[0], in[1]) + in[3]))};
            }}})
    check_one_call(each);
}

TEST_CASE("in bf16 products and updates of weights give the bits of eager execution too") {
  if (!bf16_available()) return;
  const PrecisionScope scope(Precision::bf16);
  Random random(13);
  const Tensor x = random.normal({128, 784}), g = random.normal({128, 10}), h = random.normal({784, 64}),
               b = random.normal({64}), c = random.normal({128, 64}), w = random.normal({784, 10});
  check_apart([](const Tensors& in) -> Tensors { return {tanh(in[3] + affine(in[0], in[1], in[2]))}; }, {x, h, b, c},
              {"fused_product_add"});
  check_apart(
      [](const Tensors& in) -> Tensors {
        return {sum(cumsum(in[2], 0) + matmul(in[0], in[1], {.transpose_a = true}), 1)};
      },
      {x, g, w}, {"multiply_add"});
}

TEST_CASE("a product is added in place to what nobody reads after it") {
  Random random(12);
  for (const std::int64_t depth : {20, 700}) {
    const Tensors inputs{random.normal({40, depth}), random.normal({depth, 30}), random.normal({30}),
                         random.normal({40, 30})};
    const PlanFunction f = [](const Tensors& in) -> Tensors {
      const Tensor c = cumsum(in[3], 0);
      return {sum(tanh(affine(in[0], in[1], in[2]) + c), 1)};
    };
    const Plan planned = plan(f, inputs);
    INFO(planned.text());
    CHECK(calls(planned.text(), "fused_product_add"));
    CHECK(planned.arena_bytes() == 40 * 30 * 4);
    CHECK(equal_bits(planned(inputs)[0], f(inputs)[0]));
  }
}

TEST_CASE("what is read elsewhere too, or does not fit, stays a call of its own") {
  Random random(5);
  const Tensor x = random.normal({6, 5}), w = random.normal({5, 8}), b = random.normal({8}), c = random.normal({6, 8});
  // The product is an output, read twice, or what the other side is made of.
  check_apart(
      [](const Tensors& in) -> Tensors {
        const Tensor h = matmul(in[0], in[1]);
        return {h, relu(h)};
      },
      {x, w}, {"matmul", "relu"});
  check_apart(
      [](const Tensors& in) -> Tensors {
        const Tensor h = affine(in[0], in[1], in[2]);
        return {h + tanh(h)};
      },
      {x, w, b}, {"affine", "tanh", "add"});
  check_apart(
      [](const Tensors& in) -> Tensors {
        const Tensor h = matmul(in[0], in[1]);
        return {h + h};
      },
      {x, w}, {"matmul", "add"});
  // What is added spreads, is spread by the product, or comes before the bias.
  for (const Shape& other : {Shape{6, 1}, Shape{}, Shape{3, 6, 8}})
    check_apart([](const Tensors& in) -> Tensors { return {matmul(in[0], in[1]) + in[2]}; },
                {x, w, random.normal(other)}, {"matmul", "add"});
  check_apart([](const Tensors& in) -> Tensors { return {matmul(in[0], in[1]) + in[2]}; },
              {random.normal({1, 5}), w, c}, {"matmul", "add"});
  check_apart([](const Tensors& in) -> Tensors { return {matmul(in[0], in[1]) + in[3] + in[2]}; }, {x, w, b, c},
              {"multiply_add", "add"});
  check_apart([](const Tensors& in) -> Tensors { return {affine(in[0], in[1], in[2]) + in[2]}; }, {x, w, b},
              {"affine", "add"});
  check_apart([](const Tensors& in) -> Tensors { return {tanh(relu(matmul(in[0], in[1])))}; }, {x, w},
              {"affine_relu", "tanh"});
  check_apart([](const Tensors& in) -> Tensors { return {elu(matmul(in[0], in[1]))}; }, {x, w}, {"matmul", "elu"});
}

TEST_CASE("a convolution leaves what its kernel can't do, or what is read elsewhere, to calls of its own") {
  Random random(6);
  const Tensor x = random.normal({2, 3, 5, 5}), kernel = random.normal({4, 3, 3, 3}), b = random.normal({4, 1, 1});
  check_apart([](const Tensors& in) -> Tensors { return {tanh(conv2d(in[0], in[1]))}; }, {x, kernel},
              {"conv2d", "tanh"});
  check_apart(
      [](const Tensors& in) -> Tensors {
        const Tensor y = conv2d(in[0], in[1]);
        return {relu(y), y};
      },
      {x, kernel}, {"conv2d", "relu"});
  check_apart([](const Tensors& in) -> Tensors { return {conv2d(in[0], in[1]) + in[2] + in[2]}; }, {x, kernel, b},
              {"conv2d", "add"});
  for (const Shape& other : {Shape{3}, Shape{1, 4, 3, 3}, Shape{2, 4, 1, 1}})
    check_apart([](const Tensors& in) -> Tensors { return {conv2d(in[0], in[1]) + in[2]}; },
                {x, kernel, random.normal(other)}, {"conv2d", "add"});
}

TEST_CASE("the blocks of a residual network are two products each in its forward pass") {
  const Tensor x = input({64}, "x");
  Tensor h = x;
  for (int k = 0; k < 3; ++k) h = h + Dense(64)(Dense(64, {.activation = "relu"})(h));
  Model model(x, Dense(10)(h));
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  const std::string text = model.step_plan(ones({32, 64}), ones({32, 10})).text();
  INFO(text);
  std::size_t blocks = 0;
  for (std::size_t at = text.find("= fused_product_add("); at != std::string::npos;
       at = text.find("= fused_product_add(", at + 1))
    ++blocks;
  CHECK(blocks == 3);
}

TEST_CASE("relu's gradient goes with that of max-pooling behind it, in any window") {
  Random random(13);
  for (const DType dtype : {f32, f64})
    for (const Pool2dOptions& options :
         {Pool2dOptions{}, Pool2dOptions{.window = 3, .strides = 2, .padding = {1, 1, 1, 1}}}) {
      const auto f = [&](const Tensors& in) {
        return Tensors{grad([&](const Tensor& t) { return sum(max_pool2d(relu(t), options) * in[1]); })(in[0])};
      };
      const Tensor x = round(random.normal({2, 3, 6, 4}, dtype) * 2.0);
      const Tensor wild = where(equal(x, 3.0), full({}, std::nan(""), dtype), x);
      const Tensor g = random.normal(max_pool2d(x, options).shape(), dtype);
      const Plan planned = plan(f, {x, g});
      INFO(planned.text());
      CHECK(calls(planned.text(), "max_pool2d_relu_gradient"));
      CHECK(!calls(planned.text(), "gate"));
      CHECK(equal_bits(planned({x, g})[0], f({x, g})[0]));
      CHECK(equal_bits(planned({wild, g})[0], f({wild, g})[0]));
    }
}
