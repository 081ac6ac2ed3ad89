// twopass plan, and the plan that twopass dot draws.
#pragma once
#include <twopass/twopass.h>

#include "recipes.h"

/// The plan of a training step of a model on its first rows of drawn digits.
twopass::Plan step_plan_of(const Recipe& recipe, std::int64_t batch_size, std::uint64_t seed);
/// Prints it, or, with `profile`, what its steps take.
void print_plan(const Recipe& recipe, std::int64_t batch_size, std::uint64_t seed, bool profile);
