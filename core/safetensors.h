// Named tensors in the safetensors format (github.com/huggingface/safetensors): a JSON header, then the elements.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// What a safetensors file holds: tensors and texts by name.
struct Safetensors {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// Writes tensors (F32, F64, I64, BOOL) and texts; the old file stays until the new one is complete.
void write_safetensors(std::string_view path, const Safetensors& contents);

/// Reads a file that need not be trusted: refuses headers that are no JSON or larger than the file, unknown dtypes,
/// shapes that do not fit their bytes, and elements that overlap, leave holes or lie outside, naming the file and the
/// tensor.
Safetensors read_safetensors(std::string_view path);

}  // namespace twopass
