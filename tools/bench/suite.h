// The ADBench suite's objectives as workloads.
#pragma once
#include <string>

#include "workloads.h"

/// An objective and its gradient in f64 at parameters drawn from a seed: "GMM" of 10 axes, 25 components and 1000
/// points, "LSTM" of 2 layers, so many characters (the suite has 1024, among others) and 14 bits.
Workload suite_workload(const std::string& name, std::int64_t characters = 1024);
