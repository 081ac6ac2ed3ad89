// How a record says what inputs its op is checked with.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <vector>

#include <twopass/core/random.h>
#include <twopass/core/tensor.h>

namespace twopass::sample {

/// One input of a sample: a shape, a dtype and how its elements are drawn.
struct Input {
  enum class Kind : std::uint8_t { uniform, distinct, away, integers, truths, fixed };
  Kind kind = Kind::uniform;
  Shape shape{};
  double low = -2;
  double high = 2;
  std::vector<double> poles{};
  Tensor value{};

  Input() = default;
  Input(Kind a_kind, Shape a_shape, double a_low, double a_high)
      : kind(a_kind), shape(std::move(a_shape)), low(a_low), high(a_high) {}
  /// The tensor itself.
  Input(Tensor fixed) : kind(Kind::fixed), value(std::move(fixed)) {}

  /// The tensor that is drawn; floating kinds have the asked dtype, integers are i64 and truths bool.
  Tensor draw(Random& random, DType dtype) const;
};

/// Uniform in [low, high).
Input uniform(Shape shape, double low = -2, double high = 2);
/// Uniform in [0.5, 2).
Input positive(Shape shape);
/// All elements at least 0.2 apart, in random order: away from ties.
Input distinct(Shape shape);
/// Uniform in [-2, 2) but at least 0.2 from every pole: away from kinks.
Input away_from(Shape shape, std::vector<double> poles);
/// i64 in low … high-1.
Input integers(Shape shape, std::int64_t low, std::int64_t high);
/// bool.
Input truths(Shape shape);

/// Known elements in an example: a list or nested lists of f64 numbers, or a tensor.
class Literal {
 public:
  Literal(std::initializer_list<double> list) : tensor_(twopass::tensor(list, f64)) {}
  Literal(std::initializer_list<std::initializer_list<double>> list) : tensor_(twopass::tensor(list, f64)) {}
  Literal(Tensor tensor) : tensor_(std::move(tensor)) {}
  Literal() = default;
  const Tensor& tensor() const { return tensor_; }

 private:
  Tensor tensor_;
};

}  // namespace twopass::sample
