// Layers that read sequences [n, steps, features] step by step, with Keras's gates and defaults.
#pragma once
#include <cstdint>
#include <string>

#include <twopass/graph/layers/layers.h>

namespace twopass {

struct LSTMOptions {
  bool use_bias = true;
  /// Whether the forget gate begins with a bias of 1 (Jozefowicz et al., 2015).
  bool unit_forget_bias = true;
  /// Whether every step's h is given, [n, steps, units], or the last alone, [n, units].
  bool return_sequences = false;
  bool go_backwards = false;
  Initializer kernel_initializer = glorot_uniform();
  Initializer recurrent_initializer = orthogonal();
  Initializer bias_initializer = zeros_initializer();
  std::string name = {};
};
/// lstm_cell along the steps from a state of zeros; kernel [features, 4 units], recurrent_kernel [units, 4 units], bias
/// [4 units]. Refuses an open number of steps.
struct LSTM : LayerHandle {
  explicit LSTM(std::int64_t units, const LSTMOptions& options = {});
};

struct GRUOptions {
  bool use_bias = true;
  bool return_sequences = false;
  bool go_backwards = false;
  Initializer kernel_initializer = glorot_uniform();
  Initializer recurrent_initializer = orthogonal();
  Initializer bias_initializer = zeros_initializer();
  std::string name = {};
};
/// gru_cell, whose reset gate comes after the product, likewise; kernel [features, 3 units], recurrent_kernel [units,
/// 3 units], bias [2, 3 units].
struct GRU : LayerHandle {
  explicit GRU(std::int64_t units, const GRUOptions& options = {});
};

}  // namespace twopass
