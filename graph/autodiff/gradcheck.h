// Gradients against differences, against each other, and op by op where they are wrong.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/report.h>
#include <twopass/ops/op.h>

namespace twopass {

struct GradcheckOptions {
  /// 1 checks gradients, 2 the gradients of gradients too, and so on up to 8.
  int order = 1;
  /// |analytic - numerical| may be absolute · s + relative · max(|analytic|, |numerical|), and what the differences say
  /// of their own error; s is the size of the output's values and derivatives and of the terms that they are made of,
  /// at most 1.
  double absolute = 1e-10;
  double relative = 1e-8;
  /// An input or output of more elements is checked at an eighth as many of them, drawn at random, and in directions.
  /// 0: the whole Jacobian where that takes about a second at most, else 256, or as many as take about ten.
  std::int64_t elements = 0;
  /// Random directions through all inputs at once, beside that of ones.
  int directions = 2;
  /// Checks without differences too: the transposed product, linearity, and from order 2 symmetric second derivatives.
  bool exact = true;
  /// How often each sample of an op is drawn.
  int draws = 3;
  /// Where a pair fails, checks every recorded op alone and names those that are wrong. Verdicts are the same without.
  bool blame = true;
  /// Names of the inputs and outputs in the report.
  std::vector<std::string> names = {};
  std::vector<std::string> outputs = {};
  /// Layers, by path, whose branches that are never taken are no news, as they are checked elsewhere.
  std::vector<std::string> known = {};
  /// What subsets, directions and weights are drawn from.
  std::uint64_t seed = 1;
};

/// Checks the whole Jacobian of f, element by element, for its floating inputs; a part of it, drawn at random, where it
/// is large. f32 inputs are widened to f64 where f can take that, else bounds are those of f32. Where f gives other
/// numbers at each call, or nothing finite, the report says so and nothing is called wrong. Refuses a null f, orders
/// outside 1 … 8 and negative tolerances and counts.
GradcheckReport gradcheck(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs,
                          const GradcheckOptions& options = {});
/// The same for functions of several outputs.
GradcheckReport gradcheck(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs,
                          const GradcheckOptions& options = {});
/// The same for every sample of an op's record, to second order unless told.
GradcheckReport gradcheck(const Op& op, const GradcheckOptions& options = {.order = 2});
/// The same for the op of this name. Refuses a name that no op has.
GradcheckReport gradcheck(const std::string& op, const GradcheckOptions& options = {.order = 2});

}  // namespace twopass
