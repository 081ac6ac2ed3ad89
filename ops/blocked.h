// Images whose channels lie in blocks, [n, c / block, h, w, block]: as kernels of convolutions like them, and as plans
// keep them between these. For the .cpp files of this folder and of graph/plan.
#pragma once
#include <cstdint>

#include <twopass/core/shape.h>

namespace twopass::blocked {

/// The shape in blocks of images [n, c, h, w], or theirs where the block is 0. Refuses channels that do not go into it.
Shape blocks(const Shape& planes, std::int64_t block);
/// The other way; refuses other shapes, calling them `name`.
Shape planes(const Shape& blocks, std::int64_t block, const char* name);

}  // namespace twopass::blocked
