// Products with all that may come behind them in one sweep: what plans make of several calls.
#include <fmt/format.h>

#include <twopass/ops/matmul.h>

namespace twopass::products {
namespace {

struct FusedArgs {
  bool transpose_a = false;
  bool transpose_b = false;
  std::string activation = {};
  static constexpr auto fields =
      std::tuple{field("transpose_a", &FusedArgs::transpose_a), field("transpose_b", &FusedArgs::transpose_b),
                 field("activation", &FusedArgs::activation)};
  MatmulArgs flags() const { return {transpose_a, transpose_b}; }
};

std::optional<FusedActivation> activation_named(const std::string& name) {
  if (name == "relu") return FusedActivation::relu;
  if (name == "sigmoid") return FusedActivation::sigmoid;
  if (name == "tanh") return FusedActivation::tanh;
  return std::nullopt;
}

constexpr char kSigmoid[] = "sigmoid", kTanh[] = "tanh";

// An elementwise op in place.
template <const char* kName, typename T>
void run_op(T* c, std::int64_t n) {
  static const Op* const op = find_op(kName);
  std::byte* const bytes = reinterpret_cast<std::byte*>(c);
  const Operand x{bytes, false};
  op->run(nullptr, {&x, 1}, bytes, n, std::is_same_v<T, float> ? f32 : f64);
}

// What the product is added to comes first, the bias last.
template <bool kAdded>
Spec fused_rule(const FusedArgs& args, const Specs& in) {
  constexpr std::size_t kFactors = kAdded ? 1 : 0;
  if (in.size() < kFactors + 2 || in.size() > kFactors + 3)
    throw Error(fmt::format("it takes {}a, b and perhaps a bias, not {} tensors", kAdded ? "c, " : "", in.size()));
  check_dtypes(in);
  const Shape y = product_shape(args.flags(), in.shape(kFactors), in.shape(kFactors + 1));
  if (kAdded && !(in.shape(0) == y))
    throw Error(fmt::format("c is {} but the product is {}", in.shape(0).text(), y.text()));
  if (const std::size_t bias = kFactors + 2; bias < in.size() && in.shape(bias) != Shape({y.back()}))
    throw Error(fmt::format("the bias must be ({},), one for each column, not {}", y.back(), in.shape(bias).text()));
  if (!args.activation.empty() && !activation_named(args.activation))
    throw Error(fmt::format("the activation must be relu, sigmoid or tanh, not \"{}\"", args.activation));
  return {y, in.dtype(0)};
}

template <bool kAdded>
void fused_forward(const FusedArgs& args, Inputs in, Output out) {
  constexpr std::size_t kFactors = kAdded ? 1 : 0;
  multiply(args.flags(), in[kFactors], in[kFactors + 1],
           {.add = kAdded ? &in[0] : nullptr,
            .bias = in.size() > kFactors + 2 ? &in[kFactors + 2] : nullptr,
            .activation = activation_named(args.activation).value_or(FusedActivation::linear)},
           out);
}

template <bool kAdded>
std::optional<Absorbed> fused_absorb(const FusedArgs& args, const Consumer& consumer) {
  if (!args.activation.empty()) return std::nullopt;
  constexpr int kFactors = kAdded ? 1 : 0;
  return absorb({.args = args.flags(),
                 .a = kFactors,
                 .b = kFactors + 1,
                 .bias = consumer.product.size() > kFactors + 2 ? kFactors + 2 : kNone,
                 .add = kAdded ? 0 : kNone},
                consumer);
}

using Samples = std::vector<OpRecord<FusedArgs>::Sample>;
using Examples = std::vector<OpRecord<FusedArgs>::Example>;
using Refusals = std::vector<OpRecord<FusedArgs>::Refusal>;

template <bool kAdded>
const TypedOp<FusedArgs>& fused_op(const char* name, const char* doc, const Samples& samples, const Examples& examples,
                                   const Refusals& refusals) {
  static const TypedOp<FusedArgs> op({
      .name = name,
      .doc = doc,
      .shape = fused_rule<kAdded>,
      .forward = fused_forward<kAdded>,
      .in_place = kAdded ? 0 : -1,
      .work = [](const FusedArgs& args,
                 const Specs& in) { return product_work(args.flags(), in.shape(kAdded), in.shape(kAdded + 1)); },
      .scratch =
          [](const FusedArgs& args, const Specs& in) {
            return product_scratch(args.flags(), in.shape(kAdded), in.shape(kAdded + 1), in.dtype(0), kAdded);
          },
      .absorb = fused_absorb<kAdded>,
      .note =
          [](const FusedArgs& args, const Specs& in) {
            return product_note(args.flags(), in.shape(kAdded), in.shape(kAdded + 1), in.dtype(0));
          },
      .samples = samples,
      .examples = examples,
      .refuses = refusals,
  });
  return op;
}

const TypedOp<FusedArgs>& fused_product_op() {
  using sample::uniform;
  static const auto& op = fused_op<false>(
      "fused_product",
      "activation(a b + bias), the product as in matmul, bias [n] or none, with relu, sigmoid, tanh or none: what "
      "plans "
      "make of such calls.",
      {{{}, {uniform({2, 3}), uniform({3, 4}), uniform({4})}},
       {{false, true, "tanh"}, {uniform({3, 2, 3}), uniform({4, 3}), uniform({4})}},
       {{true, false, "sigmoid"}, {uniform({2, 1, 3, 2}), uniform({3, 3, 4})}}},
      {{{false, true, "relu"}, {{{1, 2}, {3, 4}}, {{5, 7}, {6, 8}}, {-25.0, 1.0}}, {{0, 23}, {18, 51}}},
       {{.activation = "sigmoid"},
        {{{1, 2}}, {{1, -1}, {2, -2}}, {0.5, 1}},
        {{0.995929862284104, 0.017986209962091559}}}},
      {{{}, {uniform({2, 3}), uniform({4, 5})}, "the first has 3 columns but the second has 4 rows"},
       {{}, {uniform({2, 3}), uniform({3, 4}), uniform({3})}, "the bias must be (4,), one for each column, not (3,)"},
       {{.activation = "elu"}, {uniform({2, 3}), uniform({3, 4})}, "must be relu, sigmoid or tanh, not \"elu\""},
       {{}, {uniform({2, 3})}, "not 1 tensors"}});
  return op;
}

const TypedOp<FusedArgs>& fused_product_add_op() {
  using sample::uniform;
  const sample::Literal a{{1, 2}, {3, 4}}, b{{5, 6}, {7, 8}};
  static const auto& op =
      fused_op<true>("fused_product_add",
                     "activation(c + (a b + bias)), the product as in matmul, c of its shape, bias [n] or none, with "
                     "relu, sigmoid, tanh "
                     "or none: what plans make of such calls; in place where the output is c's memory.",
                     {{{}, {uniform({2, 4}), uniform({2, 3}), uniform({3, 4}), uniform({4})}},
                      {{true, false, "relu"}, {uniform({2, 4}), uniform({3, 2}), uniform({3, 4})}},
                      {{false, true, "tanh"}, {uniform({2, 2, 4}), uniform({2, 2, 3}), uniform({4, 3}), uniform({4})}}},
                     {{{}, {{{1, 2}, {3, 4}}, a, b, {10.0, 20.0}}, {{30, 44}, {56, 74}}},
                      {{.activation = "relu"}, {{{-20, 2}, {3, 4}}, a, b}, {{0, 24}, {46, 54}}}},
                     {{{}, {uniform({4}), uniform({2, 3}), uniform({3, 4})}, "c is (4,) but the product is (2, 4)"},
                      {{}, {uniform({2, 4}), uniform({2, 3})}, "not 2 tensors"}});
  return op;
}

// One for each column of y, in whatever shape spreads over its rows.
bool spreads_over_rows(const Shape& x, const Shape& y) {
  return x.rank() >= 1 && x.rank() <= y.rank() && x.back() == y.back() && x.elements() == y.back();
}

Absorbed absorbed(const Unfinished& product, const Consumer& consumer, const std::string& activation) {
  const auto shape = [&](int from) {
    return from >= 0 ? consumer.product.shape(static_cast<std::size_t>(from))
                     : consumer.inputs.shape(static_cast<std::size_t>(-1 - from));
  };
  const bool plain = !product.args.transpose_a && !product.args.transpose_b && shape(product.b).rank() == 2;
  const FusedArgs args{product.args.transpose_a, product.args.transpose_b, activation};
  Absorbed made{};
  if (product.add == kNone && plain)
    made.op = &affine_record(activation_named(activation).value_or(FusedActivation::linear));
  else if (product.add == kNone)
    made = {&fused_product_op(), boxed(args), {}};
  else if (product.bias == kNone && activation.empty())
    made = {&multiply_add_op(), boxed(product.args), {}};
  else
    made = {&fused_product_add_op(), boxed(args), {}};
  for (const int from : {product.add, product.a, product.b, product.bias})
    if (from != kNone) made.inputs.push_back(from);
  if (product.bias < 0 && shape(product.bias).rank() != 1) made.flat = static_cast<int>(made.inputs.size()) - 1;
  return made;
}

}  // namespace

std::optional<Absorbed> absorb(const Unfinished& product, const Consumer& consumer) {
  const std::string& name = consumer.op.name();
  if (activation_named(name)) return absorbed(product, consumer, name);
  if (name != "add") return std::nullopt;
  // c + (a b + bias) is what there is: a bias comes before what is added.
  const Shape& y = consumer.inputs.shape(consumer.at);
  const std::size_t other = 1 - consumer.at;
  const Shape& x = consumer.inputs.shape(other);
  Unfinished more = product;
  if (product.add != kNone) return std::nullopt;
  if (x == y && y.rank() > 1)
    more.add = -1 - static_cast<int>(other);
  else if (product.bias == kNone && spreads_over_rows(x, y))
    more.bias = -1 - static_cast<int>(other);
  else
    return std::nullopt;
  return absorbed(more, consumer, "");
}

template <typename T>
void set_activation(GemmOptions<T>& options, FusedActivation activation) {
  // The bits of the ops themselves.
  options.relu = activation == FusedActivation::relu;
  if (activation == FusedActivation::sigmoid) options.then = [](T* c, std::int64_t n) { run_op<kSigmoid>(c, n); };
  if (activation == FusedActivation::tanh) options.then = [](T* c, std::int64_t n) { run_op<kTanh>(c, n); };
}
template void set_activation(GemmOptions<float>&, FusedActivation);
template void set_activation(GemmOptions<double>&, FusedActivation);

std::vector<const Op*> fused_product_ops() { return {&fused_product_op(), &fused_product_add_op()}; }

}  // namespace twopass::products
