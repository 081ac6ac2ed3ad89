// Tensors from nothing.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// All elements `value`, 0 or 1.
Tensor full(const Shape& shape, double value, DType dtype = f32);
Tensor zeros(const Shape& shape, DType dtype = f32);
Tensor ones(const Shape& shape, DType dtype = f32);
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
/// start, start + step, … below stop (above, for a negative step). Refuses step 0.
Tensor arange(double start, double stop, double step = 1, DType dtype = f32);
/// The n × n identity matrix.
Tensor eye(std::int64_t n, DType dtype = f32);

}  // namespace twopass
