// Where the values of a program lie: one arena, laid out by liveness. For the files of this folder.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/graph/plan/program.h>

namespace twopass::planning {

/// A stretch of memory that is needed from one moment to another, both included.
struct Interval {
  std::int64_t bytes;
  std::size_t from, to;
  std::int64_t offset = 0;
};
/// Gives each interval a place such that no two that live at a time overlap; returns the bytes that all need together.
std::int64_t place_intervals(std::vector<Interval>& intervals);
/// The most bytes that live at a time: less than this no placing can do with.
std::int64_t most_live_bytes(const std::vector<Interval>& intervals);

/// Where the value of a root lies.
struct Place {
  enum class Kind : std::uint8_t {
    outside,  // an input, parameter or constant, or memory that is given for an output or update
    arena,    // at `offset`
    tile,     // in the memory of a step's block, which the step lays out
    nowhere,  // not needed
  };
  Kind kind = Kind::nowhere;
  std::int64_t offset = 0;
};

struct Layout {
  std::vector<Place> places;  // by value; views have that of their root
  std::int64_t arena_bytes = 0;
  std::int64_t lower_bound = 0;
};

/// Outputs and updates lie outside where a call makes them and no other output is the same value. Without `share` every
/// other value has memory of its own in the arena.
Layout lay_out(const Program& program, bool share = true);

}  // namespace twopass::planning
