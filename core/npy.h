// NumPy's .npy files (format: numpy.lib.format).
#pragma once
#include <string>
#include <string_view>

#include <twopass/core/tensor.h>

namespace twopass {

/// The array of a .npy file of version 1, 2 or 3: f4 and f8 as f32 and f64, i8 and i4 as i64, b1 as bool; big-endian
/// elements are swapped and Fortran order is transposed. Refuses everything else, pickles and structured types among
/// it, headers beyond 10,000 bytes, and a file with fewer or more bytes than its shape needs.
Tensor read_npy(std::string_view path);
/// The same from bytes; `name` stands in errors.
Tensor parse_npy(std::string_view bytes, std::string_view name);

/// Writes a tensor as .npy version 1.0, little-endian, C order; the file is replaced as a whole or not at all.
void write_npy(std::string_view path, const Tensor& x);
/// The bytes that `write_npy` writes.
std::string npy_bytes(const Tensor& x);

}  // namespace twopass
