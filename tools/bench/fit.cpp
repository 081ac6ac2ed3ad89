#include "fit.h"

#include <twopass/twopass.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

using namespace twopass;

namespace {

constexpr std::int64_t kRows = 20'000, kBatch = 128, kPrepared = 64;

double wall() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Milliseconds of each of the steps that `f` makes.
template <typename F>
double per_step(std::int64_t steps, const F& f) {
  const double begin = wall();
  f();
  return (wall() - begin) * 1e3 / static_cast<double>(steps);
}

// What is fitted: drawn rows in one epoch, or the lecture's whole run on CIFAR-10.
struct Run {
  Tensor pixels, targets;
  std::int64_t steps, validation_steps;
  FitOptions options;
};

Run drawn_rows(std::int64_t width, DType dtype) {
  Random random(1);
  std::vector<std::int64_t> classes;
  for (std::int64_t k = 0; k < kRows; ++k) classes.push_back((k * 7 + 3) % 10);
  return {cast(random.uniform({kRows, width}, f32), dtype),
          one_hot(from_values(classes, {kRows}), 10),
          (kRows + kBatch - 1) / kBatch,
          0,
          {.batch_size = kBatch, .verbose = 0}};
}

Run lecture() {
  constexpr std::int64_t kEpochs = 10;
  const auto train = data::cifar10().train;
  const std::int64_t rows = train.inputs.shape()[0], trained = rows * 4 / 5;
  return {train.inputs,
          one_hot(train.labels, 10),
          kEpochs * ((trained + kBatch - 1) / kBatch),
          kEpochs * ((rows - trained + kBatch - 1) / kBatch),
          {.epochs = kEpochs, .batch_size = kBatch, .validation_split = 0.2}};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

void measure_fit(const std::string& name, double seconds) {
  if (name != "fit" && name != "fit:f64" && name != "fit:linear" && name != "fit:lecture")
    throw Error("there is no " + name + ": there are fit, fit:f64, fit:linear and fit:lecture");
  const bool linear = name == "fit:linear";
  const std::int64_t width = linear ? 784 : 3072;
  const Run run = name == "fit:lecture" ? lecture() : drawn_rows(width, name == "fit:f64" ? f64 : f32);

  const Tensor image = input({width}, "image");
  Tensor x = image;
  if (!linear) x = Dense(15, {.activation = "relu"})(Dense(20, {.activation = "relu"})(x));
  Model model(image, Dense(10, {.activation = "softmax"})(x), {.seed = 7});
  model.compile({.optimizer = sgd(), .loss = categorical_crossentropy(), .metrics = {accuracy()}});
  const Tensors batch{cast(slice(run.pixels, 0, 0, kBatch), f32), slice(run.targets, 0, 0, kBatch),
                      tensor(std::int64_t{0}), tensor(0.01, f64), tensor(1.0, f64)};
  const Plan step = model.step_plan(batch[0], batch[1]), look = plan(model, {batch[0]});

  // More batches than caches hold, as fit's are; what fit does beside its steps is to prepare them, and to say how it
  // goes.
  std::vector<Tensors> prepared;
  for (std::int64_t k = 0; k < std::min(run.steps - 1, kPrepared); ++k) {
    prepared.push_back(batch);
    for (const std::size_t which : {0U, 1U})
      prepared.back()[which] =
          cast(slice(which ? run.targets : run.pixels, 0, k * kBatch, (k + 1) * kBatch), f32) + 0.0;
  }
  const auto at = [&](std::int64_t k) -> const Tensors& {
    return prepared[static_cast<std::size_t>(k) % prepared.size()];
  };
  std::vector<double> fits, plans, ratios, one, one_ratios;
  const double begin = wall();
  while (wall() - begin < seconds || fits.size() < 4) {
    fits.push_back(per_step(run.steps, [&] { model.fit(run.pixels, run.targets, run.options); }));
    plans.push_back(per_step(run.steps, [&] {
      for (std::int64_t k = 0; k < run.steps; ++k) step(at(k));
      for (std::int64_t k = 0; k < run.validation_steps; ++k) look({at(k)[0]});
    }));
    one.push_back(per_step(run.steps, [&] {
      for (std::int64_t k = 0; k < run.steps; ++k) step(batch);
      for (std::int64_t k = 0; k < run.validation_steps; ++k) look({batch[0]});
    }));
    ratios.push_back(fits.back() / plans.back());
    one_ratios.push_back(fits.back() / one.back());
  }
  std::printf("twopass %s %d %.5f plan=%.5f ratio=%.3f one_batch=%.5f ratio=%.3f n=%zu\n", name.c_str(),
              threads::count(), median(fits), median(plans), median(ratios), median(one), median(one_ratios),
              fits.size());
}
