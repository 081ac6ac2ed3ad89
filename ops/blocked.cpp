#include <twopass/ops/blocked.h>

#include <fmt/format.h>

#include <twopass/core/error.h>

namespace twopass::blocked {

Shape blocks(const Shape& planes, std::int64_t block) {
  if (block == 0) return planes;
  if (block < 0 || planes[1] % block != 0)
    throw Error(fmt::format("{} channels do not go into blocks of {}", planes[1], block));
  return {planes[0], planes[1] / block, planes[2], planes[3], block};
}

Shape planes(const Shape& blocks, std::int64_t block, const char* name) {
  if (block == 0) {
    if (blocks.rank() != 4) throw Error(fmt::format("{} must have four axes, not {}", name, blocks.rank()));
    return blocks;
  }
  if (blocks.rank() != 5 || blocks[4] != block)
    throw Error(fmt::format("{} must have five axes, the last of {}, not {}", name, block, blocks.text()));
  return {blocks[0], blocks[1] * block, blocks[2], blocks[3]};
}

}  // namespace twopass::blocked
