// How far windows reach and what is put around what they see: of sequences, images and volumes.
#pragma once
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace twopass {

/// Rows and columns of a window, a step or a spacing; one number stands for both.
struct Extent {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  Extent(std::int64_t both) : rows(both), columns(both) {}
  Extent(std::int64_t a_rows, std::int64_t a_columns) : rows(a_rows), columns(a_columns) {}
  std::vector<std::int64_t> list() const { return {rows, columns}; }
};

/// What is put around an image: "valid": nothing; "same": what gives ceil(size / stride), the odd one after, as in
/// TensorFlow; or a number of rows and columns. Zeros for convolution, nothing that could win for max-pooling.
class Padding {
 public:
  Padding() = default;
  Padding(const char* name) : Padding(std::string(name)) {}
  Padding(const std::string& name);
  /// A template, as 0 would be a pointer to a name, too.
  template <typename Integer>
  requires std::is_integral_v<Integer> Padding(Integer all) : widths_(4, static_cast<std::int64_t>(all)) {}
  Padding(std::int64_t top, std::int64_t bottom, std::int64_t left, std::int64_t right)
      : widths_{top, bottom, left, right} {}

  bool same() const { return same_; }
  const std::vector<std::int64_t>& widths() const { return widths_; }

 private:
  bool same_ = false;
  std::vector<std::int64_t> widths_ = {0, 0, 0, 0};
};

/// What is put around a sequence: as Padding, or "causal": so much before that no output sees what comes after it.
class Padding1d {
 public:
  Padding1d() = default;
  Padding1d(const char* name) : Padding1d(std::string(name)) {}
  Padding1d(const std::string& name);
  template <typename Integer>
  requires std::is_integral_v<Integer> Padding1d(Integer both)
      : before_(static_cast<std::int64_t>(both)), after_(before_) {}
  Padding1d(std::int64_t before, std::int64_t after) : before_(before), after_(after) {}

  bool causal() const { return causal_; }
  bool same() const { return same_; }
  std::int64_t before() const { return before_; }
  std::int64_t after() const { return after_; }
  /// That of an image of one row for a window that reaches over so many steps.
  Padding of_row(std::int64_t reach) const;

 private:
  bool same_ = false, causal_ = false;
  std::int64_t before_ = 0, after_ = 0;
};

/// Depth, rows and columns; one number stands for all.
struct Extent3d {
  std::int64_t depth = 1;
  Extent plane = 1;
  Extent3d(std::int64_t all) : depth(all), plane(all) {}
  Extent3d(std::int64_t a_depth, std::int64_t rows, std::int64_t columns) : depth(a_depth), plane(rows, columns) {}
  std::vector<std::int64_t> list() const { return {depth, plane.rows, plane.columns}; }
};
/// What is put around a volume: that of its planes, and so many in front and behind.
class Padding3d {
 public:
  Padding3d() = default;
  Padding3d(const char* name) : plane_(name) {}
  Padding3d(const std::string& name) : plane_(name) {}
  template <typename Integer>
  requires std::is_integral_v<Integer> Padding3d(Integer all)
      : plane_(all), front_(static_cast<std::int64_t>(all)), back_(front_) {}
  Padding3d(std::int64_t front, std::int64_t back, const Padding& plane) : plane_(plane), front_(front), back_(back) {}

  bool same() const { return plane_.same(); }
  const Padding& plane() const { return plane_; }
  std::int64_t front() const { return front_; }
  std::int64_t back() const { return back_; }
  /// In front and behind, then those of planes.
  std::vector<std::int64_t> widths() const;

 private:
  Padding plane_ = {};
  std::int64_t front_ = 0, back_ = 0;
};

}  // namespace twopass
