#include <twopass/ops/convolution.h>

#include <fmt/format.h>

#include <twopass/core/counted.h>
#include <twopass/ops/branches.h>
#include <twopass/ops/convolution_examples.h>
#include <twopass/ops/convolution_kernels.h>
#include <twopass/ops/convolution_records.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/families.h>
#include <twopass/ops/pooling.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace convolution {

Sizes sizes_of(const ConvolutionArgs& args, const Shape& x, const Shape& kernel) {
  windows::check(args.wish());
  const std::int64_t channels = x[1], filters = kernel[0], groups = args.groups;
  if (groups < 1) throw Error(fmt::format("there must be 1 group or more, not {}", groups));
  if (channels != kOpen && channels % groups != 0)
    throw Error(fmt::format("{} groups do not divide {} channels", groups, channels));
  if (filters % groups != 0) throw Error(fmt::format("{} groups do not divide {} filters", groups, filters));
  if (channels != kOpen && kernel[1] != channels / groups)
    throw Error(fmt::format("each filter must have {}, not {}", counted(channels / groups, "channel"), kernel[1]));
  return {x[0],
          kernel[1] * groups,
          filters,
          groups,
          windows::axis(args.wish(), 0, x[2], kernel[2]),
          windows::axis(args.wish(), 1, x[3], kernel[3])};
}

void check_known(const Shape& kernel) {
  for (int axis = 0; axis < 4; ++axis)
    if (kernel[axis] == kOpen) throw Error("the kernel's sizes must be known");
}

Spec convolution_rule(const ConvolutionArgs& args, const Specs& in) {
  if (in.size() < 2 || in.size() > 3)
    throw Error(fmt::format("a convolution takes x, a kernel and perhaps a bias, not {} tensors", in.size()));
  windows::check_images(in, 0, "x");
  windows::check_images(in, 1, "the kernel");
  check_known(in.shape(1));
  const Sizes sizes = sizes_of(args, in.shape(0), in.shape(1));
  if (in.size() == 3 && (in.dtype(2) != in.dtype(0) || in.shape(2) != Shape({sizes.filters})))
    throw Error(fmt::format("the bias must be ({},) of {}, one for each filter, not {} of {}", sizes.filters,
                            name_of(in.dtype(0)), in.shape(2).text(), name_of(in.dtype(2))));
  return {{sizes.images, sizes.filters, sizes.rows.output, sizes.columns.output}, in.dtype(0)};
}

double work_of(const Sizes& sizes) { return 2.0 * static_cast<double>(sizes.work() * sizes.images); }

std::int64_t scratch_of(const ConvolutionArgs& args, const Shape& x, const Spec& kernel) {
  return scratch_bytes(Product::forward, sizes_of(args, x, kernel.shape), kernel.dtype);
}

}  // namespace convolution

namespace {

using namespace convolution;

// With the rows and columns that the shapes of the inputs leave open: of the image, or of the window.
struct GradientArgs {
  Numbers strides = {1, 1};
  Numbers padding = {0, 0, 0, 0};
  Numbers dilation = {1, 1};
  std::int64_t groups = 1;
  Numbers size = {1, 1};
  static constexpr auto fields =
      std::tuple{field("strides", &GradientArgs::strides), field("padding", &GradientArgs::padding),
                 field("dilation", &GradientArgs::dilation), field("groups", &GradientArgs::groups),
                 field("size", &GradientArgs::size)};
  ConvolutionArgs whole() const { return {strides, padding, false, dilation, groups}; }
};

template <bool kRelu>
void convolution_forward(const ConvolutionArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const Sizes sizes = sizes_of(args, in[0].shape(), in[1].shape());
  dispatch_floating(out.dtype, [&]<typename T>() {
    convolution::forward(sizes, in[0].data<T>(), in[1].data<T>(),
                         {.bias = in.size() == 3 ? in[2].data<T>() : nullptr, .relu = kRelu}, out.data<T>());
  });
}

Spec input_gradient_rule(const GradientArgs& args, const Specs& in);
Spec kernel_gradient_rule(const GradientArgs& args, const Specs& in);

Sizes sizes_from_gradient(const GradientArgs& args, const Specs& in) {
  return sizes_of(args.whole(), input_gradient_rule(args, in).shape, in.shape(1));
}
Sizes sizes_of_kernel(const GradientArgs& args, const Specs& in) {
  return sizes_of(args.whole(), in.shape(0), kernel_gradient_rule(args, in).shape);
}

Spec input_gradient_rule(const GradientArgs& args, const Specs& in) {
  windows::check_images(in, 0, "g");
  windows::check_images(in, 1, "the kernel");
  check_known(in.shape(1));
  if (args.size.size() != 2) throw Error(fmt::format("the size must be 2 numbers, not {}", args.size.size()));
  const Shape &g = in.shape(0), &kernel = in.shape(1);
  const Shape x{g[0], kernel[1] * std::max<std::int64_t>(1, args.groups), args.size[0], args.size[1]};
  const Sizes sizes = sizes_of(args.whole(), x, kernel);
  const Shape expected{g[0], sizes.filters, sizes.rows.output, sizes.columns.output};
  if (g != expected) throw Error(fmt::format("g must be {}, not {}", expected.text(), g.text()));
  return {x, in.dtype(0)};
}

void input_gradient_forward(const GradientArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const Sizes sizes = sizes_of(args.whole(), out.shape(), in[1].shape());
  dispatch_floating(out.dtype, [&]<typename T>() {
    convolution::input_gradient(sizes, in[0].data<T>(), in[1].data<T>(), out.data<T>());
  });
}

Spec kernel_gradient_rule(const GradientArgs& args, const Specs& in) {
  windows::check_images(in, 0, "x");
  windows::check_images(in, 1, "g");
  if (args.size.size() != 2) throw Error(fmt::format("the size must be 2 numbers, not {}", args.size.size()));
  const Shape &x = in.shape(0), &g = in.shape(1);
  const Shape kernel{g[1], x[1] / std::max<std::int64_t>(1, args.groups), args.size[0], args.size[1]};
  const Sizes sizes = sizes_of(args.whole(), x, kernel);
  const Shape expected{x[0], g[1], sizes.rows.output, sizes.columns.output};
  if (g != expected) throw Error(fmt::format("g must be {}, not {}", expected.text(), g.text()));
  return {kernel, in.dtype(0)};
}

void kernel_gradient_forward(const GradientArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const Sizes sizes = sizes_of(args.whole(), in[0].shape(), out.shape());
  dispatch_floating(out.dtype, [&]<typename T>() {
    convolution::kernel_gradient(sizes, in[0].data<T>(), in[1].data<T>(), out.data<T>());
  });
}

template <bool kRelu>
const TypedOp<ConvolutionArgs>& convolution_op();

// The three are one product of x, the kernel and g, each the derivative by one of them; so each one's gradients are
// the other two.
Tensor convolved(const GradientArgs& args, const Tensor& x, const Tensor& kernel);
Tensor input_gradient(GradientArgs args, const Tensor& g, const Tensor& kernel, const Shape& x);
Tensor kernel_gradient(GradientArgs args, const Tensor& x, const Tensor& g, const Shape& kernel);

// y = x * k:  dx = input_gradient(g, k), dk = kernel_gradient(x, g), db = Σ g over images and places
template <bool kRelu>
Tensors convolution_gradient(const ConvolutionArgs& args, const Call& call, const Tensor& g) {
  const Tensor h = kRelu ? gate(g, call.output()) : g;
  const Shape &x = call.shape(0), &kernel = call.shape(1);
  const auto axis = [&](int which) { return windows::axis(args.wish(), which, x[2 + which], kernel[2 + which]); };
  const GradientArgs with{
      args.strides, windows::resolved_padding(args.wish(), axis(0), axis(1)), args.dilation, args.groups, {}};
  Tensors gradients(call.size());
  if (call.wants(0)) gradients[0] = input_gradient(with, h, call.input(1), x);
  if (call.wants(1)) gradients[1] = kernel_gradient(with, call.input(0), h, kernel);
  if (call.size() == 3 && call.wants(2)) gradients[2] = sum(h, {0, 2, 3});
  return gradients;
}

// dy = dx * k + x * dk + db
template <bool kRelu>
Tensor convolution_tangent(const ConvolutionArgs& args, const Call& call, const Tensors& t) {
  const Tensor db = call.size() == 3 ? t[2] : Tensor();
  const auto convolve = [&](const Tensor& x, const Tensor& kernel, const Tensor& bias) {
    return bias.defined() ? apply(convolution_op<false>(), args, {x, kernel, bias})
                          : apply(convolution_op<false>(), args, {x, kernel});
  };
  Tensor h;
  if (t[0].defined()) h = convolve(t[0], call.input(1), db);
  if (t[1].defined()) {
    const Tensor by_kernel = convolve(call.input(0), t[1], h.defined() ? Tensor() : db);
    h = h.defined() ? h + by_kernel : by_kernel;
  }
  if (!h.defined()) h = broadcast_to(reshape(db, {1, db.shape()[0], 1, 1}), call.output_shape());
  return kRelu ? gate(h, call.output()) : h;
}

// Calls side by side are one with a group for each; images that are the same for all need none, being seen by all
// filters.
template <bool kRelu>
Tensor convolution_stacked(const ConvolutionArgs& args, const Tensors& in, const std::vector<bool>& which) {
  if (const Tensor batch = as_one_batch(convolution_op<kRelu>(), boxed(args), in, which); batch.defined()) return batch;
  const int skipped = !which[0] && args.groups == 1 ? 1 : 0;
  const Tensors all = all_stacked(Tensors(in.begin() + skipped, in.end()), {which.begin() + skipped, which.end()});
  const std::int64_t calls = all[0].shape()[0];
  ConvolutionArgs together = args;
  if (!skipped) together.groups *= calls;
  Tensors inputs{skipped ? in[0] : as_channels(all[0])};
  for (std::size_t k = inputs.size() - static_cast<std::size_t>(skipped); k < all.size(); ++k)
    inputs.push_back(as_filters(all[k]));
  return from_channels(apply(convolution_op<kRelu>(), together, inputs), calls);
}

template <bool kRelu>
const TypedOp<ConvolutionArgs>& convolution_op() {
  static const TypedOp<ConvolutionArgs> op({
      .name = kRelu ? "conv2d_relu" : "conv2d",
      .doc = kRelu ? "max(conv2d(x, kernel, bias), 0) in one sweep; the gradient at 0 is 0."
                   : "The cross-correlation of x [n, c, h, w] and kernel [filters, c / groups, rows, columns], plus "
                     "bias [filters] or none.",
      .shape = convolution_rule,
      .forward = convolution_forward<kRelu>,
      .work = [](const ConvolutionArgs& args,
                 const Specs& in) { return work_of(sizes_of(args, in.shape(0), in.shape(1))); },
      .scratch = [](const ConvolutionArgs& args, const Specs& in) { return scratch_of(args, in.shape(0), in[1]); },
      .absorb = kRelu ? nullptr : convolution_absorb,
      .in_blocks = [](const ConvolutionArgs& args, const Specs& in,
                      const ChannelBlocks& wanted) { return forward_in_blocks(args, in, wanted, false, kRelu); },
      .branches = kRelu ? branches::of_relu<ConvolutionArgs> : nullptr,
      .keeps = Keep::first | Keep::second | (kRelu ? Keep::output : Keep::none),
      .gradient = convolution_gradient<kRelu>,
      .tangent = convolution_tangent<kRelu>,
      .stacked = convolution_stacked<kRelu>,
      .samples = convolution_samples<kRelu>(),
      .examples = convolution_examples<kRelu>(),
      .refuses = {{{},
                   {sample::uniform({1, 1, 2, 5}), sample::uniform({1, 1, 3, 3})},
                   "the window reaches over 3 rows but the padded input has 2"},
                  {{.strides = {0, 1}},
                   {sample::uniform({1, 1, 3, 3}), sample::uniform({1, 1, 2, 2})},
                   "the strides must be from 1 to 2^31 - 1, not 0 and 1"},
                  {{.groups = 2},
                   {sample::uniform({1, 3, 3, 3}), sample::uniform({2, 1, 2, 2})},
                   "2 groups do not divide 3 channels"},
                  {{.groups = 2},
                   {sample::uniform({1, 4, 3, 3}), sample::uniform({3, 2, 2, 2})},
                   "2 groups do not divide 3 filters"},
                  {{},
                   {sample::uniform({1, 4, 3, 3}), sample::uniform({3, 2, 2, 2})},
                   "each filter must have 4 channels, not 2"},
                  {{.groups = 2},
                   {sample::uniform({1, 4, 3, 3}), sample::uniform({2, 1, 3, 3})},
                   "each filter must have 2 channels, not 1"},
                  {{},
                   {sample::uniform({1, 1, 3, 3}), sample::uniform({2, 1, 2, 2}), sample::uniform({3})},
                   "the bias must be (2,) of f64, one for each filter, not (3,) of f64"},
                  {{}, {sample::uniform({3, 3}), sample::uniform({1, 1, 2, 2})}, "x must have four axes, not 2"},
                  {{}, {sample::integers({1, 1, 2, 2}, 0, 3), sample::uniform({1, 1, 2, 2})}, "not i64"}},
  });
  return op;
}

const TypedOp<GradientArgs>& input_gradient_op() {
  static const TypedOp<GradientArgs> op({
      .name = "conv2d_input_gradient",
      .doc = "What conv2d with this kernel passes back to an image of this size from g, the gradient of its output.",
      .shape = input_gradient_rule,
      .forward = input_gradient_forward,
      .work = [](const GradientArgs& args, const Specs& in) { return work_of(sizes_from_gradient(args, in)); },
      .scratch =
          [](const GradientArgs& args, const Specs& in) {
            return scratch_bytes(Product::input_gradient, sizes_from_gradient(args, in), in.dtype(0));
          },
      .in_blocks =
          [](const GradientArgs& args, const Specs& in, const ChannelBlocks& wanted) {
            return input_gradient_in_blocks(args.whole(), sizes_from_gradient(args, in), in.dtype(0), wanted);
          },
      .keeps = Keep::first | Keep::second,
      // dx = input_gradient(g, k) with h for dx:  dg = conv2d(h, k), dk = kernel_gradient(h, g)
      .gradient = [](const GradientArgs& args, const Call& call, const Tensor& h) -> Tensors {
        return {call.wants(0) ? convolved(args, h, call.input(1)) : Tensor(),
                call.wants(1) ? kernel_gradient(args, h, call.input(0), call.shape(1)) : Tensor()};
      },
      .linear = Linear::each,
      .stacked = [](const GradientArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        if (const Tensor batch = as_one_batch(input_gradient_op(), boxed(args), in, which); batch.defined())
          return batch;
        const Tensors all = all_stacked(in, which);
        const std::int64_t calls = all[0].shape()[0];
        GradientArgs together = args;
        together.groups *= calls;
        return from_channels(apply(input_gradient_op(), together, {as_channels(all[0]), as_filters(all[1])}), calls);
      },
      .samples = {{{.size = {3, 4}}, {sample::uniform({2, 3, 2, 2}), sample::uniform({3, 2, 2, 3})}},
                  {{.strides = {2, 1}, .padding = {1, 0, 2, 1}, .dilation = {1, 2}, .size = {4, 3}},
                   {sample::uniform({1, 2, 2, 4}), sample::uniform({2, 2, 3, 2})}},
                  {{.groups = 2, .size = {2, 3}}, {sample::uniform({2, 4, 2, 3}), sample::uniform({4, 1, 1, 1})}},
                  {{}, {sample::uniform({1, 1, 1, 1}), sample::uniform({1, 1, 1, 1})}}},
      .examples = {{{.size = {2, 2}}, {image({{3}}), image({{0, 1}, {2, 3}})}, image({{0, 3}, {6, 9}})},
                   {{.size = {1, 3}}, {image({{1, 10}}), image({{1, 2}})}, image({{1, 12, 20}})}},
      .refuses = {{{.size = {4, 4}},
                   {sample::uniform({1, 1, 2, 2}), sample::uniform({1, 1, 2, 2})},
                   "g must be (1, 1, 3, 3), not (1, 1, 2, 2)"}},
  });
  return op;
}

const TypedOp<GradientArgs>& kernel_gradient_op() {
  static const TypedOp<GradientArgs> op({
      .name = "conv2d_kernel_gradient",
      .doc = "What conv2d of x passes back to a kernel of this size from g, the gradient of its output.",
      .shape = kernel_gradient_rule,
      .forward = kernel_gradient_forward,
      .work = [](const GradientArgs& args, const Specs& in) { return work_of(sizes_of_kernel(args, in)); },
      .scratch =
          [](const GradientArgs& args, const Specs& in) {
            return scratch_bytes(Product::kernel_gradient, sizes_of_kernel(args, in), in.dtype(0));
          },
      .in_blocks =
          [](const GradientArgs& args, const Specs& in, const ChannelBlocks& wanted) {
            return kernel_gradient_in_blocks(args.whole(), sizes_of_kernel(args, in), in.dtype(0), wanted);
          },
      .keeps = Keep::first | Keep::second,
      // dk = kernel_gradient(x, g) with h for dk:  dx = input_gradient(g, h), dg = conv2d(x, h)
      .gradient = [](const GradientArgs& args, const Call& call, const Tensor& h) -> Tensors {
        return {call.wants(0) ? input_gradient(args, call.input(1), h, call.shape(0)) : Tensor(),
                call.wants(1) ? convolved(args, call.input(0), h) : Tensor()};
      },
      .linear = Linear::each,
      .stacked = [](const GradientArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        if (!which[0] && args.groups == 1)
          return from_filters(apply(kernel_gradient_op(), args, {in[0], as_channels(in[1])}), in[1].shape()[0]);
        const Tensors all = all_stacked(in, which);
        const std::int64_t calls = all[0].shape()[0];
        GradientArgs together = args;
        together.groups *= calls;
        return from_filters(apply(kernel_gradient_op(), together, {as_channels(all[0]), as_channels(all[1])}), calls);
      },
      .samples = {{{.size = {2, 3}}, {sample::uniform({2, 2, 3, 4}), sample::uniform({2, 3, 2, 2})}},
                  {{.strides = {2, 1}, .padding = {1, 0, 2, 1}, .dilation = {1, 2}, .size = {3, 2}},
                   {sample::uniform({1, 2, 4, 3}), sample::uniform({1, 2, 2, 4})}},
                  {{.groups = 2}, {sample::uniform({2, 2, 2, 3}), sample::uniform({2, 4, 2, 3})}},
                  {{}, {sample::uniform({1, 1, 1, 1}), sample::uniform({1, 1, 1, 1})}}},
      .examples = {{{.size = {2, 2}},
                    {image({{0, 1, 2}, {3, 4, 5}, {6, 7, 8}}), image({{1, 1}, {1, 1}})},
                    image({{8, 12}, {20, 24}})}},
      .refuses = {{{.size = {2, 2}},
                   {sample::uniform({1, 1, 3, 3}), sample::uniform({1, 1, 3, 3})},
                   "g must be (1, 1, 2, 2), not (1, 1, 3, 3)"}},
  });
  return op;
}

Tensor convolved(const GradientArgs& args, const Tensor& x, const Tensor& kernel) {
  return apply(convolution_op<false>(), args.whole(), {x, kernel});
}
Tensor input_gradient(GradientArgs args, const Tensor& g, const Tensor& kernel, const Shape& x) {
  args.size = {x[2], x[3]};
  return apply(input_gradient_op(), args, {g, kernel});
}
Tensor kernel_gradient(GradientArgs args, const Tensor& x, const Tensor& g, const Shape& kernel) {
  args.size = {kernel[2], kernel[3]};
  return apply(kernel_gradient_op(), args, {x, g});
}

}  // namespace

const Op& convolution::convolution_record(bool relu) {
  return relu ? static_cast<const Op&>(convolution_op<true>()) : convolution_op<false>();
}

Tensor conv2d(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Conv2dOptions& options) {
  if (options.activation != FusedActivation::linear && options.activation != FusedActivation::relu)
    throw Error("conv2d computes linear and relu in its sweep: apply other activations to its output");
  const auto& op = options.activation == FusedActivation::relu ? convolution_op<true>() : convolution_op<false>();
  const ConvolutionArgs args{options.strides.list(), options.padding.widths(), options.padding.same(),
                             options.dilation.list(), options.groups};
  return windows::channels_first(x, options.channels_last, [&](const Tensor& images) {
    return bias.defined() ? apply(op, args, {images, kernel, bias}) : apply(op, args, {images, kernel});
  });
}

Tensor conv2d_input_gradient(const Tensor& g, const Tensor& kernel, Extent size, const Conv2dOptions& options) {
  if (kernel.rank() != 4)
    throw Error(fmt::format("conv2d_input_gradient: the kernel must have four axes, not {}", kernel.rank()));
  const Numbers strides = options.strides.list(), dilation = options.dilation.list();
  const windows::Wish wish{strides, options.padding.widths(), options.padding.same(), dilation};
  windows::check(wish);
  const auto axis = [&](int which) {
    return windows::axis(wish, which, which == 0 ? size.rows : size.columns, kernel.shape()[2 + which]);
  };
  const GradientArgs args{strides, windows::resolved_padding(wish, axis(0), axis(1)), dilation, options.groups,
                          size.list()};
  return windows::channels_first(g, options.channels_last, [&](const Tensor& images) {
    return apply(input_gradient_op(), args, {images, kernel});
  });
}

std::vector<const Op*> convolution_ops() {
  std::vector<const Op*> ops = {&convolution_op<false>(), &convolution_op<true>(), &input_gradient_op(),
                                &kernel_gradient_op()};
  for (const auto& more : {convolution_add_ops(), blocked_convolution_ops()})
    ops.insert(ops.end(), more.begin(), more.end());
  for (const auto& pools : {pooling_ops(), average_pooling_ops()}) ops.insert(ops.end(), pools.begin(), pools.end());
  return ops;
}

}  // namespace twopass
