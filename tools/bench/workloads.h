// The workloads that are measured beside other libraries: one step each, as a function that can be planned.
#pragma once
#include <twopass/twopass.h>

#include <cstdint>
#include <string>

/// One step: tensors to tensors; it reads its parameters and sets their new values.
struct Workload {
  twopass::Tensors inputs;
  twopass::PlanFunction step;
  /// Whether a step makes a graph of its own shape each time, so that it is always run eagerly.
  bool eager_only = false;
  /// What the time of a step is divided by for a figure of its own, and its name; 0 for none.
  double parts = 0;
  std::string part = {};
};

/// A whole number of 1 or more; refuses other words, saying what they were to be.
std::int64_t whole_number(const std::string& word, const std::string& what);

/// W1 … W10; jacobian, jacobian:rows; GMM, LSTM (see suite.h); depth:N (W4 of N blocks), batch:N (W4 of 10 blocks, N
/// rows), nodes:N (W9 of N nodes), LSTM:N (of N characters). Refuses other names.
Workload workload_named(const std::string& name);
