// A training loop of your own: batches, dropout, clipped gradients, accumulation.
#include <fmt/core.h>
#include <twopass/twopass.h>

using namespace twopass;

int main() {
  auto digits = data::glyphs({.samples = 1280});
  Tensor inputs = digits.inputs, targets = one_hot(digits.labels, 10);
  Tensor image = input({784}, "image");
  Tensor hidden = Dropout(0.3)(Dense(64, {.activation = "relu"})(image));
  Model model(image, Dense(10, {.activation = "softmax"})(hidden), {.seed = 7});
  model.compile({.optimizer = adam(), .loss = categorical_crossentropy(), .metrics = {accuracy()}});
  const Optimizer& optimizer = model.optimizer();
  Parameters weights = model.parameters();

  // A call in training says where it draws from: the seed, and the number of the step. Without `.step` each call is
  // step 0, so that dropout drops the same elements in every step.
  Random random(7);
  std::int64_t step = 0;
  for (int epoch = 0; epoch < 5; ++epoch) {
    Tensor order = from_values(random.permutation(inputs.shape()[0]), {inputs.shape()[0]}, i64);
    for (std::int64_t first = 0; first < inputs.shape()[0]; first += 64, ++step) {
      Tensor rows = slice(order, 0, first, first + 64);
      CallContext context{.training = true, .seed = model.seed(), .step = tensor(step)};
      Tensor loss = model.loss(gather(inputs, rows), gather(targets, rows), context);
      Gradients found = backward(loss);
      Tensors gradients;
      for (const Parameter& weight : weights) gradients.push_back(found[weight]);
      optimizer.apply(clip_by_global_norm(gradients, 1.0), weights);
    }
    fmt::print("epoch {}: accuracy {:.3f}\n", epoch + 1, model.evaluate(inputs, targets)["accuracy"]);
  }

  // Equal steps draw equal numbers, other steps others.
  Tensor one_row = slice(inputs, 0, 0, 1), target = slice(targets, 0, 0, 1);
  const auto loss_at = [&](std::int64_t number) {
    return model.loss(one_row, target, {.training = true, .seed = model.seed(), .step = tensor(number)}).item<double>();
  };
  if (loss_at(1) != loss_at(1) || loss_at(1) == loss_at(2)) return 1;
  return model.evaluate(inputs, targets)["accuracy"] > 0.8 ? 0 : 1;
}
