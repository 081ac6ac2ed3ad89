// The sizes of a tensor's axes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <twopass/core/shared_count.h>

namespace twopass {

/// Most axes that a tensor may have.
inline constexpr int kMaxRank = 16;

/// The size of an axis that is open until data come: the batch of an `input()`. Only symbols have open axes.
inline constexpr std::int64_t kOpen = -1;

/// The sizes of the axes, outermost first; `Shape()` is that of a scalar. Immutable and shared: a copy costs a count.
class Shape {
 public:
  Shape() = default;
  /// From any list of integers. Refuses sizes below kOpen, more than kMaxRank axes, and 2^60 elements or more.
  Shape(std::initializer_list<std::int64_t> sizes) : Shape(sizes.begin(), sizes.size()) {}
  template <typename Container>
  requires(std::is_integral_v<typename Container::value_type> && !std::is_same_v<Container, Shape>)
      Shape(const Container& sizes)
      : Shape(signed_sizes(std::vector<typename Container::value_type>(std::begin(sizes), std::end(sizes)))) {}
  Shape(const std::vector<std::int64_t>& sizes) : Shape(sizes.data(), sizes.size()) {}
  Shape(const std::int64_t* sizes, std::size_t rank);

  Shape(const Shape& other) noexcept : body_(other.body_) {
    if (body_) body_->references.add(1);
  }
  Shape(Shape&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
  Shape& operator=(Shape other) noexcept {
    std::swap(body_, other.body_);
    return *this;
  }
  ~Shape() {
    if (body_ && body_->references.remove(1) == 0) release(body_);
  }

  int rank() const { return body_ ? body_->rank : 0; }
  bool empty() const { return rank() == 0; }
  /// The size of an axis; negative axes count from the end. Refuses an axis that is not there.
  std::int64_t operator[](int axis) const;
  std::int64_t back() const { return (*this)[-1]; }
  const std::int64_t* begin() const { return body_ ? body_->sizes : nullptr; }
  const std::int64_t* end() const { return begin() + rank(); }
  std::vector<std::int64_t> sizes() const { return {begin(), end()}; }

  /// The number of elements: 1 for a scalar. Refuses open axes by saying so.
  std::int64_t elements() const {
    if (body_ && body_->elements < 0) refuse_open();
    return body_ ? body_->elements : 1;
  }
  /// Whether an axis is open.
  bool open() const { return body_ && body_->elements < 0; }

  /// `axis` counted from the front. Refuses an axis that is not there: "axis 3 is out of range for rank 2".
  int axis(std::int64_t axis) const;

  /// A copy with one axis changed, removed or put in before `axis`.
  Shape with(int axis, std::int64_t size) const;
  Shape without(int axis) const;
  Shape inserted(int axis, std::int64_t size) const;

  /// "(2, 3)", "()", "(4,)", with open axes as None.
  std::string text() const;
  /// The index of element number `place` in row-major order.
  std::vector<std::int64_t> index_of(std::int64_t place) const;
  /// The same as text: "3", or "(1, 3)" for several axes.
  std::string index_text(std::int64_t place) const;

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.body_ == b.body_) return true;
    return a.equals(b);
  }

 private:
  struct Body {
    SharedCount<std::int32_t> references;
    std::int32_t rank;
    std::int64_t elements;  // kOpen where an axis is open
    std::int64_t sizes[1];  // as many as rank
  };
  // Sizes beyond 63 bits are refused as such, not taken for open ones.
  template <typename T>
  static std::vector<std::int64_t> signed_sizes(const std::vector<T>& sizes) {
    for (const T size : sizes)
      if (!std::in_range<std::int64_t>(size)) refuse_size();
    return {sizes.begin(), sizes.end()};
  }
  [[noreturn]] static void refuse_size();
  static void release(Body* body) noexcept;
  [[noreturn]] void refuse_open() const;
  bool equals(const Shape& other) const;

  Body* body_ = nullptr;
};

using Shapes = std::vector<Shape>;

/// The shape that both broadcast to by NumPy's rule; an open axis goes with 1, with itself and with any size (and takes
/// it). Refuses others: "shapes (3,) and (4,) do not broadcast".
Shape broadcast(const Shape& a, const Shape& b);

/// a * b; refuses what 63 bits can't hold.
std::int64_t checked_product(std::int64_t a, std::int64_t b);

}  // namespace twopass
