// Small models with data that they are trained on, for tests of training.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/shaping.h>

namespace twopass {

// y = w x with w = 0: the loss of a row is what its target says.
inline Model scale_model(double w = 0, const Optimizer& optimizer = sgd({.learning_rate = 0.1})) {
  Model model = Sequential({Dense(1, {.use_bias = false})}, {.input_shape = {1}});
  model.parameters()[0].set(tensor({{w}}));
  model.compile({.optimizer = optimizer, .loss = mean_absolute_error()});
  return model;
}

inline double weight_of(const Model& model) { return model.parameters()[0].value().at<float>(0); }

inline Model classifier(std::uint64_t seed = 0) {
  Model model = Sequential({Dense(8, {.activation = "tanh"}), Dropout(0.3), Dense(3, {.activation = "softmax"})},
                           {.input_shape = {2}, .seed = seed});
  model.compile(
      {.optimizer = adam({.learning_rate = 0.01}), .loss = sparse_categorical_crossentropy(), .metrics = {accuracy()}});
  return model;
}

// The column 0, 1, …, n - 1.
inline Tensor counting(std::int64_t n) { return reshape(arange(0, static_cast<double>(n)), {n, 1}); }

struct Points {
  Tensor x, labels;
};

// Three clusters that a line tells apart.
inline Points points(std::int64_t n) {
  std::vector<float> x;
  std::vector<std::int64_t> labels;
  for (std::int64_t k = 0; k < n; ++k) {
    const auto angle = static_cast<double>(k % 3) * 2.1 + 0.3 * std::sin(static_cast<double>(k));
    x.push_back(static_cast<float>(std::cos(angle)));
    x.push_back(static_cast<float>(std::sin(angle)));
    labels.push_back(k % 3);
  }
  return {from_values(x, {n, 2}, f32), from_values(labels, {n}, i64)};
}

inline std::vector<std::vector<float>> weights_of(const Model& model) {
  std::vector<std::vector<float>> weights;
  for (const Parameter& each : model.parameters()) weights.push_back(each.value().values<float>());
  return weights;
}

}  // namespace twopass
