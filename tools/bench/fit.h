// What training costs beside its steps.
#pragma once
#include <string>

/// Trains by fit, in turns with the plan of its step alone on one batch, on 20,000 drawn rows in batches of 128, and
/// prints the medians of the milliseconds that a step takes: "fit" W1's network, "fit:f64" the same on data of f64,
/// "fit:linear" 784-10. "fit:lecture" is the whole run of the lecture on CIFAR-10: ten epochs with shuffling,
/// validation and progress bar; beside it run the plans of its training steps and of the model on its validation
/// batches.
void measure_fit(const std::string& name, double seconds);
