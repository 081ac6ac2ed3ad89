// A training step of your own as a plan: optimizer, schedule, clipping and dropout, traced once for all batches.
#include <fmt/core.h>
#include <twopass/twopass.h>

using namespace twopass;

int main() {
  auto digits = data::glyphs({.samples = 1280});
  Tensor inputs = digits.inputs, targets = one_hot(digits.labels, 10);
  Tensor image = input({784}, "image");
  Tensor hidden = Dropout(0.3)(Dense(64, {.activation = "relu"})(image));
  Model model(image, Dense(10)(hidden), {.seed = 7});
  Parameters weights = model.parameters();
  constexpr std::int64_t kRows = 64;

  // Updates are what apply does, as expressions: trace_update. What changes from run to run is an input of the plan:
  // the batch, the number of the step, which dropout draws from, and the rate and the number of the update, which are
  // f64.
  Schedule halving = exponential_decay({.initial = 0.01, .decay_steps = 40, .decay_rate = 0.5});
  Optimizer optimizer = adam({.learning_rate = halving});
  const auto step_of = [&](const Tensors& in) -> Tensors {
    Tensor logits = model(in[0], {.training = true, .seed = model.seed(), .step = in[2]});
    Tensor loss = mean(softmax_cross_entropy(logits, in[1]));
    Gradients found = backward(loss);
    Tensors gradients;
    for (const Parameter& weight : weights) gradients.push_back(found[weight]);
    optimizer.trace_update(clip_by_global_norm(gradients, 1.0), weights, in[3], in[4]);
    return {loss};
  };
  const auto inputs_of = [&](const Tensor& rows) -> Tensors {
    const std::int64_t done = optimizer.iterations();
    return {gather(inputs, rows), gather(targets, rows), tensor(done), tensor(optimizer.learning_rate(), f64),
            tensor(static_cast<double>(done + 1), f64)};
  };

  Plan step;  // empty until the first batch is there
  Random random(7);
  double loss = 0;
  for (int epoch = 0; epoch < 5; ++epoch) {
    Tensor order = from_values(random.permutation(1280), {1280}, i64);
    for (std::int64_t first = 0; first < 1280; first += kRows) {
      Tensors in = inputs_of(slice(order, 0, first, first + kRows));
      if (epoch == 0 && first == 0) step = plan(step_of, in);
      loss = step(in)[0].item<double>();
      optimizer.count_update();  // which moves learning_rate() along the schedule
    }
    fmt::print("epoch {}: loss {:.3f}, next rate {:.5f}\n", epoch + 1, loss, optimizer.learning_rate());
  }

  // Weights and slots are those of the model and the optimizer: both go on without the plan, too.
  Tensor right = equal(argmax(model.predict(inputs)), digits.labels);
  const double accuracy = mean(cast(right, f32)).item<double>();
  fmt::print("accuracy {:.3f} after {} updates\n", accuracy, optimizer.iterations());
  return accuracy > 0.8 && optimizer.iterations() == 100 && optimizer.learning_rate() < 0.0018 ? 0 : 1;
}
