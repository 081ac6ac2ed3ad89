// What functions of users' own share. For the files of this folder.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>

namespace twopass {

bool any(const Tensors& tensors, bool (Tensor::*is)() const);

/// Several tensors as one, since a node has one value: their elements one after another, or, where the batch is open,
/// row by row.
class Bundle {
 public:
  explicit Bundle(const Tensors& like);
  Tensor packed(const Tensors& parts) const;
  /// Tangents of the outputs; those that are undefined are zero.
  Tensor packed_tangents(Tensors tangents, const Tensors& outputs) const;
  Tensors parts(const Tensor& packed) const;

 private:
  static std::int64_t width(const Shape& shape) { return shape.with(0, 1).elements(); }

  Shapes shapes_;
  bool by_rows_ = false;
};

}  // namespace twopass
