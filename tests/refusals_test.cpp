// What functions that are made of ops say when they refuse, and what they refuse before memory is asked for.
#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/activations.h>
#include <twopass/ops/contractions.h>
#include <twopass/ops/convolution.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/distances.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/grid_sampling.h>
#include <twopass/ops/interpolation.h>
#include <twopass/ops/norm.h>
#include <twopass/ops/normalization.h>
#include <twopass/ops/patches.h>
#include <twopass/ops/products.h>
#include <twopass/ops/quantiles.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/recurrent.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/sorting.h>

using namespace twopass;

namespace {

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& reason) {
    return reason.what();
  }
  return "nothing is refused";
}

Tensor counts(const Shape& shape) { return cast(ones(shape), i64); }

}  // namespace

TEST_CASE("a function that is made of ops names itself in what these refuse, with its own shapes") {
  const Tensor x = ones({2, 3}), four = ones({2, 4});
  CHECK(refusal([&] { cosine_similarity(x, four); }) ==
        "cosine_similarity((2, 3), (2, 4)): mul((2, 3), (2, 4)): shapes (2, 3) and (2, 4) do not broadcast");
  CHECK(refusal([&] {
          conv1d(ones({1, 2, 5}), ones({4, 3, 2}));
        }).starts_with("conv1d((1, 2, 5), (4, 3, 2)): conv2d("));
  CHECK(refusal([&] {
          depthwise_conv2d(ones({1, 2, 5, 5}), ones({2, 3, 2, 2}));
        }).starts_with("depthwise_conv2d((1, 2, 5, 5), (2, 3, 2, 2)): conv2d("));
  CHECK(refusal([&] { max_pool3d(ones({1, 1, 4, 1, 4})); }).starts_with("max_pool3d(1, 1, 4, 1, 4): max_pool2d("));
  CHECK(refusal([&] { selu(counts({3})); }) ==
        "selu(3,): elu((3,), alpha=1.6732632423543772): only f32 and f64 have "
        "this, not i64");
  const auto begins = [](const std::string& name, const std::function<void()>& f) {
    const std::string said = refusal(f);
    CAPTURE(said);
    CHECK(said.starts_with(name));
    CHECK(said.find(name, 1) == std::string::npos);
  };
  begins("cdist((2, 3), (2, 3)): ", [&] { cdist(x, counts({2, 3})); });
  begins("dot((3,), (4,)): ", [&] { dot(ones({3}), ones({4})); });
  begins("glu(): ", [&] { glu(tensor(1.0)); });
  begins("sparsemax(None, None): ", [&] { sparsemax(symbol({kOpen, kOpen}, f32, "x")); });
  begins("kthvalue(): ", [&] { kthvalue(tensor(1.0), 1); });
  begins("unstack(2, 3): ", [&] { unstack(x, 2); });
  begins("stack: ", [&] { stack({x, counts({2, 3})}); });
  begins("embedding_bag((2, 3), (2, 2)): ", [&] { embedding_bag(x, cast(ones({2, 2}), f64)); });
  begins("batch_norm(2, 3): ", [&] { batch_norm(counts({2, 3})); });
  begins("gru_cell((2, 3), (2, 4), (5, 12), (4, 12)): ", [&] { gru_cell(x, four, ones({5, 12}), ones({4, 12})); });
  begins("conv1d_transpose((2, 3), (2, 4)): ", [&] { conv1d_transpose(x, four); });
}

TEST_CASE("S16: functions refuse sizes that nothing can hold as Error") {
  const std::int64_t sizes[] = {std::int64_t{1} << 40, std::int64_t{1} << 62};
  const Tensor image = ones({1, 1, 4, 4}), columns = ones({1, 4, 4});
  for (const std::int64_t n : sizes) {
    CAPTURE(n);
    const std::vector<std::function<void()>> calls{
        [&] {
          affine_grid(ones({1, 2, 3}), {n, n});
        },
        [&] {
          affine_grid(ones({1, 2, 3}), {n, 1});
        },
        [&] { unfold(image, n); },
        [&] { unfold(image, (std::int64_t{1} << 31) - 1, {.padding = (std::int64_t{1} << 31) - 1}); },
        [&] { unfold(image, 1 << 25, {.padding = 1 << 28}); },
        [&] { fold(columns, n, 2); },
        [&] {
          fold(columns, {n, 3}, 2);
        },
        [&] { max_unpool2d(image, counts(image.shape()), n); },
        [&] { max_unpool2d(image, counts(image.shape()), (std::int64_t{1} << 31) - 1); },
        [&] {
          pdist(zeros({n, 0}));
        },
        [&] {
          resize(image, {n, 4});
        },
        [&] {
          pad(ones({3}), {{n, 0}}, PadMode::replicate);
        },
        [&] { adaptive_max_pool2d(image, n); },
        [&] { adaptive_average_pool2d(image, n); },
        [&] {
          diag(zeros({0, n}));
        },
        [&] {
          zeros({std::int64_t{1} << 31, n >> 9});
        },
    };
    for (std::size_t k = 0; k < calls.size(); ++k) {
      CAPTURE(k);
      CHECK_THROWS_AS(calls[k](), Error);
    }
  }
  CHECK_THROWS_WITH_AS((Shape{std::int64_t{1} << 31, std::int64_t{1} << 29}),
                       doctest::Contains("elements are more than memory has addresses for"), Error);
  CHECK((Shape{std::int64_t{1} << 31, std::int64_t{1} << 28}).elements() == std::int64_t{1} << 59);
}

TEST_CASE("S12: plans, too, refuse rows of a table and places in a plane that are not there") {
  const Tensor rows = ones({3, 2});
  const Plan looked_up = plan([&](const Tensors& in) -> Tensors { return {embedding(rows, in[0])}; }, {tensor({0, 1})});
  CHECK(looked_up({tensor({2, 0})})[0].shape() == Shape{2, 2});
  for (const Tensor& wrong : {tensor({0, -1}), tensor({3, 0})})
    CHECK(refusal([&] { looked_up({wrong}); }).find("is outside [0, 2]") != std::string::npos);
  const Tensor x = ones({1, 1, 1, 2});
  const auto at = [](std::int64_t place) { return reshape(tensor({std::int64_t{0}, place}), {1, 1, 1, 2}); };
  const Plan placed = plan([&](const Tensors& in) -> Tensors { return {max_unpool2d(x, in[0], 2)}; }, {at(1)});
  CHECK(placed({at(3)})[0].values<int>() == std::vector<int>{1, 0, 0, 1});
  CHECK(refusal([&] { placed({at(-1)}); }).find("-1 at flat index 1 is outside [0, 3]") != std::string::npos);
  CHECK(refusal([&] { max_unpool2d(x, at(-1), 2); }).find("is outside [0, 3]") != std::string::npos);
}

TEST_CASE("a padding of 0 is a number wherever a function takes one, and no name") {
  const Tensor sequence = ones({1, 2, 5}), image = ones({1, 2, 5, 5}), volume = ones({1, 2, 5, 5, 5});
  const Tensor one = ones({2, 2, 1}), two = ones({2, 2, 1, 1}), three = ones({2, 2, 1, 1, 1});
  const Tensor own1 = ones({2, 1, 1}), own2 = ones({2, 1, 1, 1}), own3 = ones({2, 1, 1, 1, 1});
  const auto keeps = [](const Tensor& y, const Tensor& x) { CHECK(y.shape() == x.shape()); };
  keeps(conv1d(sequence, one, {}, {.padding = 0}), sequence);
  keeps(conv2d(image, two, {}, {.padding = 0}), image);
  keeps(conv3d(volume, three, {}, {.padding = 0}), volume);
  keeps(conv2d_input_gradient(image, two, 5, {.padding = 0}), image);
  keeps(depthwise_conv1d(sequence, own1, {}, {.padding = 0}), sequence);
  keeps(depthwise_conv2d(image, own2, {}, {.padding = 0}), image);
  keeps(depthwise_conv3d(volume, own3, {}, {.padding = 0}), volume);
  keeps(separable_conv1d(sequence, own1, one, {}, {.padding = 0}), sequence);
  keeps(separable_conv2d(image, own2, two, {}, {.padding = 0}), image);
  keeps(conv1d_transpose(sequence, one, {}, {.padding = 0}), sequence);
  keeps(conv2d_transpose(image, two, {}, {.padding = 0}), image);
  keeps(conv3d_transpose(volume, three, {}, {.padding = 0}), volume);
  keeps(max_pool1d(sequence, {.window = 1, .padding = 0}), sequence);
  keeps(max_pool2d(image, {.window = 1, .padding = 0}), image);
  keeps(max_pool3d(volume, {.window = 1, .padding = 0}), volume);
  keeps(average_pool1d(sequence, {.window = 1, .padding = 0}), sequence);
  keeps(average_pool2d(image, {.window = 1, .padding = 0}), image);
  keeps(average_pool3d(volume, {.window = 1, .padding = 0}), volume);
  keeps(lp_pool1d(sequence, 2, {.window = 1, .padding = 0}), sequence);
  keeps(lp_pool2d(image, 2, {.window = 1, .padding = 0}), image);
  keeps(max_pool2d_places(image, {.window = 1, .padding = 0}).values, image);
  keeps(unfold(image, 1, {.padding = 0}), reshape(image, {1, 2, 25}));
  keeps(fold(ones({1, 2, 25}), 5, 1, {.padding = 0}), image);
  const std::vector<std::int64_t> around{0, 0, 2, 2};
  CHECK(Padding(0).widths() == std::vector<std::int64_t>(4, 0));
  CHECK(Padding(0, 0, 2, 2).widths() == around);
  CHECK(Padding3d(0).widths() == std::vector<std::int64_t>(6, 0));
  CHECK(Padding1d(0u).before() == 0);
}
