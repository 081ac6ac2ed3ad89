#include <fmt/format.h>

#include <twopass/ops/branches.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/gemm.h>
#include <twopass/ops/matmul.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace products {
namespace {

Spec affine_rule(const NoArgs&, const Specs& in) {
  if (in.size() < 2 || in.size() > 3)
    throw Error(fmt::format("affine takes x, w and perhaps b, not {} tensors", in.size()));
  check_dtypes(in);
  const Shape &x = in.shape(0), &w = in.shape(1);
  if (x.rank() < 1) throw Error("x needs an axis of features");
  if (w.rank() != 2) throw Error(fmt::format("w must have two axes, not {}", w.rank()));
  check_inner(x.back(), w[0]);
  if (in.size() == 3 && (in.shape(2).rank() != 1 || in.shape(2)[0] != w[1]))
    throw Error(fmt::format("b must be ({},), one for each column of w, not {}", w[1], in.shape(2).text()));
  return {x.with(-1, w[1]), in.dtype(0)};
}

template <FusedActivation kActivation>
void affine_forward(const NoArgs&, Inputs in, Output out) {
  const std::int64_t k = in[1].shape()[0], n = in[1].shape()[1];
  if (out.elements() == 0) return;
  dispatch_floating(out.dtype, [&]<typename T>() {
    GemmOptions<T> options{.bias = in.size() == 3 ? in[2].data<T>() : nullptr};
    set_activation(options, kActivation);
    gemm(false, false, out.elements() / n, n, k, in[0].data<T>(), k, in[1].data<T>(), n, out.data<T>(), n, options);
  });
}

// g times the slope of the activation at its value y:  relu: g where y > 0;  sigmoid: g y (1 - y);  tanh: g (1 - y²)
template <FusedActivation kActivation>
Tensor bent(const Call& call, const Tensor& g) {
  if constexpr (kActivation == FusedActivation::linear) {
    return g;
  } else {
    const Tensor y = call.output();
    if constexpr (kActivation == FusedActivation::relu)
      return gate(g, y);
    else if constexpr (kActivation == FusedActivation::sigmoid)
      return sigmoid_gradient(g, y);
    else
      return tanh_gradient(g, y);
  }
}

// y = act(x w + b), h = g act'(y):  dx = h wᵀ, dw = xᵀ h, db = Σ h over the rows
template <FusedActivation kActivation>
Tensors affine_gradient(const NoArgs&, const Call& call, const Tensor& g) {
  const Tensor h = bent<kActivation>(call, g);
  Tensors gradients(call.size());
  if (call.wants(0)) {
    const Tensor dx = product(h.rank() == 1 ? reshape(h, {1, h.shape()[0]}) : h, call.input(1), false, true);
    gradients[0] = h.rank() == 1 ? reshape(dx, call.shape(0)) : dx;
  }
  const bool wants_bias = call.size() == 3 && call.wants(2);
  if (!call.wants(1) && !wants_bias) return gradients;
  const Tensor rows = as_rows(h);
  if (call.wants(1)) gradients[1] = product(as_rows(call.input(0)), rows, true, false);
  if (wants_bias) gradients[2] = sum(rows, 0);
  return gradients;
}

// dy = act'(y) (dx w + x dw + db)
template <FusedActivation kActivation>
Tensor affine_tangent(const NoArgs&, const Call& call, const Tensors& t) {
  const Tensor db = call.size() == 3 ? t[2] : Tensor();
  Tensor h;
  if (t[0].defined()) h = affine(t[0], call.input(1), db);
  if (t[1].defined() && !h.defined())
    h = affine(call.input(0), t[1], db);
  else if (t[1].defined() && h.rank() > 1)
    h = multiply_add(h, call.input(0), t[1]);
  else if (t[1].defined())
    h = h + affine(call.input(0), t[1], {});
  return bent<kActivation>(call, h.defined() ? h : broadcast_to(db, call.output_shape()));
}

// One product over all rows where x alone differs.
Tensor affine_stacked(const NoArgs&, const Tensors& in, const std::vector<bool>& which) {
  const bool has_bias = in.size() == 3;
  if (which[0] && !which[1] && !(has_bias && which[2])) return affine(in[0], in[1], has_bias ? in[2] : Tensor());
  const Shape one = which[0] ? in[0].shape().without(0) : in[0].shape();
  const Shape rows{one.without(-1).elements(), one.back()};
  Tensor y = matmul(reshape(in[0], which[0] ? rows.inserted(0, in[0].shape()[0]) : rows), in[1]);
  if (has_bias) {
    const Tensors parts = aligned({y, in[2]}, {which[0] || which[1], which[2]});
    y = parts[0] + parts[1];
  }
  return reshape(y, one.with(-1, y.shape().back()).inserted(0, y.shape()[0]));
}

using Examples = std::vector<OpRecord<>::Example>;

// Sums away from relu's kink, once all above and once all below it.
template <FusedActivation kActivation>
std::vector<OpRecord<>::Sample> affine_samples() {
  const double low = kActivation == FusedActivation::relu ? 0.5 : -1;
  const auto draw = [&](const Shape& shape) { return sample::uniform(shape, low, 1.5); };
  return {{{}, {draw({3, 2}), draw({2, 4}), draw({4})}},
          {{}, {draw({2, 2, 3}), draw({3, 2}), draw({2})}},
          {{}, {draw({3}), draw({3, 2}), draw({2})}},
          {{}, {sample::positive({2, 3}), sample::uniform({3, 2}, -1, -0.5)}}};
}

double affine_work(const NoArgs&, const Specs& in) {
  return 2.0 * static_cast<double>(in.shape(0).elements() * in.shape(1)[1]);
}

std::int64_t affine_scratch(const NoArgs&, const Specs& in) {
  const Shape &x = in.shape(0), &w = in.shape(1);
  return x.rank() < 2 ? 0 : product_scratch({}, x, w, in.dtype(0), false);
}

std::optional<Absorbed> affine_absorb(const NoArgs&, const Consumer& consumer) {
  return absorb({.bias = consumer.product.size() == 3 ? 2 : kNone}, consumer);
}

template <FusedActivation kActivation>
const TypedOp<NoArgs>& affine_op(const char* name, const char* doc, const Examples& examples) {
  static const TypedOp<NoArgs> op({
      .name = name,
      .doc = doc,
      .shape = affine_rule,
      .forward = affine_forward<kActivation>,
      .work = affine_work,
      .scratch = affine_scratch,
      .absorb = kActivation == FusedActivation::linear ? affine_absorb : nullptr,
      .note = [](const NoArgs&, const Specs& in) -> std::string {
        const Shape &x = in.shape(0), &w = in.shape(1);
        return x.rank() < 2 ? "" : product_note({}, x, w, in.dtype(0));
      },
      .branches = kActivation == FusedActivation::relu ? branches::of_relu<NoArgs> : nullptr,
      .keeps = Keep::first | Keep::second | (kActivation == FusedActivation::linear ? Keep::none : Keep::output),
      .gradient = affine_gradient<kActivation>,
      .tangent = affine_tangent<kActivation>,
      .stacked = kActivation == FusedActivation::linear ? affine_stacked : nullptr,
      .samples = affine_samples<kActivation>(),
      .examples = examples,
      .refuses = {{{},
                   {sample::uniform({2, 3}), sample::uniform({4, 5}), sample::uniform({5})},
                   "the first has 3 columns but the second has 4 rows"},
                  {{},
                   {sample::uniform({2, 3}), sample::uniform({3, 5}), sample::uniform({4})},
                   "b must be (5,), one for each column of w, not (4,)"},
                  {{}, {sample::uniform({2, 3}), sample::uniform({3})}, "w must have two axes, not 1"}},
  });
  return op;
}

}  // namespace

const Op& affine_record(FusedActivation activation) {
  const sample::Literal x{{1.0, 2.0}}, w{{1.0, -1.0}, {2.0, -2.0}}, b{0.5, 1.0};
  switch (activation) {
    case FusedActivation::relu: {
      static const auto& op = affine_op<FusedActivation::relu>(
          "affine_relu", "max(x w + b, 0) for x [..., k], w [k, n] and b [n] or none; the gradient at 0 is 0.",
          {{{}, {x, w, b}, {{5.5, 0.0}}}});
      return op;
    }
    case FusedActivation::sigmoid: {
      static const auto& op = affine_op<FusedActivation::sigmoid>(
          "affine_sigmoid", "sigmoid(x w + b) for x [..., k], w [k, n] and b [n] or none.",
          {{{}, {x, w, b}, {{0.995929862284104, 0.017986209962091559}}}});
      return op;
    }
    case FusedActivation::tanh: {
      static const auto& op =
          affine_op<FusedActivation::tanh>("affine_tanh", "tanh(x w + b) for x [..., k], w [k, n] and b [n] or none.",
                                           {{{}, {x, w, b}, {{0.99996659715630376, -0.99932929973906703}}}});
      return op;
    }
    default: {
      static const auto& op = affine_op<FusedActivation::linear>(
          "affine", "x w + b for x [..., k], w [k, n] and b [n] or none.", {{{}, {x, w, b}, {{5.5, -4.0}}}});
      return op;
    }
  }
}

std::vector<const Op*> affine_ops() {
  return {&affine_record(FusedActivation::linear), &affine_record(FusedActivation::relu),
          &affine_record(FusedActivation::sigmoid), &affine_record(FusedActivation::tanh)};
}

}  // namespace products

Tensor affine(const Tensor& x, const Tensor& w, const Tensor& b, FusedActivation activation) {
  const Op& op = products::affine_record(activation);
  return b.defined() ? apply(op, {x, w, b}) : apply(op, {x, w});
}

}  // namespace twopass
