// The element types of tensors.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace twopass {

/// What a tensor's elements are: 32 and 64 bit floating point, 64 bit integers, and truth values (one byte, 0 or 1).
enum class DType : std::uint8_t { f32, f64, i64, boolean };

inline constexpr DType f32 = DType::f32;
inline constexpr DType f64 = DType::f64;
inline constexpr DType i64 = DType::i64;
inline constexpr DType boolean = DType::boolean;

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) { return dtype == DType::f32 ? 4 : dtype == DType::boolean ? 1 : 8; }

/// "f32", "f64", "i64" or "bool".
constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::i64:
      return "i64";
    case DType::boolean:
      return "bool";
  }
  return "?";
}

/// Whether elements are f32 or f64: only such tensors have gradients.
constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

template <typename T>
inline constexpr bool kIsElement = false;
template <>
inline constexpr bool kIsElement<float> = true;
template <>
inline constexpr bool kIsElement<double> = true;
template <>
inline constexpr bool kIsElement<std::int64_t> = true;
template <>
inline constexpr bool kIsElement<bool> = true;

/// The dtype of a C++ element type: float, double, std::int64_t or bool.
template <typename T>
requires kIsElement<T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<T, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<T, bool>)
    return DType::boolean;
  else
    return DType::i64;
}

/// Calls `f.template operator()<T>()` with the C++ type of `dtype`.
template <typename F>
decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::i64:
      return f.template operator()<std::int64_t>();
    default:
      return f.template operator()<bool>();
  }
}

/// The same for f32 and f64 alone; other dtypes count as f64.
template <typename F>
decltype(auto) dispatch_floating(DType dtype, F&& f) {
  return dtype == DType::f32 ? f.template operator()<float>() : f.template operator()<double>();
}

}  // namespace twopass
