// Broadcasts in plans: they come last, so that what reads them reads what was there before.
#include <doctest/doctest.h>
#include <twopass/twopass.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

using namespace twopass;

namespace {

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(a.node().data, a.node().data + a.node().bytes(), b.node().data);
}

Tensor drawn(const Shape& shape, std::uint64_t seed = 5) {
  Random random(seed);
  return random.normal(shape);
}

// The plan's text; its results are checked against eager ones.
std::string text_of(const PlanFunction& f, const Tensors& inputs) {
  const Plan planned = plan(f, inputs);
  const Tensors found = planned(inputs), expected = f(inputs);
  for (std::size_t k = 0; k < found.size(); ++k) {
    CAPTURE(k);
    CHECK_MESSAGE(equal_bits(found[k], expected[k]), planned.text());
  }
  return planned.text();
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const auto kOfEqualShapes = define<NoArgs>({
    .name = "test_of_equal_shapes",
    .doc = "a + 2 b, of equal shapes, of which the rule looks at the first alone.",
    .shape = same_floating,
    .run =
        [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
          const auto go = [&]<typename T>(T* to) {
            const T *a = in[0].data<T>(), *b = in[1].data<T>();
            for (std::int64_t k = 0; k < n; ++k) to[k] = a[in[0].splat ? 0 : k] + 2 * b[in[1].splat ? 0 : k];
          };
          dtype == f32 ? go(reinterpret_cast<float*>(out)) : go(reinterpret_cast<double*>(out));
        },
    .samples = {{.inputs = {sample::uniform({2}), sample::uniform({2})}}},
    .examples = {{.inputs = {{1.0, 2.0}, {3.0, 4.0}}, .output = {7.0, 10.0}}},
    .refuses = {{{}, {tensor({1, 2}), tensor({1, 2})}, "i64"}},
});

const auto kRamp = define<NoArgs>({
    .name = "test_ramp",
    .doc = "x, 2 x and 3 x along a new first axis: it broadcasts and computes.",
    .shape = [](const NoArgs& args, const Specs& in) -> Spec {
      return {same_floating(args, in).shape.inserted(0, 3), in.dtype(0)};
    },
    .forward =
        [](const NoArgs&, Inputs in, Output out) {
          dispatch_floating(out.dtype, [&]<typename T>() {
            const std::int64_t n = in[0].elements();
            for (std::int64_t k = 0; k < 3 * n; ++k)
              out.data<T>()[k] = in[0].data<T>()[k % n] * static_cast<T>(k / n + 1);
          });
        },
    .broadcasts = true,
    .samples = {{.inputs = {sample::uniform({2})}}},
    .examples = {{.inputs = {{1.0, 2.0}}, .output = {{1.0, 2.0}, {2.0, 4.0}, {3.0, 6.0}}}},
    .refuses = {{{}, {tensor({1, 2})}, "i64"}},
});

}  // namespace

TEST_CASE("what rearranges a broadcast tensor rearranges it unspread, and elementwise calls read that") {
  struct Case {
    const char* name;
    Shape from, to;
    Tensor (*f)(const Tensor& x);
  };
  const std::vector<Case> cases{
      {"transpose",
       {64, 1, 8},
       {64, 32, 8},
       [](const Tensor& x) {
         return transpose(x, {2, 1, 0});
       }},
      {"all axes", {1, 1, 1}, {4, 3, 2}, [](const Tensor& x) { return transpose(x); }},
      {"flip", {1, 8}, {64, 8}, [](const Tensor& x) { return flip(x, 1); }},
      {"slice", {4, 1, 8}, {4, 16, 8}, [](const Tensor& x) { return slice(x, -1, 1, 6, 2); }},
      {"rows", {8, 1}, {8, 64}, [](const Tensor& x) { return slice(x, 0, 2, 5); }},
      {"pad",
       {1, 8},
       {64, 8},
       [](const Tensor& x) {
         return pad(x, {{0, 0}, {1, 2}}, 7);
       }},
      {"new axis", {8}, {64, 8}, [](const Tensor& x) { return expand_dims(x, 1); }},
      {"no axis", {1, 8}, {64, 1, 8}, [](const Tensor& x) { return squeeze(x, 1); }},
      {"reshape",
       {2, 1, 6},
       {2, 12, 6},
       [](const Tensor& x) {
         return reshape(x, {2, 3, 4, 2, 3});
       }},
      {"joined axes",
       {8},
       {4, 16, 8},
       [](const Tensor& x) {
         return reshape(x, {64, 8});
       }},
      {"flatten", {8, 1, 1}, {8, 4, 16}, [](const Tensor& x) { return flatten(x); }},
      {"cumsum", {1, 8}, {64, 8}, [](const Tensor& x) { return cumsum(x); }},
      {"cumsum of columns", {8, 1}, {8, 64}, [](const Tensor& x) { return cumsum(x, 0, Scan::backward); }},
      {"cumprod", {4, 1, 8}, {4, 16, 8}, [](const Tensor& x) { return cumprod(x, 0); }},
      {"softmax of rows", {1, 8}, {64, 8}, [](const Tensor& x) { return softmax(x, -1); }},
      {"sum of rows", {8}, {64, 8}, [](const Tensor& x) { return sum(x, -1); }},
      {"max of images",
       {4, 8, 8},
       {16, 4, 8, 8},
       [](const Tensor& x) {
         return max(x, {1, 2, 3}, keep_axis);
       }},
      {"elementwise", {8}, {64, 8}, [](const Tensor& x) { return transpose(tanh(x) * 2.0 - x); }},
      {"several",
       {8},
       {64, 8},
       [](const Tensor& x) {
         return cumsum(reshape(transpose(x), {4, 2, 64}), 0);
       }},
      {"twice",
       {8, 1},
       {8, 64},
       [](const Tensor& x) {
         return flip(broadcast_to(x, {3, 8, 64}), 1);
       }},
  };
  for (const Case& each : cases) {
    CAPTURE(each.name);
    const PlanFunction f = [&](const Tensors& in) -> Tensors { return {each.f(broadcast_to(in[0], each.to)) * in[1]}; };
    const Tensor x = drawn(each.from);
    const Tensors inputs{x, drawn(each.f(broadcast_to(x, each.to)).shape(), 6)};
    const std::string text = text_of(f, inputs);
    CHECK_MESSAGE(!has(text, "broadcast_to"), text);
    CHECK(has(plan(f, inputs, {.without = {"broadcasts"}}).text(), "broadcast_to"));
  }
}

TEST_CASE("a gradient that a sum spreads is rearranged unspread") {
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    const Tensor x = in[0].symbolic() ? in[0] : variable(in[0]);
    const Tensor h = reshape(transpose(tanh(x), {1, 0, 2}), {32, 128});
    return gradients(sum(square(sum(h, 1))), {x});
  };
  const std::string text = text_of(f, {drawn({16, 32, 8})});
  CHECK_MESSAGE(!has(text, "broadcast_to"), text);
}

TEST_CASE("a slice's gradient is put among zeros unspread") {
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    const Tensor x = in[0].symbolic() ? in[0] : variable(in[0]);
    return {gradients(sum(square(sum(slice(x, 1, 2, 5), 0))), {x})[0] * in[0]};
  };
  const std::string text = text_of(f, {drawn({16, 8})});
  CHECK_MESSAGE(has(text, "(1, 8) = unslice"), text);
}

TEST_CASE("what runs along an axis that is spread, or joins it with one that is not, is spread along that alone") {
  const auto text = [](Tensor (*f)(const Tensor& x), const Shape& from) {
    return text_of(
        [f](const Tensors& in) -> Tensors {
          return {tanh(f(broadcast_to(in[0], {6, 4, 8})))};
        },
        {drawn(from)});
  };
  const std::string scan = text([](const Tensor& x) { return cumsum(x, 1); }, {1, 1, 8});
  CHECK_MESSAGE(has(scan, "(1, 4, 8) = broadcast_to"), scan);
  CHECK_MESSAGE(has(scan, "(1, 4, 8) = cumsum"), scan);
  const std::string slices = text([](const Tensor& x) { return slice(x, 1, 3, 0, -2); }, {1, 1, 8});
  CHECK_MESSAGE(has(slices, "(1, 2, 8) = slice"), slices);
  const std::string border = text([](const Tensor& x) { return pad(x, {{0, 0}, {1, 1}, {0, 0}}, 3); }, {1, 1, 8});
  CHECK_MESSAGE(has(border, "(1, 6, 8) = pad"), border);
  const std::string joined = text([](const Tensor& x) { return reshape(x, {6, 32}); }, {1, 1, 8});
  CHECK_MESSAGE(has(joined, "(1, 32) = tanh"), joined);
}

TEST_CASE("a product by a matrix whose rows are one vector reads the matrix") {
  const std::string text = text_of(
      [](const Tensors& in) -> Tensors {
        return {matmul(in[0], broadcast_to(in[1], {8, 5}))};
      },
      {drawn({3, 8}), drawn({5})});
  CHECK_MESSAGE(has(text, "(8, 5) = broadcast_to"), text);
}

TEST_CASE("what is needed whole is looked at, not spread again") {
  const PlanFunction f = [](const Tensors& in) -> Tensors {
    const Tensor whole = broadcast_to(in[0], {64, 8});
    return {whole, matmul(reshape(whole, {8, 8, 8}), in[1]), matmul(slice(whole, 0, 3, 11), in[1])};
  };
  const std::string text = text_of(f, {drawn({64, 1}), drawn({8, 4})});
  CHECK_MESSAGE(text.find("broadcast_to") == text.rfind("broadcast_to"), text);
}

TEST_CASE("what is looked at several times, or looked at as another look made it, is spread once") {
  const PlanFunction look_at_look = [](const Tensors& in) -> Tensors {
    const Tensor whole = broadcast_to(in[0], {64, 8});
    return {whole, matmul(reshape(reshape(whole, {8, 64}), {8, 8, 8}), in[1])};
  };
  const PlanFunction two_looks = [](const Tensors& in) -> Tensors {
    const Tensor whole = broadcast_to(in[0], {64, 8});
    return {matmul(reshape(whole, {8, 8, 8}), in[1]), matmul(reshape(whole, {4, 16, 8}), in[1])};
  };
  const PlanFunction two_at_one = [](const Tensors& in) -> Tensors {
    const Tensor first = expand_dims(broadcast_to(in[0], {64, 8}), 0);
    return {matmul(reshape(first, {8, 8, 8}), in[1]), matmul(squeeze(first, 0), in[1])};
  };
  for (const PlanFunction& f : {look_at_look, two_looks, two_at_one}) {
    const std::string text = text_of(f, {drawn({64, 1}), drawn({8, 4})});
    CHECK_MESSAGE(text.find("= broadcast_to") == text.rfind("= broadcast_to"), text);
  }
}

TEST_CASE("users' ops read what they were given") {
  const Tensor x = drawn({8}), y = drawn({64, 8}, 6);
  text_of([](const Tensors& in) -> Tensors { return {kOfEqualShapes({broadcast_to(in[0], {64, 8}), in[1]})}; }, {x, y});
  text_of(
      [](const Tensors& in) -> Tensors {
        return {kOfEqualShapes({broadcast_to(in[0], {64, 8}), broadcast_to(in[1], {64, 8})})};
      },
      {x, drawn({64, 1})});
  text_of(
      [](const Tensors& in) -> Tensors {
        return {tanh(kRamp({in[0]})), kRamp({in[0]}) + in[1]};
      },
      {x, drawn({3, 8})});
  const auto of_four = custom_gradient(
      [](const Tensors& in) {
        if (in[0].shape()[0] != 4) throw std::invalid_argument("it needs four rows");
        return sum(in[0], 1);
      },
      [](const Tensors& in, const Tensor&, const Tensor& g) -> Tensors {
        return {broadcast_to(expand_dims(g, 1), in[0].shape())};
      });
  text_of([&](const Tensors& in) -> Tensors { return {of_four({broadcast_to(in[0], {4, 8})})}; }, {x});
}

TEST_CASE("empty tensors and axes of size 1 go through plans of broadcasts") {
  for (const Shape& to : {Shape{0, 4, 8}, Shape{3, 0, 8}, Shape{1, 1, 8}, Shape{1, 1, 1, 8}})
    text_of(
        [&](const Tensors& in) -> Tensors {
          const Tensor x = broadcast_to(in[0], to);
          return {tanh(transpose(x)), cumsum(x, 1), reshape(x, x.shape().inserted(1, 1)),
                  slice(x, 1, 0, 1),  flip(x, 0),   slice(x, 0, 0, 1)};
        },
        {drawn({1, 8})});
}

TEST_CASE("what a record says of repeating its only input is so") {
  int tried = 0;
  for (const Op* op : all_ops())
    for (const Op::Sample& sample : op->samples()) {
      if (sample.inputs.size() != 1 || op->elementwise()) continue;
      CAPTURE(op->name());
      Random random(5);
      const Tensor drawn_input = sample.inputs[0].draw(random, f32);
      for (int axis = 0; axis < drawn_input.rank(); ++axis) {
        const Tensor x = slice(drawn_input, axis, 0, 1), whole = broadcast_to(x, x.shape().with(axis, 37));
        const Tensors unspread{x}, spread{whole};
        if (!op->repeats(sample.arguments.get(), Specs(std::span<const Tensor>(unspread)), 0)) continue;
        const Tensor least = apply(*op, sample.arguments, unspread), all = apply(*op, sample.arguments, spread);
        CHECK(equal_bits(broadcast_to(least, all.shape()), all));
        CHECK(all.elements() == 37 * least.elements());
        ++tried;
      }
    }
  CHECK(tried > 15);
}

namespace {

// Random calls on what is spread, the same for values and symbols.
Tensors random_calls(std::uint64_t seed, const Tensors& in) {
  Random random(seed);
  const auto below = [&](std::int64_t n) { return random.integers({}, 0, n).item<std::int64_t>(); };
  Tensors known = in;
  const auto spread = [&](const Tensor& x) {
    Shape shape = x.shape();
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (shape[axis] == 1 && below(2)) shape = shape.with(axis, 2 + below(3));
    if (shape.rank() < 4 && below(2)) shape = shape.inserted(0, 1 + below(3));
    return broadcast_to(x, shape);
  };
  const auto next = [&](const Tensor& x) -> Tensor {
    if (x.rank() == 0) return x * 2.0;
    if (x.elements() > 600) return sum(x, 0);
    const int axis = static_cast<int>(below(x.rank()));
    const std::int64_t n = x.shape()[axis];
    switch (below(12)) {
      case 0:
      case 1:
        return spread(expand_dims(x, axis));
      case 2:
        return transpose(x);
      case 3:
        return moveaxis(x, 0, axis);
      case 4:
        return slice(x, axis, below(n), n, 1 + below(2));
      case 5:
        return flip(x, axis);
      case 6:
        return cumsum(x, axis, below(2) ? Scan::forward : Scan::backward);
      case 7: {
        std::vector<std::pair<std::int64_t, std::int64_t>> widths(static_cast<std::size_t>(x.rank()));
        widths[static_cast<std::size_t>(axis)] = {below(2), 1};
        return pad(x, widths, 0.5);
      }
      case 8:
        return reshape(x, {n, -1});
      case 9:
        return reshape(x, x.shape().with(axis, 1).inserted(axis, n));
      case 10:
        return flatten(x, axis);
      default:
        return below(2) ? tanh(x) + 0.5 : x * sum(x, axis, keep_axis);
    }
  };
  for (int k = 0; k < 20; ++k) {
    const Tensor x = known[static_cast<std::size_t>(below(static_cast<std::int64_t>(known.size())))];
    if (x.rank() < 6) known.push_back(next(spread(x)));
  }
  return {known.end() - 6, known.end()};
}

}  // namespace

TEST_CASE("programs of random broadcasts and rearrangements give the same bits planned and eagerly") {
  int moved = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    const Tensors inputs{drawn({}, seed), drawn({1, 3}, seed), drawn({4, 1}, seed), drawn({2, 1, 3}, seed)};
    const PlanFunction f = [&](const Tensors& in) {
      Tensors at;
      for (const Tensor& x : in) at.push_back(x.symbolic() ? x : variable(x));
      const Tensors y = random_calls(seed, at);
      Tensor total;
      for (const Tensor& each : y) total = total.defined() ? total + sum(tanh(each)) : sum(tanh(each));
      Tensors found = gradients(total, at);
      for (const Tensor& each : y) found.push_back(detach(each));
      return found;
    };
    const Tensors eager = f(inputs);
    for (const auto& without : std::vector<std::vector<std::string>>{{}, {"dead"}, {"views", "tiles"}}) {
      const Plan made = plan(f, inputs, {.without = without});
      const Tensors planned = made(inputs);
      for (std::size_t k = 0; k < eager.size(); ++k) {
        CAPTURE(k);
        CHECK_MESSAGE(equal_bits(planned[k], eager[k]), made.text());
      }
    }
    moved += plan(f, inputs, {.without = {"broadcasts"}}).text() != plan(f, inputs).text();
  }
  CHECK(moved > 300);
}
