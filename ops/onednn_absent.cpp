// In place of the other onednn files where the build has no oneDNN.
#include <twopass/ops/onednn.h>

namespace twopass::onednn {

std::string description() { return {}; }
bool has_bf16() { return false; }
bool multiply(const Product&, const float*, const float*, float*) { return false; }
bool multiply(const Product&, const std::uint16_t*, const std::uint16_t*, float*) { return false; }
std::optional<std::int64_t> scratch_bytes(const Product&, bool) { return std::nullopt; }
bool forward(const convolution::Sizes&, bool, const float*, const float*, const convolution::Ending<float>&, float*) {
  return false;
}
bool input_gradient(const convolution::Sizes&, bool, const float*, const float*, float*) { return false; }
bool kernel_gradient(const convolution::Sizes&, bool, const float*, const float*, float*) { return false; }
convolution::Sizes in_liked_blocks(convolution::Product, const convolution::Sizes& sizes, bool) { return sizes; }

std::optional<std::int64_t> scratch_bytes(convolution::Product, const convolution::Sizes&, bool) {
  return std::nullopt;
}

}  // namespace twopass::onednn
