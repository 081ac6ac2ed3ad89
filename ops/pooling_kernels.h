// What kernels of max-pooling share. For the .cpp files of this folder.
#pragma once
#include <twopass/ops/windows.h>

namespace twopass::pooling {

// `kept` where the best so far stays before a later value, else `taken`: a later element wins only if it is larger, or
// the first NaN. One condition at a time: so compilers make vectors of it.
template <typename T, typename Choice>
Choice stays(T best, T value, Choice kept, Choice taken) {
  const Choice ordered = value <= best ? kept : taken;
  return best != best ? kept : ordered;
}

// Windows of two by two side by side, with nothing around them: what nearly all networks have.
inline bool quarters(const windows::Pool& pool) {
  const auto half = [](const windows::Axis& axis) {
    return axis.window == 2 && axis.stride == 2 && axis.before == 0 && axis.input == 2 * axis.output;
  };
  return half(pool.rows) && half(pool.columns);
}

/// max_pool2d in quarters, its gradient, or that with a relu's in front of it.
enum class Quarters { largest, gradient, relu_gradient };
/// As a call on images in blocks.
std::optional<InBlocks> quarters_in_blocks(const Shape& x, Quarters what, const ChannelBlocks& wanted);
std::vector<const Op*> blocked_pooling_ops();

}  // namespace twopass::pooling
