// twopass gradcheck.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

struct CheckChoice {
  std::vector<std::string> ops;
  std::string model, loss, picture;
  int order = 0;  // 0: 2 for ops, 1 for models
  std::int64_t elements = 0;
  std::uint64_t seed = 1;
  bool json = false, full = false, coverage = false;
};

/// Checks some ops, a model, or every op, and prints what was found. 0 where all passed, 1 where something is wrong, 3
/// where nothing is, but not all could be told: unreliable, vacuous throughout or (of a model) anywhere, not checked.
int check_gradients(const CheckChoice& choice);
