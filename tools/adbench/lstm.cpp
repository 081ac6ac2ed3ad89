#include "lstm.h"

#include <cmath>

#include "numbers.h"

using namespace twopass;

namespace adbench {
namespace {

// A gate's weights and biases, [1, b] each.
struct Gate {
  Tensor weights, biases;
  Tensor operator()(const Tensor& x) const { return x * weights + biases; }
};
struct Layer {
  Gate forget, ingate, outgate, change;
  Tensor hidden, cell;

  // What the layer above sees of x.
  Tensor step(const Tensor& x) {
    cell = cell * sigmoid(forget(x)) + sigmoid(ingate(hidden)) * tanh(change(hidden));
    hidden = sigmoid(outgate(x)) * tanh(cell);
    return hidden;
  }
};

Tensor row(const Tensor& x, std::int64_t k) { return slice(x, 0, k, k + 1); }

std::vector<Layer> layers_of(const Tensor& main, const Tensor& state) {
  const std::int64_t width = state.shape()[1];
  std::vector<Layer> layers;
  for (std::int64_t k = 0; k < state.shape()[0]; k += 2) {
    const Tensors weights = split(row(main, k), {width, width, width, width}, 1);
    const Tensors biases = split(row(main, k + 1), {width, width, width, width}, 1);
    const auto gate = [&](std::size_t which) { return Gate{weights[which], biases[which]}; };
    layers.push_back({gate(0), gate(1), gate(2), gate(3), row(state, k), row(state, k + 1)});
  }
  return layers;
}

Tensor loss(const Tensor& main, const Tensor& extra, const Tensor& state, const Tensor& sequence) {
  const std::int64_t characters = sequence.shape()[0], width = sequence.shape()[1];
  std::vector<Layer> layers = layers_of(main, state);
  const Tensor input_weights = row(extra, 0);
  Tensors tops;
  for (std::int64_t t = 0; t + 1 < characters; ++t) {
    // A product per character: the gradient of a row of one large product would be as large as the product.
    Tensor x = row(sequence, t) * input_weights;
    for (Layer& layer : layers) x = layer.step(x);
    tops.push_back(x);
  }
  const Tensor y = concat(tops) * row(extra, 1) + row(extra, 2);
  const Tensor z = logaddexp(logsumexp(y, -1, keep_axis), scalar_like(std::log(2.0), y));  // log(2 + Σ exp y)
  return sum(slice(sequence, 0, 1, characters) * (y - z)) / static_cast<double>((1 - characters) * width);
}

}  // namespace

Problem read_lstm(std::string_view text, std::string_view name) {
  Numbers numbers(text, name);
  const std::int64_t l = numbers.integer("l", 1), c = numbers.integer("c", 2), b = numbers.integer("b", 1);
  Tensors parameters{numbers.tensor({2 * l, 4 * b}, "main"), numbers.tensor({3, b}, "extra")};
  const Tensor state = numbers.tensor({2 * l, b}, "state"), sequence = numbers.tensor({c, b}, "sequence");
  numbers.end();
  return {{"main", "extra"}, std::move(parameters), [state, sequence](const Tensors& in) {
            return loss(in[0], in[1], state, sequence);
          }};
}

}  // namespace adbench
