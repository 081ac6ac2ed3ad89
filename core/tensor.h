// Tensors: immutable values that remember how they were made.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <twopass/core/dtype.h>
#include <twopass/core/node.h>
#include <twopass/core/shape.h>

namespace twopass {

/// An immutable, contiguous, row-major block of elements and the record of how it was made. One shared pointer: copying
/// is cheap and threads may share it. A symbol (from `input()`) has a shape and a record but no elements.
class Tensor {
 public:
  /// No tensor at all: `defined()` is false, and asking it for anything else is an Error.
  Tensor() = default;
  Tensor(const Tensor& other) noexcept : node_(other.node_) {
    if (node_) node_->take_handle();
  }
  Tensor(Tensor&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Tensor& operator=(Tensor other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~Tensor() {
    if (node_) node_->drop_handle();
  }
  /// The tensor of a node.
  explicit Tensor(Node* node) noexcept : node_(node) { node_->take_handle(); }

  bool defined() const { return node_ != nullptr; }
  const Shape& shape() const { return node().shape; }
  DType dtype() const { return node().dtype; }
  int rank() const { return shape().rank(); }
  std::int64_t elements() const { return shape().elements(); }
  /// Whether derivatives pass through this tensor.
  bool recorded() const { return node().is(Node::kRecorded); }
  /// Whether it has no elements yet.
  bool symbolic() const { return node().is(Node::kSymbol); }
  /// The name of a variable, parameter or input; empty for what was computed.
  std::string name() const;

  /// The elements. T is float, double, std::int64_t or bool and must be the tensor's dtype.
  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(checked_data(dtype_of<T>()));
  }
  /// The one element of a tensor that has one, converted to T; refuses tensors of other sizes.
  template <typename T>
  T item() const {
    check_item();
    return at<T>(0);
  }
  /// The element at a flat, row-major index, converted to T.
  template <typename T>
  T at(std::int64_t index) const {
    check_index(index);
    return dispatch(dtype(), [&]<typename E>() { return static_cast<T>(data<E>()[index]); });
  }
  /// All elements in row-major order, converted to T.
  template <typename T>
  std::vector<T> values() const {
    std::vector<T> copy(static_cast<std::size_t>(elements()));
    dispatch(dtype(), [&]<typename E>() {
      const E* from = data<E>();
      for (std::size_t k = 0; k < copy.size(); ++k) copy[k] = static_cast<T>(from[k]);
    });
    return copy;
  }
  /// The elements in nested brackets with shortest round-trip digits; long axes are shortened with an ellipsis.
  std::string text() const;

  Node& node() const {
    if (!node_) refuse_undefined();
    return *node_;
  }

 private:
  [[noreturn]] static void refuse_undefined();
  const std::byte* checked_data(DType wanted) const;
  void check_item() const;
  void check_index(std::int64_t index) const;

  Node* node_ = nullptr;
};

using Tensors = std::vector<Tensor>;

/// A tensor of uninitialised elements that is written before anyone else sees it, through `writable`.
Tensor uninitialised(const Shape& shape, DType dtype);
/// The elements of a tensor that was just made by `uninitialised`.
template <typename T>
T* writable(const Tensor& fresh) {
  return const_cast<T*>(fresh.data<T>());
}

/// A leaf with the value of `value` (memory is shared) whose gradient is wanted. Refuses dtypes other than f32 and f64.
Tensor variable(const Tensor& value, const std::string& name = "");
/// A leaf without a value: shape may have open axes.
Tensor symbol(const Shape& shape, DType dtype, const std::string& name);
/// The same value without a record: nothing is kept alive, no derivative passes. Memory is shared.
Tensor detach(const Tensor& x);

/// Whether what this thread computes is recorded; `NoRecord` switches it off for a scope, `Record` on again.
bool recording();
class RecordingScope {
 public:
  explicit RecordingScope(bool on);
  ~RecordingScope();
  RecordingScope(const RecordingScope&) = delete;
  RecordingScope& operator=(const RecordingScope&) = delete;

 private:
  bool before_;
};
/// `no_record([&] { … })`: runs `f` without recording and returns what it returns. Nests, and ends with an exception
/// too.
template <typename F>
decltype(auto) no_record(F&& f) {
  const RecordingScope scope(false);
  return std::forward<F>(f)();
}

/// The dtype that literals of a C++ type make: f32 for floating literals, i64 for integers, bool for truth values.
template <typename T>
requires std::is_arithmetic_v<T>
constexpr DType literal_dtype() {
  return std::is_same_v<T, bool> ? DType::boolean : std::is_floating_point_v<T> ? DType::f32 : DType::i64;
}

/// A tensor of the given elements, row-major, converted to `dtype`. Refuses a count that is not the shape's.
template <typename T>
requires std::is_arithmetic_v<T> Tensor from_values(const std::vector<T>& values, const Shape& shape,
                                                    DType dtype = literal_dtype<T>());

namespace literal {
void check_count(std::size_t count, const Shape& shape);
[[noreturn]] void refuse_ragged(std::size_t row, std::size_t expected, std::size_t found);

template <typename T>
void flatten(const T& value, std::vector<T>& values, std::vector<std::int64_t>&, std::size_t) {
  values.push_back(value);
}
template <typename List, typename T>
void flatten(std::initializer_list<List> list, std::vector<T>& values, std::vector<std::int64_t>& sizes,
             std::size_t depth) {
  if (sizes.size() == depth) sizes.push_back(static_cast<std::int64_t>(list.size()));
  if (static_cast<std::size_t>(sizes[depth]) != list.size())
    refuse_ragged(depth, static_cast<std::size_t>(sizes[depth]), list.size());
  for (const List& item : list) flatten(item, values, sizes, depth + 1);
}
template <typename T, typename List>
Tensor nested(std::initializer_list<List> list, DType dtype) {
  std::vector<T> values;
  std::vector<std::int64_t> sizes;
  sizes.reserve(kMaxRank);
  flatten(list, values, sizes, 0);
  return from_values(values, Shape(sizes), dtype);
}
}  // namespace literal

template <typename T>
requires std::is_arithmetic_v<T> Tensor from_values(const std::vector<T>& values, const Shape& shape, DType dtype) {
  literal::check_count(values.size(), shape);
  Tensor made = uninitialised(shape, dtype);
  dispatch(dtype, [&]<typename E>() {
    E* to = writable<E>(made);
    for (std::size_t k = 0; k < values.size(); ++k) to[k] = static_cast<E>(values[k]);
  });
  return made;
}

/// `tensor(2.0)`, `tensor({1.0, 2.0})`, `tensor({{1, 2}, {3, 4}}, f64)`: literals of up to four axes. Floating literals
/// are f32 unless told, integers i64, truth values bool. Refuses ragged rows.
template <typename T>
requires std::is_arithmetic_v<T> Tensor tensor(T value, DType dtype = literal_dtype<T>()) {
  return from_values(std::vector<T>{value}, Shape(), dtype);
}
template <typename T>
requires std::is_arithmetic_v<T> Tensor tensor(std::initializer_list<T> list, DType dtype = literal_dtype<T>()) {
  return literal::nested<T>(list, dtype);
}
template <typename T>
requires std::is_arithmetic_v<T> Tensor tensor(std::initializer_list<std::initializer_list<T>> list,
                                               DType dtype = literal_dtype<T>()) {
  return literal::nested<T>(list, dtype);
}
template <typename T>
requires std::is_arithmetic_v<T> Tensor
tensor(std::initializer_list<std::initializer_list<std::initializer_list<T>>> list, DType dtype = literal_dtype<T>()) {
  return literal::nested<T>(list, dtype);
}
template <typename T>
requires std::is_arithmetic_v<T> Tensor
tensor(std::initializer_list<std::initializer_list<std::initializer_list<std::initializer_list<T>>>> list,
       DType dtype = literal_dtype<T>()) {
  return literal::nested<T>(list, dtype);
}

}  // namespace twopass
