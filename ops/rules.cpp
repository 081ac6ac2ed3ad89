#include <twopass/ops/rules.h>

#include <fmt/format.h>

namespace twopass::rules {

void refuse_dtype(DType found, const char* wanted) {
  throw Error(fmt::format("only {} have this, not {}", wanted, name_of(found)));
}

Spec pair(const Specs& in) {
  if (in.dtype(0) != in.dtype(1))
    throw Error(fmt::format("the first is {} but the second is {}: cast one of them", name_of(in.dtype(0)),
                            name_of(in.dtype(1))));
  if (in.shape(0) == in.shape(1)) return in[0];
  return {broadcast(in.shape(0), in.shape(1)), in.dtype(0)};
}

std::int64_t known_size(const Shape& shape, int axis) {
  const std::int64_t size = shape[axis];
  if (size == kOpen) throw Error(fmt::format("axis {} is open: its size is not known yet", axis));
  return size;
}

}  // namespace twopass::rules
