// Derivatives by differences that choose their own step and say how far off they may be.
#pragma once
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <vector>

namespace twopass {

/// What differences found of one component.
struct Slope {
  double value = 0;             // the derivative, by central differences and one Richardson step
  double error = 0;             // how far off it may be: what another step changes, rounding, what smaller steps say
  int level = 0;                // of the smallest step that it was found with
  double central = 0;           // the central difference over that step alone
  double reach = 0;             // that step
  double rounding = 0;          // what roundings do to that difference
  double below = 0, above = 0;  // the one-sided derivatives where there is a kink
  bool kink = false;
  bool silent = false;        // the smallest steps change nothing at all
  bool disputed = false;      // larger steps agree on something else: values rounded to stairs, or a kink near by
  bool stairs = false;        // and the smallest may see one tread of stairs
  bool contradicted = false;  // a smaller step sees something else
  bool unresolved = false;    // the smallest steps change about as much as any, or what steps that are long change is
                              // neither the slope nor rounding: what lies between them is not seen
};

/// The derivative at 0 of a curve of several components. Steps are powers of two: first three around the one that
/// balances rounding and truncation. `refine` adds others: neighbours, then pairs of ever smaller ones, which see what
/// the first have stepped over (a pole, a flat tail, waves), then all around the best of these, then all there are.
/// Each component takes the step whose neighbours agree best (C. Ridders, "Accurate computation of F'(x) and
/// F'(x) F''(x)", 1982) and that no smaller step contradicts by more than what is known of its noise.
class Differences {
 public:
  struct Point {
    double at;  // the t that the curve was really computed at, after rounding
    std::vector<double> values;
  };
  using Curve = std::function<Point(double t)>;
  /// The central difference of one component at one step.
  struct Central;
  /// What moves: one element of value x, or many, of which x is the largest; t moves none by more than `longest` t.
  struct Place {
    double x = 0;
    bool of_element = false;
    double longest = 1;
  };
  /// What roundings do to each component: with those of the inputs as they are moved, and those on the way alone.
  struct Noise {
    std::vector<double> all, inside;
  };

  /// `here` is the curve at 0; steps are multiples of 1, or of the power of two below a larger |x|; values have the
  /// relative rounding error `epsilon`, or the absolute one of `noise`, where that is larger.
  Differences(Curve curve, std::vector<double> here, Place place, double epsilon, const Noise& noise);
  Slope slope(std::size_t component) const;
  /// Whether two smaller steps in a row see `value`, but for rounding, and not what `slope` says, or the smallest may.
  bool sees_closer(std::size_t component, double value, const Slope& slope) const;
  /// A few steps of other sizes, down to those that rounding swallows: they tell whether there is more to see.
  void glance();
  /// Tries one or two steps more, with this component in mind; false where there is none left to try.
  bool refine(std::size_t component);
  /// Whether steps of all sizes were looked at, down to those that rounding swallows.
  bool has_looked_everywhere() const { return phase_ >= Phase::around; }
  /// Whether the neighbours of the best of these were too.
  bool has_looked_closely() const { return phase_ >= Phase::rest; }
  bool has_tried_all() const { return phase_ == Phase::done; }
  /// The largest finite value at 0 and at the first steps, for a change of x by its own size or by 1.
  double size(std::size_t component) const;
  /// The smallest step that was tried.
  double smallest() const { return levels_.rbegin()->second.above.at; }
  /// What the steps are multiples of.
  double scale() const { return scale_; }

 private:
  struct Level {
    Point above, below;
  };
  enum class Phase { near, everywhere, around, rest, done };
  void compute(int level);
  void plan_next(std::size_t component);
  double silent(std::size_t component) const;
  double change(std::size_t component, const Level& level) const;
  void find_unresolved(std::size_t component, Slope& slope) const;
  void find_waves(std::size_t component, Slope& slope) const;
  double quantum(std::size_t component) const;
  std::vector<Central> centrals(std::size_t component) const;
  void find_kink(std::size_t component, Slope& slope) const;

  Curve curve_;
  std::vector<double> here_;
  const Noise& noise_;
  bool of_element_;
  double size_of_x_, longest_, scale_ = 1, epsilon_;
  int middle_, finest_, deepest_;
  Phase phase_ = Phase::near;
  std::deque<int> next_;
  std::map<int, Level> levels_;  // the step of level k is scale · 2^-k
};

}  // namespace twopass
