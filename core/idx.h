// IDX files: the format of MNIST (LeCun, Cortes, Burges).
#pragma once
#include <string_view>

#include <twopass/core/tensor.h>

namespace twopass {

/// The images of an IDX file (magic 0x00000803) as f32 [n, rows * columns] in 0..1. Refuses other magics (saying so of
/// files that are still packed by gzip), sizes that don't agree with the file's, and files without images.
Tensor read_idx_images(std::string_view path);
/// The same from bytes; `name` stands in errors.
Tensor parse_idx_images(std::string_view bytes, std::string_view name);

/// The labels of an IDX file (magic 0x00000801) as i64 [n]. Refuses labels of `classes` and more, with their index.
Tensor read_idx_labels(std::string_view path, int classes = 10);
/// The same from bytes; `name` stands in errors.
Tensor parse_idx_labels(std::string_view bytes, std::string_view name, int classes = 10);

}  // namespace twopass
