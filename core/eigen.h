// Bridge to Eigen: the elements of a tensor as an Eigen map.
#pragma once
#include <Eigen/Core>

#include <twopass/core/error.h>
#include <twopass/core/tensor.h>

namespace twopass {

template <typename T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A read-only Eigen view [rows, columns] of a tensor of rank 2, or [n, 1] of one of rank 1; T must be its dtype.
template <typename T>
Eigen::Map<const RowMajor<T>> as_eigen(const Tensor& x) {
  if (x.rank() < 1 || x.rank() > 2)
    throw Error("as_eigen" + x.shape().text() + ": only tensors of one or two axes are matrices");
  return {x.data<T>(), x.shape()[0], x.rank() == 2 ? x.shape()[1] : 1};
}

/// A tensor [rows, columns] with the elements of an Eigen matrix or expression.
template <typename Derived>
Tensor from_eigen(const Eigen::MatrixBase<Derived>& matrix) {
  using T = typename Derived::Scalar;
  Tensor made = uninitialised({matrix.rows(), matrix.cols()}, dtype_of<T>());
  Eigen::Map<RowMajor<T>>(writable<T>(made), matrix.rows(), matrix.cols()) = matrix;
  return made;
}

}  // namespace twopass
