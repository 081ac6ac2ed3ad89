// What a record says of a derivative beside the point. For the files of this folder.
#pragma once
#include <functional>
#include <optional>

namespace twopass {

/// The recorded derivative along a line, over [-reach, reach].
struct Nearby {
  double mean, least, most;
  double error;   // how far off the mean may be for what changes between the points that it was taken from
  double beside;  // by how much the derivative at 0 differs from those next to it, on the side where that is less
  double around;  // the most that it changes there from point to point
};

/// `derivative` at t, NaN where there is none; none at all where one of them is not finite.
std::optional<Nearby> look_nearby(const std::function<double(double t)>& derivative, double here, double reach);

/// Whether what a central difference over [-reach, reach] sees is the mean of what the record says in there, to
/// `tolerance`, and `here` is part of that: a kink or a bend within the step, where the record is right all along.
bool explains(const Nearby& nearby, double central, double tolerance);

}  // namespace twopass
