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

/// Checks some ops, a model, or every op, and prints what was found; 1 where something is wrong.
int check_gradients(const CheckChoice& choice);
