#include <twopass/graph/autodiff/bundle.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/shaping.h>

namespace twopass {

bool any(const Tensors& tensors, bool (Tensor::*is)() const) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const Tensor& x) { return (x.*is)(); });
}

Bundle::Bundle(const Tensors& like) {
  for (const Tensor& x : like) {
    if (x.dtype() != like[0].dtype())
      throw Error(fmt::format("a function's outputs must have one dtype, not {} and {}", name_of(like[0].dtype()),
                              name_of(x.dtype())));
    shapes_.push_back(x.shape());
    by_rows_ = by_rows_ || x.shape().open();
  }
  if (like.empty()) throw Error("a function without outputs has no gradient");
  for (const Shape& shape : shapes_)
    if (by_rows_ && (shape.rank() == 0 || shape[0] != kOpen || shape.with(0, 1).open()))
      throw Error(
          fmt::format("where an output's batch is open it must be the first axis of all, but one is {}", shape.text()));
}

Tensor Bundle::packed(const Tensors& parts) const {
  Tensors flat;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const Tensor& x = parts[k];
    if (parts.size() != shapes_.size() || (!by_rows_ && x.shape() != shapes_[k]))
      throw Error(fmt::format("output {} of {} has shape {} now, which it had not at first", k, parts.size(),
                              x.shape().text()));
    flat.push_back(by_rows_ ? reshape(x, {x.shape()[0], width(x.shape())}) : reshape(x, {x.shape().elements()}));
  }
  return concat(flat, by_rows_ ? 1 : 0);
}

Tensor Bundle::packed_tangents(Tensors tangents, const Tensors& outputs) const {
  if (tangents.size() != outputs.size())
    throw Error(fmt::format("the rule gave {} tangents for {} outputs", tangents.size(), outputs.size()));
  for (std::size_t k = 0; k < tangents.size(); ++k)
    if (!tangents[k].defined()) tangents[k] = zeros_like(outputs[k]);
  return packed(tangents);
}

Tensors Bundle::parts(const Tensor& packed) const {
  Tensors all;
  std::int64_t from = 0;
  for (const Shape& shape : shapes_) {
    const std::int64_t to = from + (by_rows_ ? width(shape) : shape.elements());
    const Tensor part = slice(packed, by_rows_ ? 1 : 0, from, to);
    all.push_back(reshape(part, by_rows_ ? shape.with(0, packed.shape()[0]) : shape));
    from = to;
  }
  return all;
}

}  // namespace twopass
