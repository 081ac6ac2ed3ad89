#include <twopass/ops/matrix_kernels.h>

#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <Eigen/SVD>

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace twopass::matrices {
namespace {

std::string which(std::int64_t k, std::int64_t of) { return of == 1 ? "the matrix" : fmt::format("matrix {}", k); }

Eigen::PartialPivLU<Matrix> regular(const Matrix& a, std::int64_t k, std::int64_t of) {
  Eigen::PartialPivLU<Matrix> lu(a);
  if ((lu.matrixLU().diagonal().array() == 0).any()) throw Error(which(k, of) + " is singular");
  return lu;
}

}  // namespace

std::int64_t count(const Shape& shape) {
  std::int64_t matrices = 1;
  for (int axis = 0; axis + 2 < shape.rank(); ++axis) matrices *= shape[axis];
  return matrices;
}

Matrix take(const View& x, std::int64_t k) {
  const std::int64_t rows = x.shape()[-2], columns = x.shape()[-1];
  Matrix matrix(rows, columns);
  dispatch_floating(x.dtype, [&]<typename T>() {
    const T* from = x.data<T>() + k * rows * columns;
    for (std::int64_t i = 0; i < rows * columns; ++i) matrix.data()[i] = static_cast<double>(from[i]);
  });
  return matrix;
}

void put(const Output& out, std::int64_t k, const Matrix& matrix) {
  dispatch_floating(out.dtype, [&]<typename T>() {
    T* to = out.data<T>() + k * matrix.size();
    for (std::int64_t i = 0; i < matrix.size(); ++i) to[i] = static_cast<T>(matrix.data()[i]);
  });
}

void put(const Output& out, std::int64_t k, double value) {
  dispatch_floating(out.dtype, [&]<typename T>() { out.data<T>()[k] = static_cast<T>(value); });
}

void check_square(const Specs& in, std::size_t k) {
  if (!is_floating(in.dtype(k))) throw Error(fmt::format("only f32 and f64 have this, not {}", name_of(in.dtype(k))));
  const Shape& shape = in.shape(k);
  if (shape.rank() < 2) throw Error(fmt::format("a matrix has two axes, not the shape {}", shape.text()));
  if (shape[-2] != shape[-1])
    throw Error(fmt::format("the matrix is not square: {} rows but {} columns", shape[-2], shape[-1]));
}

Matrix inverse(const Matrix& a, std::int64_t k, std::int64_t of) {
  return a.size() == 0 ? a : Matrix(regular(a, k, of).inverse());
}

Matrix solve(const Matrix& a, const Matrix& b, std::int64_t k, std::int64_t of) {
  return a.size() == 0 ? b : Matrix(regular(a, k, of).solve(b));
}

Matrix cholesky(const Matrix& a, std::int64_t k, std::int64_t of) {
  if (a.size() == 0) return a;
  const Eigen::LLT<Matrix> llt(0.5 * (a + a.transpose()));
  if (llt.info() != Eigen::Success) throw Error(which(k, of) + " is not positive definite");
  return llt.matrixL();
}

Matrix triangular_solve(const Matrix& a, const Matrix& b, bool upper, bool unit, std::int64_t k, std::int64_t of) {
  if (!unit)
    for (Eigen::Index i = 0; i < a.rows(); ++i)
      if (a(i, i) == 0) throw Error(fmt::format("{} is singular: element {} of its diagonal is 0", which(k, of), i));
  if (upper)
    return unit ? Matrix(a.triangularView<Eigen::UnitUpper>().solve(b))
                : Matrix(a.triangularView<Eigen::Upper>().solve(b));
  return unit ? Matrix(a.triangularView<Eigen::UnitLower>().solve(b))
              : Matrix(a.triangularView<Eigen::Lower>().solve(b));
}

Determinant determinant(const Matrix& a) {
  Determinant result;
  if (a.size() == 0) return result;
  const Eigen::PartialPivLU<Matrix> lu(a);
  result.sign = static_cast<double>(lu.permutationP().determinant());
  result.value = result.sign;
  for (const double pivot : lu.matrixLU().diagonal()) {
    result.sign *= pivot > 0 ? 1 : pivot < 0 ? -1 : pivot;  // 0 and NaN as they are
    result.logabs += std::log(std::abs(pivot));
    result.value *= pivot;
  }
  return result;
}

// a = u s vᵀ has the cofactors det u det v u (cofactors of s) vᵀ, and those of s are products of the other elements.
Matrix cofactors(const Matrix& a) {
  const Eigen::Index n = a.rows();
  if (n == 0) return a;
  if (!a.allFinite()) return Matrix::Constant(n, n, std::nan(""));
  const Eigen::JacobiSVD<Matrix> svd(a, Eigen::ComputeFullU | Eigen::ComputeFullV);
  Eigen::VectorXd others = Eigen::VectorXd::Ones(n);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index j = 0; j < n; ++j)
      if (i != j) others[i] *= svd.singularValues()[j];
  const double sign = std::round(svd.matrixU().determinant() * svd.matrixV().determinant());
  return sign * svd.matrixU() * others.asDiagonal() * svd.matrixV().transpose();
}

}  // namespace twopass::matrices
