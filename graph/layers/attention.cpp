#include <twopass/graph/layers/attention.h>

#include <fmt/format.h>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>
#include <twopass/ops/attention.h>
#include <twopass/ops/products.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

class EmbeddingLayer : public Layer {
 public:
  EmbeddingLayer(std::int64_t input_dim, std::int64_t output_dim, const EmbeddingOptions& options)
      : input_dim_(input_dim), output_dim_(output_dim), initializer_(options.embeddings_initializer) {
    if (input_dim < 1 || output_dim < 1 || checked_product(input_dim, output_dim) > (std::int64_t{1} << 40))
      throw Error(fmt::format("Embedding({}, {}): both must be at least 1, and the table of 2^40 numbers at most",
                              input_dim, output_dim));
  }
  void build(const Shapes& inputs) override {
    if (inputs.size() != 1) throw Error(fmt::format("Embedding takes one input, not {}", inputs.size()));
    embeddings_ = add_weight("embeddings", {input_dim_, output_dim_}, initializer_);
  }
  Tensors call(const Tensors& inputs, const CallContext&) override { return {embedding(embeddings_, inputs[0])}; }
  std::string type() const override { return "Embedding"; }
  Attributes attributes() const override { return {{"input_dim", input_dim_}, {"output_dim", output_dim_}}; }

 private:
  std::int64_t input_dim_, output_dim_;
  Initializer initializer_;
  Parameter embeddings_;
};

class MultiHeadAttentionLayer : public Layer {
 public:
  MultiHeadAttentionLayer(std::int64_t num_heads, std::int64_t key_dim, const MultiHeadAttentionOptions& options)
      : heads_(num_heads),
        key_dim_(key_dim),
        value_dim_(options.value_dim == 0 ? key_dim : options.value_dim),
        options_(options) {
    for (const std::int64_t each : {heads_, key_dim_, value_dim_})
      if (each < 1 || each > (std::int64_t{1} << 20))
        throw Error(fmt::format("MultiHeadAttention({}, {}): heads and widths must be from 1 to 2^20, not {}",
                                num_heads, key_dim, each));
  }
  void build(const Shapes& inputs) override {
    if (inputs.empty() || inputs.size() > 3)
      throw Error(fmt::format("MultiHeadAttention takes a query, a value and a key, not {} inputs", inputs.size()));
    for (const Shape& each : inputs)
      if (each.rank() != 3)
        throw Error(fmt::format("MultiHeadAttention needs [n, steps, features]: an input has shape {}", each.text()));
    // The last input is the key, or the value, which is the query's own where that is alone.
    const Shape &query = inputs[0], &value = inputs[inputs.size() > 1 ? 1 : 0], &key = inputs.back();
    query_ = projection("query", query.back(), key_dim_);
    key_ = projection("key", key.back(), key_dim_);
    value_ = projection("value", value.back(), value_dim_);
    output_.kernel =
        add_weight("attention_output/kernel", {heads_, value_dim_, query.back()}, options_.kernel_initializer);
    if (options_.use_bias)
      output_.bias = add_weight("attention_output/bias", {query.back()}, options_.bias_initializer);
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    const Tensor &query = inputs[0], &value = inputs[inputs.size() > 1 ? 1 : 0], &key = inputs.back();
    const Tensor seen = scaled_dot_product_attention(headed(query, query_), headed(key, key_), headed(value, value_),
                                                     {.causal = options_.causal});
    const std::int64_t wide = heads_ * value_dim_;
    const Tensor together = reshape(transpose(seen, {0, 2, 1, 3}), {query.shape()[0], query.shape()[1], wide});
    return {affine(together, reshape(output_.kernel, {wide, query.shape()[2]}),
                   options_.use_bias ? output_.bias.tensor() : Tensor())};
  }
  std::string type() const override { return "MultiHeadAttention"; }
  Attributes attributes() const override {
    return {{"num_heads", heads_},
            {"key_dim", key_dim_},
            {"value_dim", value_dim_},
            {"use_bias", options_.use_bias},
            {"causal", options_.causal}};
  }

 private:
  struct Projection {
    Parameter kernel, bias;
  };
  Projection projection(const std::string& name, std::int64_t features, std::int64_t width) {
    known("MultiHeadAttention", features, "features");
    Projection made;
    made.kernel = add_weight(name + "/kernel", {features, heads_, width}, options_.kernel_initializer);
    if (options_.use_bias) made.bias = add_weight(name + "/bias", {heads_, width}, options_.bias_initializer);
    return made;
  }
  // [n, t, d] as [n, heads, t, width].
  Tensor headed(const Tensor& x, const Projection& by) const {
    const Tensor kernel = by.kernel;
    const std::int64_t width = kernel.shape()[2];
    const Tensor bias = options_.use_bias ? reshape(by.bias, {heads_ * width}) : Tensor();
    const Tensor y = affine(x, reshape(kernel, {kernel.shape()[0], heads_ * width}), bias);
    return transpose(reshape(y, {y.shape()[0], y.shape()[1], heads_, width}), {0, 2, 1, 3});
  }

  std::int64_t heads_, key_dim_, value_dim_;
  MultiHeadAttentionOptions options_;
  Projection query_, key_, value_, output_;
};

}  // namespace

Embedding::Embedding(std::int64_t input_dim, std::int64_t output_dim, const EmbeddingOptions& options)
    : LayerHandle(named<EmbeddingLayer>(options.name, input_dim, output_dim, options)) {}
MultiHeadAttention::MultiHeadAttention(std::int64_t num_heads, std::int64_t key_dim,
                                       const MultiHeadAttentionOptions& options)
    : LayerHandle(named<MultiHeadAttentionLayer>(options.name, num_heads, key_dim, options)) {}

LayerMakers attention_layers() {
  using namespace reading;
  return {{"Embedding",
           [](const Attributes& with) {
             return Embedding(integer(with, "input_dim"), integer(with, "output_dim")).pointer();
           }},
          {"MultiHeadAttention", [](const Attributes& with) {
             return MultiHeadAttention(integer(with, "num_heads"), integer(with, "key_dim"),
                                       {.value_dim = integer(with, "value_dim"),
                                        .use_bias = truth(with, "use_bias"),
                                        .causal = truth(with, "causal")})
                 .pointer();
           }}};
}

}  // namespace twopass
