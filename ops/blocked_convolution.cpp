// The three products of convolution on images whose channels lie in blocks: what plans make of convolutions that pass
// images on to one another.
#include <fmt/format.h>

#include <twopass/ops/blocked.h>
#include <twopass/ops/convolution_examples.h>
#include <twopass/ops/convolution_records.h>
#include <twopass/ops/shaping.h>

namespace twopass::convolution {
namespace {

struct BlockedArgs : ConvolutionArgs {
  Numbers size = {1, 1};  // of the image, or of the window, where the operands leave it open
  std::int64_t image_block = 0, output_block = 0;
  bool added = false, relu = false;
  static constexpr auto fields =
      std::tuple_cat(ConvolutionArgs::fields,
                     std::tuple{field("size", &BlockedArgs::size), field("image_block", &BlockedArgs::image_block),
                                field("output_block", &BlockedArgs::output_block), field("added", &BlockedArgs::added),
                                field("relu", &BlockedArgs::relu)});
};

Sizes with_blocks(const BlockedArgs& args, Sizes sizes) {
  sizes.image_block = args.image_block;
  sizes.output_block = args.output_block;
  return sizes;
}

// The inputs are c, which may be missing, x, a kernel and a bias, which may be missing, too.
Sizes forward_sizes(const BlockedArgs& args, const Shape& x, const Shape& kernel) {
  return with_blocks(args, sizes_of(args, blocked::planes(x, args.image_block, "x"), kernel));
}

Spec forward_rule(const BlockedArgs& args, const Specs& in) {
  const std::size_t x = args.added ? 1 : 0;
  if (in.size() < x + 2) throw Error(fmt::format("x and a kernel are missing among {} tensors", in.size()));
  std::vector<Spec> plain{{blocked::planes(in.shape(x), args.image_block, "x"), in.dtype(x)}};
  for (std::size_t k = x + 1; k < in.size(); ++k) plain.push_back(in[k]);
  Spec y = convolution_rule(args, Specs(plain));
  y.shape = blocked::blocks(y.shape, args.output_block);
  if (args.added && !(in.shape(0) == y.shape && in.dtype(0) == y.dtype))
    throw Error(fmt::format("c is {} but the convolution is {}", in.shape(0).text(), y.shape.text()));
  return y;
}

void forward_kernel(const BlockedArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const std::size_t x = args.added ? 1 : 0;
  const Sizes sizes = forward_sizes(args, in[x].shape(), in[x + 1].shape());
  dispatch_floating(out.dtype, [&]<typename T>() {
    forward(sizes, in[x].data<T>(), in[x + 1].data<T>(),
            {.bias = in.size() == x + 3 ? in[x + 2].data<T>() : nullptr,
             .add = args.added ? in[0].data<T>() : nullptr,
             .relu = args.relu},
            out.data<T>());
  });
}

void check_gradient(const BlockedArgs& args, const Specs& in) {
  if (args.size.size() != 2) throw Error(fmt::format("the size must be 2 numbers, not {}", args.size.size()));
  for (std::size_t k = 0; k < 2; ++k)
    if (!is_floating(in.dtype(k)))
      throw Error(fmt::format("only f32 and f64 are convolved, not {}", name_of(in.dtype(k))));
}

// Those of x and a kernel that pass back g, which must be of their output's shape.
Sizes gradient_sizes(const BlockedArgs& args, const Shape& x, const Shape& kernel, const Shape& g) {
  const Sizes sizes = sizes_of(args, x, kernel);
  const Shape expected{x[0], sizes.filters, sizes.rows.output, sizes.columns.output};
  if (g != expected) throw Error(fmt::format("g must be {}, not {}", expected.text(), g.text()));
  return with_blocks(args, sizes);
}

Sizes input_gradient_sizes(const BlockedArgs& args, const Shape& g, const Shape& kernel) {
  const Shape plain = blocked::planes(g, args.output_block, "g");
  if (kernel.rank() != 4) throw Error(fmt::format("the kernel must have four axes, not {}", kernel.rank()));
  const std::int64_t channels = kernel[1] * std::max<std::int64_t>(1, args.groups);
  return gradient_sizes(args, {plain[0], channels, args.size[0], args.size[1]}, kernel, plain);
}

Sizes kernel_gradient_sizes(const BlockedArgs& args, const Shape& x, const Shape& g) {
  const Shape plain = blocked::planes(g, args.output_block, "g"), image = blocked::planes(x, args.image_block, "x");
  const std::int64_t channels = image[1] / std::max<std::int64_t>(1, args.groups);
  return gradient_sizes(args, image, {plain[1], channels, args.size[0], args.size[1]}, plain);
}

using SizesOf = Sizes (*)(const BlockedArgs& args, const Shape& first, const Shape& second);

Sizes sizes_of_call(SizesOf sizes, const BlockedArgs& args, const Specs& in) {
  const std::size_t first = args.added ? 1 : 0;
  return sizes(args, in.shape(first), in.shape(first + 1));
}
template <SizesOf kSizes>
double work(const BlockedArgs& args, const Specs& in) {
  return work_of(sizes_of_call(kSizes, args, in));
}
template <SizesOf kSizes, Product kProduct>
std::int64_t scratch(const BlockedArgs& args, const Specs& in) {
  return scratch_bytes(kProduct, sizes_of_call(kSizes, args, in), in.dtype(0));
}

// Two images side by side in blocks of two, [1, 1, rows, columns, 2]: the second is ten times the first.
Tensor pair(std::initializer_list<std::initializer_list<double>> rows) {
  const Tensor plane = tensor(rows, f64);
  std::vector<double> both;
  for (const double each : plane.values<double>()) both.insert(both.end(), {each, 10 * each});
  return from_values(both, {1, 1, plane.shape()[0], plane.shape()[1], 2}, f64);
}

const Tensor picture() { return image({{0, 1, 2}, {3, 4, 5}, {6, 7, 8}}); }

const TypedOp<BlockedArgs>& forward_op() {
  // Of Zhang and others' picture ("Dive into Deep Learning", section 7.2) by two filters, the second ten times theirs.
  static const TypedOp<BlockedArgs> op({
      .name = "conv2d_blocked",
      .doc = "conv2d, and what plans let it take over, of images whose channels lie in blocks, [n, c / block, h, w, "
             "block], where a block is named; of planes where it is 0.",
      .shape = forward_rule,
      .forward = forward_kernel,
      .work = work<forward_sizes>,
      .scratch = scratch<forward_sizes, Product::forward>,
      .samples = {{{{}, {1, 1}, 2, 3},
                   {sample::uniform({2, 2, 3, 4, 2}), sample::uniform({3, 4, 2, 3}), sample::uniform({3})}},
                  {{{.strides = {2, 1}, .padding = {1, 0, 1, 1}, .groups = 2}, {1, 1}, 0, 2, true, true},
                   {sample::uniform({2, 2, 2, 4, 2}), sample::uniform({2, 4, 3, 4}), sample::uniform({4, 2, 2, 3})}}},
      .examples = {{{{}, {1, 1}, 0, 2},
                    {picture(), from_values(std::vector<double>{0, 1, 2, 3, 0, 10, 20, 30}, {2, 1, 2, 2}, f64)},
                    pair({{19, 25}, {37, 43}})}},
      .refuses = {{{{}, {1, 1}, 2, 0},
                   {sample::uniform({1, 4, 3, 3}), sample::uniform({1, 4, 2, 2})},
                   "x must have five axes, the last of 2, not (1, 4, 3, 3)"},
                  {{{}, {1, 1}, 0, 2},
                   {sample::uniform({1, 4, 3, 3}), sample::uniform({3, 4, 2, 2})},
                   "3 channels do not go into blocks of 2"},
                  {{{}, {1, 1}, 0, 0, true},
                   {sample::uniform({1, 4, 3, 3}), sample::uniform({3, 4, 2, 2})},
                   "are missing"}},
  });
  return op;
}

const TypedOp<BlockedArgs>& input_gradient_op() {
  static const TypedOp<BlockedArgs> op({
      .name = "conv2d_blocked_input_gradient",
      .doc = "What conv2d_blocked passes back to an image of this size from g, the gradient of its output.",
      .shape = [](const BlockedArgs& args, const Specs& in) -> Spec {
        check_gradient(args, in);
        const Sizes s = input_gradient_sizes(args, in.shape(0), in.shape(1));
        return {blocked::blocks({s.images, s.channels, s.rows.input, s.columns.input}, args.image_block), in.dtype(0)};
      },
      .forward =
          [](const BlockedArgs& args, Inputs in, Output out) {
            if (out.elements() == 0) return;
            const Sizes sizes = input_gradient_sizes(args, in[0].shape(), in[1].shape());
            dispatch_floating(out.dtype, [&]<typename T>() {
              input_gradient(sizes, in[0].data<T>(), in[1].data<T>(), out.data<T>());
            });
          },
      .work = work<input_gradient_sizes>,
      .scratch = scratch<input_gradient_sizes, Product::input_gradient>,
      .samples = {{{{}, {3, 4}, 2, 3}, {sample::uniform({2, 1, 2, 2, 3}), sample::uniform({3, 2, 2, 3})}}},
      .examples = {{{{}, {2, 2}, 2, 0},
                    {image({{3}}), from_values(std::vector<double>{0, 1, 2, 3, 0, 10, 20, 30}, {1, 2, 2, 2}, f64)},
                    pair({{0, 3}, {6, 9}})}},
      .refuses = {{{{}, {4, 4}, 0, 1},
                   {sample::uniform({1, 1, 2, 2, 1}), sample::uniform({1, 1, 2, 2})},
                   "g must be (1, 1, 3, 3), not (1, 1, 2, 2)"}},
  });
  return op;
}

const TypedOp<BlockedArgs>& kernel_gradient_op() {
  static const TypedOp<BlockedArgs> op({
      .name = "conv2d_blocked_kernel_gradient",
      .doc = "What conv2d_blocked of x passes back to a kernel of this size from g, the gradient of its output.",
      .shape = [](const BlockedArgs& args, const Specs& in) -> Spec {
        check_gradient(args, in);
        const Sizes s = kernel_gradient_sizes(args, in.shape(0), in.shape(1));
        return {{s.filters, s.group_channels(), s.rows.window, s.columns.window}, in.dtype(0)};
      },
      .forward =
          [](const BlockedArgs& args, Inputs in, Output out) {
            if (out.elements() == 0) return;
            const Sizes sizes = kernel_gradient_sizes(args, in[0].shape(), in[1].shape());
            dispatch_floating(out.dtype, [&]<typename T>() {
              kernel_gradient(sizes, in[0].data<T>(), in[1].data<T>(), out.data<T>());
            });
          },
      .work = work<kernel_gradient_sizes>,
      .scratch = scratch<kernel_gradient_sizes, Product::kernel_gradient>,
      .samples = {{{{}, {2, 3}, 2, 3}, {sample::uniform({2, 1, 3, 4, 2}), sample::uniform({2, 1, 2, 2, 3})}}},
      .examples = {{{{}, {2, 2}, 1, 2},
                    {reshape(picture(), {1, 1, 3, 3, 1}), pair({{1, 1}, {1, 1}})},
                    from_values(std::vector<double>{8, 12, 20, 24, 80, 120, 200, 240}, {2, 1, 2, 2}, f64)}},
      .refuses = {{{{}, {2, 2}, 1, 0},
                   {sample::uniform({1, 1, 3, 3, 1}), sample::uniform({1, 1, 3, 3})},
                   "g must be (1, 1, 2, 2), not (1, 1, 3, 3)"}},
  });
  return op;
}

// Those of the blocks that the kernel likes and the plan wants.
std::optional<InBlocks> made(const Op& op, Product product, BlockedArgs args, const Sizes& sizes, DType dtype,
                             ChannelBlocks wanted, unsigned image, unsigned output, unsigned added) {
  const Sizes liked = in_liked_blocks(product, sizes, dtype);
  const std::int64_t size = wanted.size ? wanted.size : std::max(liked.image_block, liked.output_block);
  ChannelBlocks blocks{.size = size};
  const auto take = [&](std::int64_t block, unsigned place) {
    const bool whether = block == size && (place ? (wanted.inputs & place) != 0 : wanted.output);
    if (whether && place) blocks.inputs |= place;
    if (whether && !place) blocks.output = true;
    return whether ? size : 0;
  };
  args.image_block = take(liked.image_block, image);
  args.output_block = take(liked.output_block, output);
  if (args.image_block == 0 && args.output_block == 0) return std::nullopt;
  if (added && args.output_block) blocks.inputs |= added;
  return InBlocks{&op, boxed(std::move(args)), blocks, added, true};
}

BlockedArgs resolved(const ConvolutionArgs& args, const Sizes& sizes) {
  BlockedArgs with{args};
  with.padding = windows::resolved_padding(args.wish(), sizes.rows, sizes.columns);
  with.same = false;
  return with;
}

}  // namespace

std::optional<InBlocks> forward_in_blocks(const ConvolutionArgs& args, const Specs& in, const ChannelBlocks& wanted,
                                          bool added, bool relu) {
  const std::size_t x = added ? 1 : 0;
  if (in.dtype(x) != f32) return std::nullopt;
  const Sizes sizes = sizes_of(args, in.shape(x), in.shape(x + 1));
  BlockedArgs with = resolved(args, sizes);
  with.added = added;
  with.relu = relu;
  return made(forward_op(), Product::forward, std::move(with), sizes, f32, wanted, 1U << x, 0, added ? 1 : 0);
}

std::optional<InBlocks> input_gradient_in_blocks(const ConvolutionArgs& args, const Sizes& sizes, DType dtype,
                                                 const ChannelBlocks& wanted) {
  BlockedArgs with = resolved(args, sizes);
  with.size = {sizes.rows.input, sizes.columns.input};
  return made(input_gradient_op(), Product::input_gradient, std::move(with), sizes, dtype, wanted, 0, 1, 0);
}

std::optional<InBlocks> kernel_gradient_in_blocks(const ConvolutionArgs& args, const Sizes& sizes, DType dtype,
                                                  const ChannelBlocks& wanted) {
  BlockedArgs with = resolved(args, sizes);
  with.size = {sizes.rows.window, sizes.columns.window};
  return made(kernel_gradient_op(), Product::kernel_gradient, std::move(with), sizes, dtype, wanted, 1, 2, 0);
}

std::vector<const Op*> blocked_convolution_ops() {
  return {&forward_op(), &input_gradient_op(), &kernel_gradient_op()};
}

}  // namespace twopass::convolution
