// Images whose channels stay in blocks between the convolutions of a plan.
#include <doctest/doctest.h>
#include <twopass/ops/precision.h>
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

double furthest(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item<float>(); }

// How often a text names calls of an op.
int calls(const std::string& text, const std::string& op) {
  int count = 0;
  for (std::size_t at = text.find("= " + op + "("); at != std::string::npos; at = text.find("= " + op + "(", at + 1))
    ++count;
  return count;
}

// The block that this machine's convolutions of f32 like; 0 where they like planes.
std::int64_t liked_block() {
  const Tensor x = zeros({2, 32, 8, 8}), kernel = zeros({32, 32, 3, 3});
  const Op& op = *find_op("conv2d");
  const Spec specs[] = {{x.shape(), f32}, {kernel.shape(), f32}};
  const auto form = op.in_blocks(op.arguments(op.defaults()).get(), Specs(std::span(specs)), {0, ~0U, true});
  return form ? form->blocks.size : 0;
}

Tensor in_blocks(const Tensor& x, std::int64_t block) {
  return transpose(reshape(x, {x.shape()[0], x.shape()[1] / block, block, x.shape()[2], x.shape()[3]}),
                   {0, 1, 3, 4, 2});
}

Tensor convolved(const Tensor& x, const Tensor& kernel, const Tensor& bias = {}) {
  return conv2d(x, kernel, bias, {.padding = "same"});
}

struct Network {
  const char* name;
  std::vector<Shape> shapes;
  Tensor (*f)(const Tensors& t);
};

// Between two convolutions each, or behind one, what may stay in blocks.
std::vector<Network> networks() {
  const Shape images{3, 32, 8, 6}, kernel{32, 32, 3, 3};
  return {
      {"relu and quarters",
       {images, kernel, {32}, kernel},
       [](const Tensors& t) { return convolved(max_pool2d(convolved(t[0], t[1], t[2]) * 2.0), t[3]) * 3.0; }},
      {"a residual",
       {images, kernel, kernel, kernel},
       [](const Tensors& t) {
         const Tensor first = convolved(t[0], t[1]);
         return convolved(relu(first + convolved(tanh(first), t[2])), t[3]);
       }},
      {"one number for each channel, each place, each place of each image",
       {images, kernel, {1, 32, 1, 1}, {32, 1, 1}, {8, 6}, {3, 1, 8, 6}, {}, kernel},
       [](const Tensors& t) {
         return convolved(tanh((convolved(t[0], t[1]) * t[2] + t[3]) * t[4] + t[5]) * t[6], t[7]);
       }},
      {"batch normalisation",
       {images, kernel, {32}, {32}, kernel},
       [](const Tensors& t) {
         const Tensor x = convolved(t[0], t[1]), centred = x - mean(x, {0, 2, 3}, keep_axis);
         const Tensor scaled = centred / sqrt(mean(square(centred), {0, 2, 3}, keep_axis) + 1e-3);
         return convolved(scaled * reshape(t[2], {32, 1, 1}) + reshape(t[3], {32, 1, 1}), t[4]);
       }},
      {"sums over places, over channels, over all",
       {images, kernel, kernel},
       [](const Tensors& t) {
         const Tensor x = convolved(sigmoid(convolved(t[0], t[1])), t[2]);
         return sum(tanh(x), {2, 3}) * 0.1 + reshape(mean(square(x), {1, 2, 3}, keep_axis), {3, 1}) + sum(x) * 0.01;
       }},
      {"images that are needed as planes too",
       {images, kernel, kernel},
       [](const Tensors& t) {
         const Tensor x = relu(convolved(t[0], t[1]));
         return convolved(x, t[2]) + flip(x, {3});
       }},
      {"groups and strides",
       {images, {32, 2, 3, 3}, {64, 32, 3, 3}, {32, 64, 1, 1}},
       [](const Tensors& t) {
         const Tensor apart = conv2d(t[0], t[1], {}, {.padding = "same", .groups = 16});
         return convolved(relu(conv2d(apart, t[2], {}, {.strides = 2, .padding = "same"})), t[3]);
       }},
  };
}

Tensors numbers(const Network& network) {
  Random random(7);
  Tensors made;
  for (const Shape& shape : network.shapes)
    made.push_back(random.normal(shape) * (shape.rank() == 4 && shape[2] < 4 && shape[1] > 1 ? 0.1 : 1.0));
  return made;
}

// The mean square and its gradients by all inputs.
PlanFunction with_gradients(const Network& network) {
  return [f = network.f](const Tensors& in) {
    auto [value, gradients] = value_and_gradients([f](const Tensors& t) { return mean(square(f(t))); }, in);
    gradients.push_back(value);
    return gradients;
  };
}

}  // namespace

TEST_CASE("between convolutions images stay in blocks, with the values and gradients of eager execution") {
  const std::int64_t block = liked_block();
  for (const Network& network : networks()) {
    CAPTURE(network.name);
    const Tensors inputs = numbers(network);
    const PlanFunction f = with_gradients(network);
    const Plan planned = plan(f, inputs), planes = plan(f, inputs, {.without = {"channels"}});
    INFO(planned.text());
    CHECK(calls(planes.text(), "conv2d_blocked") == 0);
    if (block) {
      CHECK(calls(planned.text(), "conv2d_blocked") >= 2);
      CHECK(calls(planned.text(), "conv2d_blocked_kernel_gradient") >= 2);
      CHECK(calls(planned.text(), "conv2d_blocked_input_gradient") >= 1);
    }
    const Tensors eager = f(inputs), found = planned(inputs), apart = planes(inputs);
    Tensors wide;
    for (const Tensor& each : inputs) wide.push_back(cast(each, f64));
    const Tensors right = f(wide);
    for (std::size_t k = 0; k < eager.size(); ++k) {
      CAPTURE(k);
      REQUIRE(found[k].shape() == eager[k].shape());
      const double size = max(abs(right[k])).item<double>();
      CHECK(furthest(found[k], cast(right[k], f32)) <= 1e-5 * size);
      CHECK(furthest(found[k], apart[k]) <= 1e-5 * size);
    }
  }
}

TEST_CASE("convolutions have the same bits whether their images lie in blocks or in planes") {
  const std::int64_t block = liked_block();
  if (block == 0) return;
  const Network network = networks()[1];
  const Tensors inputs = numbers(network);
  const PlanFunction f = [&](const Tensors& in) { return Tensors{network.f(in)}; };
  const Plan planned = plan(f, inputs);
  INFO(planned.text());
  CHECK(calls(planned.text(), "conv2d_blocked") + calls(planned.text(), "conv2d_blocked_add_relu") == 3);
  CHECK(equal_bits(planned(inputs)[0], network.f(inputs)));
  Tensor wild = inputs[0] * 1.0;  // what relu must not hide
  wild = where(greater(wild, 2.5), full({}, std::nan("")), where(less(wild, -2.5), full({}, INFINITY), wild));
  const Tensors odd{wild, inputs[1], inputs[2], inputs[3]};
  CHECK(equal_bits(planned(odd)[0], network.f(odd)));
}

TEST_CASE("what convolutions would turn in cache is not turned in memory") {
  const Tensors inputs = numbers({"", {{3, 32, 8, 6}, {32, 32, 3, 3}, {1536, 5}}, nullptr});
  const Plan planned =
      plan([](const Tensors& t) { return Tensors{matmul(flatten(relu(convolved(t[0], t[1]))), t[2])}; }, inputs);
  INFO(planned.text());
  CHECK(calls(planned.text(), "conv2d_relu") == 1);
  CHECK(calls(planned.text(), "transpose") == 0);
}

TEST_CASE("outputs and new parameters of a plan are in planes whatever lies in blocks within it") {
  const Network network = networks()[1];
  const Tensors inputs = numbers(network);
  const auto f = [](const Tensors& t) {
    const Tensor first = relu(convolved(t[0], t[1])), second = tanh(convolved(first, t[2]));
    return Tensors{second, convolved(second, t[3]), convolved(second, t[1]), first};
  };
  const Plan planned = plan(f, inputs);
  const Tensors found = planned(inputs), eager = f(inputs);
  for (std::size_t k = 0; k < eager.size(); ++k) CHECK(equal_bits(found[k], eager[k]));
}

TEST_CASE("a parameter that is an image, and its new value, are in planes") {
  const Network network = networks()[1];
  const Tensors inputs = numbers(network);
  Parameter image(inputs[0], "image");
  const auto next = [&](const Tensor& x) { return convolved(tanh(convolved(x, inputs[1])), inputs[2]); };
  const Tensor expected = next(inputs[0]);
  const Plan planned = plan(
      [&](const Tensors&) {
        const Tensor made = next(image.value());
        image.set(made);
        return Tensors{convolved(made, inputs[3]), convolved(made, inputs[1])};
      },
      {});
  const Tensor found = planned(Tensors{})[0];
  CHECK(equal_bits(image.value(), expected));
  CHECK(equal_bits(found, convolved(expected, inputs[3])));
}

TEST_CASE("batches of no image, channels that no block divides, f64 and masks stay right") {
  const auto f = [](const Tensors& t) {
    const Tensor x = convolved(t[0], t[1]);
    return Tensors{convolved(where(greater(x, 0.0), x, x * 0.1), t[2])};
  };
  Random random(9);
  for (const std::int64_t images : {0, 2})
    for (const std::int64_t channels : {32, 3})
      for (const DType dtype : {f32, f64}) {
        const Tensors inputs{random.normal({images, channels, 6, 6}, dtype),
                             random.normal({channels, channels, 3, 3}, dtype) * 0.1,
                             random.normal({channels, channels, 3, 3}, dtype) * 0.1};
        CHECK(equal_bits(plan(f, inputs)(inputs)[0], f(inputs)[0]));
      }
}

TEST_CASE("calls on blocks give what those on planes give, in any mixture and without a library") {
  Random random(3);
  const Op& op = *find_op("conv2d_blocked");
  for (const DType dtype : {f32, f64})
    for (const std::int64_t block : {16, 8, 4})
      for (const bool image : {true, false})
        for (const bool output : {true, false}) {
          CAPTURE(name_of(dtype));
          CAPTURE(block);
          CAPTURE(image);
          CAPTURE(output);
          const Tensor x = random.normal({3, 32, 7, 5}, dtype), kernel = random.normal({16, 32, 3, 2}, dtype),
                       bias = random.normal({16}, dtype), c = random.normal({3, 16, 4, 5}, dtype);
          const Attributes with{{"strides", std::vector<std::int64_t>{2, 1}},
                                {"padding", std::vector<std::int64_t>{1, 1, 0, 1}},
                                {"same", false},
                                {"dilation", std::vector<std::int64_t>{1, 1}},
                                {"groups", std::int64_t{1}},
                                {"size", std::vector<std::int64_t>{1, 1}},
                                {"image_block", image ? block : 0},
                                {"output_block", output ? block : 0},
                                {"added", true},
                                {"relu", true}};
          const Tensor found =
              apply(op, op.arguments(with),
                    Tensors{output ? in_blocks(c, block) : c, image ? in_blocks(x, block) : x, kernel, bias});
          const Tensor expected = relu(c + conv2d(x, kernel, bias, {.strides = {2, 1}, .padding = {1, 1, 0, 1}}));
          CHECK(max(abs(found - (output ? in_blocks(expected, block) : expected))).item<double>() <=
                (dtype == f32 ? 1e-4 : 1e-12));
        }
}

TEST_CASE("pooled in blocks, ties go to the first and NaN wins, as in planes") {
  Random random(5);
  for (const DType dtype : {f32, f64})
    for (const std::int64_t block : {16, 8, 3}) {
      const Tensor drawn = round(random.uniform({2, 48, 6, 4}, dtype, -3, 3));
      const Tensor x = where(equal(drawn, 2.0), full({}, std::nan(""), dtype), drawn);
      const Tensor g = random.normal({2, 48, 3, 2}, dtype);
      const Tensors planes{max_pool2d(x), grad([g](const Tensor& t) { return sum(max_pool2d(t) * g); })(x)};
      CHECK(equal_bits(apply(*find_op("max_pool2d_blocked"), {in_blocks(x, block)}), in_blocks(planes[0], block)));
      CHECK(equal_bits(apply(*find_op("max_pool2d_blocked_gradient"), {in_blocks(x, block), in_blocks(g, block)}),
                       in_blocks(planes[1], block)));
    }
}

TEST_CASE("in bf16 images stay in blocks of f32 between convolutions") {
  if (liked_block() == 0) return;
  const Network network = networks()[0];
  const Tensors inputs = numbers(network);
  const PlanFunction f = with_gradients(network);
  Tensors found, planes;
  try {
    const PrecisionScope scope(Precision::bf16);
    found = plan(f, inputs)(inputs);
    planes = plan(f, inputs, {.without = {"channels"}})(inputs);
  } catch (const Error& error) {
    MESSAGE(error.what());  // no bf16 on this machine
    return;
  }
  for (std::size_t k = 0; k < found.size(); ++k)
    CHECK(furthest(found[k], planes[k]) <= 1e-2 * max(abs(planes[k])).item<float>());
}
