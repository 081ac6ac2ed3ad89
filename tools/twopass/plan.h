// twopass plan, and the plan that twopass dot draws.
#pragma once
#include <twopass/twopass.h>

#include <string>
#include <vector>

#include "subject.h"

struct PlanChoice {
  /// 0: the model's own.
  std::int64_t batch_size = 0;
  bool bf16 = false;
  /// Passes to leave out.
  std::vector<std::string> without = {};
  /// What is printed instead of the plan: what its steps take, or how it was after each pass.
  bool profile = false, stages = false;
};

/// The plan of a training step of a model.
twopass::Plan step_plan_of(const SubjectChoice& of, const PlanChoice& choice);
/// Prints what was chosen of it.
void print_plan(const SubjectChoice& of, const PlanChoice& choice);
/// "constants (calls on constants alone are done once, now)", a line each.
std::string passes_text();
