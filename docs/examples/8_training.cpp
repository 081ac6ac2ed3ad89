// Training with parts of your own, watched by callbacks, and gone on with from a file.
#include <fmt/core.h>
#include <twopass/twopass.h>
#include <memory>

using namespace twopass;

// A state is a parameter that no optimizer changes: the layer sets it in training calls, and files keep it.
class Centred : public Layer {
 public:
  explicit Centred(double momentum) : momentum_(momentum) {}
  void build(const Shapes& inputs) override { centre_ = add_state("centre", {inputs[0].back()}, zeros_initializer()); }
  Tensors call(const Tensors& inputs, const CallContext& context) override {
    if (context.training) centre_.set(centre_ * momentum_ + mean(inputs[0], 0) * (1 - momentum_));
    return {inputs[0] - centre_};
  }
  // What the constructor was given, by name, so that load() can make the layer again.
  std::string type() const override { return "Centred"; }
  Attributes attributes() const override { return {{"momentum", momentum_}}; }

 private:
  double momentum_;
  Parameter centre_;
};

// A callback overrides what it wants to see: on_train_begin, on_batch_end, on_epoch_begin, …
class HalveTheRate : public Callback {
 public:
  void on_epoch_end(TrainingState& state, int epoch, Logs& logs) override {
    const Optimizer& optimizer = state.model.optimizer();
    if (epoch % 10 == 9) optimizer.set_learning_rate(optimizer.learning_rate() / 2);
    logs.emplace_back("learning_rate", optimizer.learning_rate());  // for the next callbacks and the history
  }
};

int main() {
  register_layer("Centred", [](const Attributes& with) {
    return std::make_shared<Centred>(attribute::as_double(attribute::named(with, "momentum"), "momentum"));
  });
  Tensor x = input({4}, "x");
  Model model(x, Dense(1)(Dense(16, {.activation = "tanh"})(layer<Centred>(0.9)(x))));

  // A loss is a function of targets and predictions that gives a number for each row; no error below a tenth counts.
  Loss tolerant = loss("tolerant", [](const Tensor& targets, const Tensor& predictions) {
    return mean(relu(abs(targets - predictions) - 0.1), -1);
  });
  model.compile({.optimizer = adam({.learning_rate = 0.01}), .loss = tolerant, .metrics = {mean_absolute_error()}});

  Random random(1);
  Tensor inputs = random.normal({512, 4}, f32, 3), targets = sin(sum(inputs, -1, keep_axis) * 0.5);
  History history = model.fit(inputs, targets,
                              {.epochs = 40,
                               .validation_split = 0.25,
                               .verbose = 0,
                               .callbacks = {std::make_shared<HalveTheRate>(), csv_logger("history.csv"),
                                             on_epoch_end([](int epoch, const Logs& logs) {
                                               if (epoch % 10 == 0)
                                                 fmt::print("{} {:.4f}\n", logs[0].first, logs[0].second);
                                             }),
                                             model_checkpoint({.path = "best.twopass", .save_best_only = true}),
                                             early_stopping({.patience = 5, .restore_best_weights = true})}});
  fmt::print("{}", history.text());

  // The optimizer's state is in the file. A loss of one's own is not: it is given again, with the loaded optimizer.
  model.save("tolerant.twopass");
  Model again = load("tolerant.twopass");
  again.compile({.optimizer = again.optimizer(), .loss = tolerant});
  again.fit(inputs, targets, {.epochs = 2, .verbose = 0});
  return model.optimizer().iterations() < again.optimizer().iterations() ? 0 : 1;
}
