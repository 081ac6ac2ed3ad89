// Derivatives by differences that choose their own step and say how far off they may be.
#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <vector>

namespace twopass {

/// What differences found of one component.
struct Slope {
  double value = 0;             // the derivative, by central differences and one Richardson step
  double error = 0;             // how far off it may be: what a smaller step changes, and rounding
  double below = 0, above = 0;  // the one-sided derivatives where there is a kink
  bool kink = false;
};

/// The derivative at 0 of a curve of several components. Steps are powers of two: first three around the one that
/// balances rounding and truncation, then, where `refine` is called, smaller and larger ones; each component takes the
/// step whose neighbours agree best (C. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", 1982).
class Differences {
 public:
  struct Point {
    double at;  // the t that the curve was really computed at, after rounding
    std::vector<double> values;
  };
  using Curve = std::function<Point(double t)>;

  /// `here` is the curve at 0; steps are multiples of `scale`; values have the relative rounding error `epsilon`.
  Differences(Curve curve, std::vector<double> here, double scale, double epsilon);
  Slope slope(std::size_t component) const;
  /// Tries one step more; false where there is none left to try.
  bool refine();
  /// Whether all small steps have been tried, so that what still looks like a kink is one.
  bool at_the_finest() const;

 private:
  struct Level {
    Point above, below;
  };
  void compute(int level);
  // Whether the function is not finite on one side of all steps but the last few.
  bool reaches_out() const;
  bool valid(const Level& level, std::size_t component) const;
  double central(const Level& level, std::size_t component) const;
  double rounding(const Level& level, std::size_t component) const;
  void find_kink(std::size_t component, Slope& slope) const;

  Curve curve_;
  std::vector<double> here_;
  double scale_, epsilon_;
  int finest_, coarsest_;
  int refined_ = 0;
  std::map<int, Level> levels_;  // the step of level k is scale · 2^-k
};

}  // namespace twopass
