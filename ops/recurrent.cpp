#include <twopass/ops/recurrent.h>

#include <fmt/format.h>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/named.h>
#include <twopass/ops/products.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

void check_weights(const char* name, const Tensor& recurrent, std::int64_t units, std::int64_t gates) {
  if (recurrent.rank() != 2 || recurrent.shape()[0] != units || recurrent.shape()[1] != gates * units)
    throw Error(fmt::format("{}: the recurrent weights of {} units have shape {}, not {}", name, units,
                            Shape{units, gates * units}.text(), recurrent.shape().text()));
}

Tensors gates_of(const Tensor& z, std::int64_t units, std::size_t gates) {
  return split(z, std::vector<std::int64_t>(gates, units), -1);
}

}  // namespace

LstmState lstm_cell(const Tensor& x, const LstmState& state, const Tensor& kernel, const Tensor& recurrent,
                    const Tensor& bias) {
  return named("lstm_cell", {&x, &state.h, &state.c, &kernel, &recurrent, &bias}, [&]() -> LstmState {
    const std::int64_t units = state.h.shape().back();
    check_weights("lstm_cell", recurrent, units, 4);
    const Tensors gates = gates_of(affine(x, kernel, bias) + matmul(state.h, recurrent), units, 4);
    const Tensor c = sigmoid(gates[1]) * state.c + sigmoid(gates[0]) * tanh(gates[2]);
    return {sigmoid(gates[3]) * tanh(c), c};
  });
}

Tensor gru_cell(const Tensor& x, const Tensor& h, const Tensor& kernel, const Tensor& recurrent, const Tensor& bias) {
  return named("gru_cell", {&x, &h, &kernel, &recurrent, &bias}, [&] {
    const std::int64_t units = h.shape().back();
    check_weights("gru_cell", recurrent, units, 3);
    if (bias.defined() && !(bias.shape() == Shape{2, 3 * units}))
      throw Error(fmt::format("gru_cell: the biases of {} units have shape {}, not {}", units,
                              Shape{2, 3 * units}.text(), bias.shape().text()));
    const auto row = [&](std::int64_t k) { return bias.defined() ? squeeze(slice(bias, 0, k, k + 1), 0) : Tensor(); };
    const Tensors from_x = gates_of(affine(x, kernel, row(0)), units, 3);
    const Tensors from_h = gates_of(affine(h, recurrent, row(1)), units, 3);
    const Tensor z = sigmoid(from_x[0] + from_h[0]), r = sigmoid(from_x[1] + from_h[1]);
    return z * h + (1.0 - z) * tanh(from_x[2] + r * from_h[2]);
  });
}

}  // namespace twopass
