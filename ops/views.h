// Values as ops see them: shapes alone, elements to read, memory to fill.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include <twopass/core/tensor.h>

namespace twopass {

/// The shape and dtype of a value.
struct Spec {
  Shape shape;
  DType dtype;
};

/// The inputs of a call as a shape rule sees them: shapes (axes may be open) and dtypes.
class Specs {
 public:
  explicit Specs(std::span<const Tensor> inputs) : tensors_(inputs.data()), size_(inputs.size()) {}
  explicit Specs(std::span<const Spec> inputs) : specs_(inputs.data()), size_(inputs.size()) {}
  std::size_t size() const { return size_; }
  Spec operator[](std::size_t k) const { return {shape(k), dtype(k)}; }
  const Shape& shape(std::size_t k) const { return tensors_ ? tensors_[k].shape() : specs_[k].shape; }
  DType dtype(std::size_t k) const { return tensors_ ? tensors_[k].dtype() : specs_[k].dtype; }

 private:
  const Tensor* tensors_ = nullptr;
  const Spec* specs_ = nullptr;
  std::size_t size_;
};

/// The elements of one input, as forward reads them.
struct View {
  const std::byte* bytes;
  const Shape* of_shape;
  DType dtype;
  const Shape& shape() const { return *of_shape; }
  std::int64_t elements() const { return of_shape->elements(); }
  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes);
  }
};
using Inputs = std::span<const View>;

/// The memory that forward fills.
struct Output {
  std::byte* bytes;
  const Shape* of_shape;
  DType dtype;
  const Shape& shape() const { return *of_shape; }
  std::int64_t elements() const { return of_shape->elements(); }
  template <typename T>
  T* data() const {
    return reinterpret_cast<T*>(bytes);
  }
};

/// One input of an elementwise kernel: n consecutive elements, or one that serves them all.
struct Operand {
  const std::byte* bytes;
  bool splat;
  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes);
  }
};

}  // namespace twopass
