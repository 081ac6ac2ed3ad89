// One step of recurrent networks, with Keras's order of gates.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

struct LstmState {
  Tensor h, c;
};
/// One step of an LSTM (Hochreiter and Schmidhuber, 1997) on x [batch, inputs] and a state of [batch, units] each:
/// i, f, o = σ and g = tanh of the parts of x kernel + h recurrent + bias, in the order i, f, g, o;
/// c' = f c + i g, h' = o tanh(c'). kernel is [inputs, 4 units], recurrent [units, 4 units], bias [4 units] or
/// undefined.
LstmState lstm_cell(const Tensor& x, const LstmState& state, const Tensor& kernel, const Tensor& recurrent,
                    const Tensor& bias = {});

/// One step of a GRU (Cho et al., 2014) on x [batch, inputs] and h [batch, units], with the reset gate after the
/// product, as Keras's reset_after: z, r = σ(x_z + h_z), σ(x_r + h_r) and n = tanh(x_n + r h_n), x_. the parts of
/// x kernel + bias[0] and h_. those of h recurrent + bias[1], in the order z, r, n; the result is z h + (1 - z) n.
/// kernel is [inputs, 3 units], recurrent [units, 3 units], bias [2, 3 units] or undefined.
Tensor gru_cell(const Tensor& x, const Tensor& h, const Tensor& kernel, const Tensor& recurrent,
                const Tensor& bias = {});

}  // namespace twopass
