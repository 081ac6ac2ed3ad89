// Convolutions that are added to something in the same sweep, and what plans let convolutions take over.
#include <fmt/format.h>

#include <twopass/ops/convolution_examples.h>
#include <twopass/ops/convolution_records.h>

namespace twopass::convolution {
namespace {

// What it is added to comes first.
Spec convolution_add_rule(const ConvolutionArgs& args, const Specs& in) {
  std::vector<Spec> others;
  for (std::size_t k = 1; k < in.size(); ++k) others.push_back(in[k]);
  const Spec y = convolution_rule(args, Specs(others));
  if (!(in.shape(0) == y.shape) || in.dtype(0) != y.dtype)
    throw Error(fmt::format("c is {} {} but the convolution is {} {}", name_of(in.dtype(0)), in.shape(0).text(),
                            name_of(y.dtype), y.shape.text()));
  return y;
}

template <bool kRelu>
void convolution_add_forward(const ConvolutionArgs& args, Inputs in, Output out) {
  if (out.elements() == 0) return;
  const Sizes sizes = sizes_of(args, in[1].shape(), in[2].shape());
  dispatch_floating(out.dtype, [&]<typename T>() {
    convolution::forward(sizes, in[1].data<T>(), in[2].data<T>(),
                         {.bias = in.size() == 4 ? in[3].data<T>() : nullptr, .add = in[0].data<T>(), .relu = kRelu},
                         out.data<T>());
  });
}

std::optional<Absorbed> convolution_add_absorb(const ConvolutionArgs& args, const Consumer& consumer);

// What plans make of c + conv2d(x, kernel, bias).
template <bool kRelu>
const TypedOp<ConvolutionArgs>& convolution_add_op() {
  const Tensor x = image({{0, 1, 2}, {3, 4, 5}, {6, 7, 8}}), kernel = image({{0, 1}, {2, 3}});
  static const TypedOp<ConvolutionArgs> op({
      .name = kRelu ? "conv2d_add_relu" : "conv2d_add",
      .doc = kRelu ? "max(c + conv2d(x, kernel, bias), 0) in one sweep: what plans make of such calls."
                   : "c + conv2d(x, kernel, bias) in one sweep, c of its shape: what plans make of such calls.",
      .shape = convolution_add_rule,
      .forward = convolution_add_forward<kRelu>,
      .work = [](const ConvolutionArgs& args,
                 const Specs& in) { return work_of(sizes_of(args, in.shape(1), in.shape(2))); },
      .scratch = [](const ConvolutionArgs& args, const Specs& in) { return scratch_of(args, in.shape(1), in[2]); },
      .absorb = kRelu ? nullptr : convolution_add_absorb,
      .in_blocks = [](const ConvolutionArgs& args, const Specs& in,
                      const ChannelBlocks& wanted) { return forward_in_blocks(args, in, wanted, true, kRelu); },
      .samples = {{{},
                   {sample::uniform({2, 3, 2, 2}), sample::uniform({2, 2, 3, 4}), sample::uniform({3, 2, 2, 3}),
                    sample::uniform({3})}},
                  {{.strides = {2, 2}, .same = true, .groups = 2},
                   {sample::uniform({2, 2, 2, 2}), sample::uniform({2, 4, 3, 4}), sample::uniform({2, 2, 3, 3})}}},
      .examples = {{{},
                    {image({{1, 2}, {3, -90}}), x, kernel, {5.0}},
                    kRelu ? image({{25, 32}, {45, 0}}) : image({{25, 32}, {45, -42}})}},
      .refuses = {{{},
                   {sample::uniform({1, 1, 3, 3}), sample::uniform({1, 1, 3, 3}), sample::uniform({1, 1, 2, 2})},
                   "c is f64 (1, 1, 3, 3) but the convolution is f64 (1, 1, 2, 2)"},
                  {{}, {sample::uniform({1, 1, 3, 3}), sample::uniform({1, 1, 3, 3})}, "not 1 tensors"}},
  });
  return op;
}

std::optional<Absorbed> convolution_add_absorb(const ConvolutionArgs& args, const Consumer& consumer) {
  if (consumer.op.name() != "relu") return std::nullopt;
  Absorbed made{&convolution_add_op<true>(), boxed(args), {0, 1, 2}};
  if (consumer.product.size() == 4) made.inputs.push_back(3);
  return made;
}

}  // namespace

// relu is taken over, a tensor of y's shape that is added, and where there is no bias one number for each filter.
std::optional<Absorbed> convolution_absorb(const ConvolutionArgs& args, const Consumer& consumer) {
  const bool biased = consumer.product.size() == 3;
  std::vector<int> inputs = biased ? std::vector{0, 1, 2} : std::vector{0, 1};
  if (consumer.op.name() == "relu") return Absorbed{&convolution_record(true), boxed(args), inputs};
  if (consumer.op.name() != "add") return std::nullopt;
  const Shape &y = consumer.inputs.shape(consumer.at), &other = consumer.inputs.shape(1 - consumer.at);
  const int from = -1 - static_cast<int>(1 - consumer.at);
  if (other == y) {
    inputs.insert(inputs.begin(), from);
    return Absorbed{&convolution_add_op<false>(), boxed(args), inputs};
  }
  if (biased || other.rank() < 3 || other.rank() > 4 || other[-3] != y[1] || other.elements() != y[1])
    return std::nullopt;
  inputs.push_back(from);
  return Absorbed{&convolution_record(false), boxed(args), inputs, 2};
}

std::vector<const Op*> convolution_add_ops() { return {&convolution_add_op<false>(), &convolution_add_op<true>()}; }

}  // namespace twopass::convolution
