// Shape rules that several families share. For the .cpp files of this folder.
#pragma once
#include <string>

#include <twopass/ops/record.h>

namespace twopass::rules {

[[noreturn]] void refuse_dtype(DType found, const char* wanted);
/// Two inputs of one dtype, broadcast. Refuses mixed dtypes.
Spec pair(const Specs& in);
/// The size of an axis; refuses an open one.
std::int64_t known_size(const Shape& shape, int axis);

inline constexpr auto floating_pair = [](const auto&, const Specs& in) -> Spec {
  if (!is_floating(in.dtype(0))) refuse_dtype(in.dtype(0), "f32 and f64");
  return pair(in);
};
inline constexpr auto number_pair = [](const auto&, const Specs& in) -> Spec {
  if (in.dtype(0) == boolean) refuse_dtype(boolean, "f32, f64 and i64");
  return pair(in);
};
inline constexpr auto number = [](const auto&, const Specs& in) -> Spec {
  if (in.dtype(0) == boolean) refuse_dtype(boolean, "f32, f64 and i64");
  return in[0];
};
inline constexpr auto compared = [](const auto&, const Specs& in) -> Spec { return {pair(in).shape, boolean}; };
inline constexpr auto truth_pair = [](const auto&, const Specs& in) -> Spec {
  if (in.dtype(0) != boolean) refuse_dtype(in.dtype(0), "bool");
  return pair(in);
};

}  // namespace twopass::rules
