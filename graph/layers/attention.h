// Embedding and attention: layers of tokens, with Keras's shapes and defaults.
#pragma once
#include <cstdint>
#include <string>

#include <twopass/graph/layers/layers.h>

namespace twopass {

struct EmbeddingOptions {
  Initializer embeddings_initializer = random_uniform();
  std::string name = {};
};
/// The rows of a table [input_dim, output_dim] at i64 indices: [n, …] gives [n, …, output_dim]. Refuses an index that
/// the table does not have.
struct Embedding : LayerHandle {
  Embedding(std::int64_t input_dim, std::int64_t output_dim, const EmbeddingOptions& options = {});
};

struct MultiHeadAttentionOptions {
  /// The width of each head's values; 0: as of its keys.
  std::int64_t value_dim = 0;
  bool use_bias = true;
  /// Whether a step may look at steps up to its own only.
  bool causal = false;
  Initializer kernel_initializer = glorot_uniform();
  Initializer bias_initializer = zeros_initializer();
  std::string name = {};
};
/// Attention of several heads (Vaswani et al., 2017): queries [n, t, d] look at values, and keys where these differ,
/// [n, s, …], as one, two or three inputs (query, value, key); [n, t, d]. Kernels are [d, heads, key_dim] and
/// [heads, value_dim, d].
struct MultiHeadAttention : LayerHandle {
  MultiHeadAttention(std::int64_t num_heads, std::int64_t key_dim, const MultiHeadAttentionOptions& options = {});
};

}  // namespace twopass
