// Gradients against numerical differentiation.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/ops/op.h>

namespace twopass {

struct GradcheckOptions {
  /// 1 checks gradients, 2 the gradients of gradients too.
  int order = 1;
  /// |analytic - numerical| may be absolute + relative · max(|analytic|, |numerical|).
  double absolute = 1e-7;
  double relative = 1e-5;
  /// Names of the inputs in the report.
  std::vector<std::string> names = {};
  std::uint64_t seed = 1;
};

/// What a check found, input by input.
class GradcheckReport {
 public:
  struct Line {
    std::string input;  // its name, or "input 0"
    int order = 1;
    std::vector<std::int64_t> worst;  // the index of the element that is furthest off
    double analytic = 0, numerical = 0, allowed = 0;
    bool ok = true;
    std::int64_t elements = 0;
  };
  /// Whether every element of every input is within bounds.
  bool ok() const;
  /// A line per input: its worst element, both numbers, and the verdict.
  std::string text() const;
  const std::vector<Line>& lines() const { return lines_; }
  void add(Line line) { lines_.push_back(std::move(line)); }

 private:
  std::vector<Line> lines_;
};

/// Checks the gradients of f for its floating inputs against central differences. An output of several elements is
/// weighted with fixed random numbers and summed. f64 inputs are wanted: f32 is too coarse to differentiate so.
GradcheckReport gradcheck(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs,
                          const GradcheckOptions& options = {});
/// The same for every sample of an op's record, to second order unless told.
GradcheckReport gradcheck(const Op& op, const GradcheckOptions& options = {.order = 2});

}  // namespace twopass
