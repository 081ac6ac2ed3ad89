// Inverses, equations, factors and determinants of the matrices in the last two axes. All compute in f64, whatever the
// dtype.
#pragma once
#include <twopass/core/tensor.h>

namespace twopass {

/// x with its last two axes exchanged.
Tensor matrix_transpose(const Tensor& x);
/// The inverse of [..., n, n]. Refuses a singular matrix, naming its place.
Tensor inverse(const Tensor& x);
/// The y of a y = b for a [..., n, n] and b [..., n, k], leading axes broadcast, or b [n]. Refuses a singular matrix.
Tensor solve(const Tensor& a, const Tensor& b);

enum class Triangle : bool { lower, upper };
struct TriangularSolveOptions {
  /// The triangle of a that counts; the other is not read.
  Triangle triangle = Triangle::lower;
  /// Whether aᵀ y = b is solved instead.
  bool transpose = false;
  /// Whether the diagonal counts as ones and is not read.
  bool unit_diagonal = false;
};
/// The y of a y = b for a triangular matrix. Refuses a 0 on the diagonal.
Tensor triangular_solve(const Tensor& a, const Tensor& b, const TriangularSolveOptions& options = {});

/// The lower triangular l with l lᵀ the symmetric part of x. Refuses a matrix that is not positive definite.
Tensor cholesky(const Tensor& x);
/// The determinants of [..., n, n]; the gradient, the cofactors, is right for singular matrices too.
Tensor det(const Tensor& x);

struct SignAndLog {
  Tensor sign, logabs;
};
/// The sign of the determinant and the logarithm of its size, where it would overflow itself: -inf of a singular one.
SignAndLog slogdet(const Tensor& x);

}  // namespace twopass
