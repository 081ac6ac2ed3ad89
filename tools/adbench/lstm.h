// The loss of an elementwise LSTM that predicts the next character of a text, ADBench's LSTM.
#pragma once
#include "problem.h"

namespace adbench {

/// Of l layers, c characters and b bits: "l c b", main [2 l, 4 b] (a layer's weights, then its biases, each for forget,
/// ingate, outgate and change), extra [3, b] (weights of the input and of the output, biases of the output), state
/// [2 l, b] (a layer's hidden state, then its cell) and sequence [c, b]. The parameters are main and extra.
Problem read_lstm(std::string_view text, std::string_view name);

}  // namespace adbench
