#include "fit.h"

#include <twopass/twopass.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

using namespace twopass;

namespace {

constexpr std::int64_t kRows = 20'000, kBatch = 128, kSteps = (kRows + kBatch - 1) / kBatch;

double wall() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Milliseconds of each of the steps that `f` makes.
template <typename F>
double per_step(const F& f) {
  const double begin = wall();
  f();
  return (wall() - begin) * 1e3 / static_cast<double>(kSteps);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

void measure_fit(const std::string& name, double seconds) {
  if (name != "fit" && name != "fit:f64" && name != "fit:linear")
    throw Error("there is no " + name + ": there are fit, fit:f64 and fit:linear");
  const bool linear = name == "fit:linear";
  const std::int64_t width = linear ? 784 : 3072;
  Random random(1);
  const Tensor drawn = random.uniform({kRows, width}, f32);
  const Tensor pixels = name == "fit:f64" ? cast(drawn, f64) : drawn;
  std::vector<std::int64_t> classes;
  for (std::int64_t k = 0; k < kRows; ++k) classes.push_back((k * 7 + 3) % 10);
  const Tensor targets = one_hot(from_values(classes, {kRows}), 10);

  const Tensor image = input({width}, "image");
  Tensor x = image;
  if (!linear) x = Dense(15, {.activation = "relu"})(Dense(20, {.activation = "relu"})(x));
  Model model(image, Dense(10, {.activation = "softmax"})(x), {.seed = 7});
  model.compile({.optimizer = sgd(), .loss = categorical_crossentropy(), .metrics = {accuracy()}});
  const Tensors batch{slice(drawn, 0, 0, kBatch), slice(targets, 0, 0, kBatch), tensor(std::int64_t{0}),
                      tensor(0.01, f64), tensor(1.0, f64)};
  const Plan step = model.step_plan(batch[0], batch[1]);

  std::vector<double> fits, plans, ratios;
  const double begin = wall();
  while (wall() - begin < seconds || fits.size() < 4) {
    fits.push_back(per_step([&] { model.fit(pixels, targets, {.batch_size = kBatch, .verbose = 0}); }));
    plans.push_back(per_step([&] {
      for (std::int64_t k = 0; k < kSteps; ++k) step(batch);
    }));
    ratios.push_back(fits.back() / plans.back());
  }
  std::printf("twopass %s %d %.5f plan=%.5f ratio=%.3f n=%zu\n", name.c_str(), threads::count(), median(fits),
              median(plans), median(ratios), fits.size());
}
