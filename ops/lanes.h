// Elementwise arithmetic as a list of instructions: what an op does to each element, for plans that write machine code
// of their own. A line's value is one element (f32 or f64) of each position, or one for a whole row.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace twopass {

/// A value of the list, by number; undefined: none.
struct Lane {
  std::int32_t number = -1;
  bool defined() const { return number >= 0; }
};

class Lanes {
 public:
  /// Each rounds once, as IEEE 754 says.
  enum class Kind : std::uint8_t {
    input,
    constant,
    add,
    subtract,
    multiply,
    divide,
    square_root,
    negate,
    strong_multiply,  // a b, 0 where a is 0
    gate,             // a where b > 0, else 0
    relu,             // a where it is above 0 or NaN, else 0
    sum,              // of a over the row, in the order of the reductions' kernel
  };
  struct Line {
    Kind kind;
    Lane a = {}, b = {};
    double value = 0;  // of a constant
    bool row = false;  // one for a whole row
  };

  Lane input(bool row) { return line({Kind::input, {}, {}, 0, row}); }
  Lane constant(double value) { return line({Kind::constant, {}, {}, value, true}); }
  Lane add(Lane a, Lane b) { return binary(Kind::add, a, b); }
  Lane subtract(Lane a, Lane b) { return binary(Kind::subtract, a, b); }
  Lane multiply(Lane a, Lane b) { return binary(Kind::multiply, a, b); }
  Lane divide(Lane a, Lane b) { return binary(Kind::divide, a, b); }
  Lane square_root(Lane a) { return line({Kind::square_root, a, {}, 0, row(a)}); }
  Lane negate(Lane a) { return line({Kind::negate, a, {}, 0, row(a)}); }
  Lane strong_multiply(Lane a, Lane b) { return binary(Kind::strong_multiply, a, b); }
  Lane gate(Lane a, Lane b) { return binary(Kind::gate, a, b); }
  Lane relu(Lane a) { return line({Kind::relu, a, {}, 0, row(a)}); }
  Lane sum(Lane a) { return line({Kind::sum, a, {}, 0, true}); }

  const std::vector<Line>& lines() const { return lines_; }

 private:
  bool row(Lane a) const { return lines_[static_cast<std::size_t>(a.number)].row; }
  Lane binary(Kind kind, Lane a, Lane b) { return line({kind, a, b, 0, row(a) && row(b)}); }
  Lane line(const Line& line) {
    lines_.push_back(line);
    return {static_cast<std::int32_t>(lines_.size() - 1)};
  }
  std::vector<Line> lines_;
};

}  // namespace twopass
