// A function of tensors, traced once: a list of kernel calls over memory laid out in advance.
#include <fmt/core.h>
#include <twopass/twopass.h>

using namespace twopass;

int main() {
  Random random(5);
  Tensor x = random.normal({256, 8}), y = sum(x, -1, keep_axis) * 0.5;
  Parameter w(zeros({8, 1}), "w");

  // Forward, loss, backward and update, written as for values. The plan reads w anew in each run and sets it at the
  // end.
  Plan step = plan(
      [&](const Tensors& in) -> Tensors {
        Tensor loss = mean(square(matmul(in[0], w) - in[1]));
        w.set(w - 0.1 * backward(loss)[w]);
        return {loss};
      },
      {x, y});
  fmt::print("{}", step.text());
  double loss = 0;
  for (int k = 0; k < 50; ++k) loss = step({x, y})[0].item<double>();
  fmt::print("loss {:.3g} after 50 steps, {} bytes of memory beside the results\n", loss, step.arena_bytes());

  // What a model's fit runs, to look at.
  Tensor image = input({784}, "image");
  Model model(image, Dense(10, {.activation = "softmax"})(Dense(32, {.activation = "relu"})(image)));
  model.compile({.optimizer = adam(), .loss = sparse_categorical_crossentropy()});
  Plan training = model.step_plan(zeros({128, 784}), zeros({128}, i64));
  for (const Plan::StepTime& each : training.profile(3)) fmt::print("{:8.3f} ms  {}\n", each.milliseconds, each.calls);
  render(to_dot(step), "plan.svg");
  return loss < 1e-3 ? 0 : 1;
}
