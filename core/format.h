// fmt support for Tensor, Shape and DType, and for lists of values: `fmt::print("{}", x)`.
#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

#include <twopass/core/dtype.h>
#include <twopass/core/shape.h>
#include <twopass/core/tensor.h>

template <>
struct fmt::formatter<twopass::Tensor> : fmt::formatter<std::string> {
  auto format(const twopass::Tensor& x, fmt::format_context& context) const {
    return fmt::formatter<std::string>::format(x.text(), context);
  }
};

template <>
struct fmt::formatter<twopass::Shape> : fmt::formatter<std::string> {
  auto format(const twopass::Shape& shape, fmt::format_context& context) const {
    return fmt::formatter<std::string>::format(shape.text(), context);
  }
};

template <>
struct fmt::formatter<twopass::DType> : fmt::formatter<std::string_view> {
  auto format(twopass::DType dtype, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(twopass::name_of(dtype), context);
  }
};
