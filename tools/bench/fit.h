// What training costs beside its steps.
#pragma once
#include <string>

/// Trains by fit, in turns with the plan of its step alone on one batch, on 20,000 drawn rows in batches of 128, and
/// prints the medians of the milliseconds that a step takes: "fit" W1's network, "fit:f64" the same on data of f64,
/// "fit:linear" 784-10.
void measure_fit(const std::string& name, double seconds);
