// What linear algebra needs of Eigen, compiled once. For the .cpp files of this folder.
#pragma once
#include <Eigen/Core>

#include <cstdint>

#include <twopass/ops/record.h>

namespace twopass::matrices {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// How many matrices the last two axes of a shape make.
std::int64_t count(const Shape& shape);
/// Matrix number k, in f64.
Matrix take(const View& x, std::int64_t k);
/// Writes matrix number k; its size is that of the output's last two axes.
void put(const Output& out, std::int64_t k, const Matrix& matrix);
/// Writes element number k.
void put(const Output& out, std::int64_t k, double value);

/// Refuses shapes that are not [..., n, n] and dtypes without fractions.
void check_square(const Specs& in, std::size_t k);

/// These throw Error with the reason and the matrix's number among `of` where there are several.
Matrix inverse(const Matrix& a, std::int64_t k, std::int64_t of);
Matrix solve(const Matrix& a, const Matrix& b, std::int64_t k, std::int64_t of);
Matrix cholesky(const Matrix& a, std::int64_t k, std::int64_t of);
Matrix triangular_solve(const Matrix& a, const Matrix& b, bool upper, bool unit, std::int64_t k, std::int64_t of);

struct Determinant {
  double sign = 1;
  double logabs = 0;
  double value = 1;
};
Determinant determinant(const Matrix& a);
/// The matrix of cofactors, det(a) a⁻ᵀ where a has an inverse.
Matrix cofactors(const Matrix& a);

}  // namespace twopass::matrices
