#include <twopass/graph/layers/filter_layer.h>

#include <fmt/format.h>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

using Numbers = std::vector<std::int64_t>;

}  // namespace

void FilterLayer::check() const {
  if (kind_.filters < 1 || kind_.filters > (std::int64_t{1} << 40))
    throw Error(fmt::format("{}({}): filters must be from 1 to 2^40", kind_.type, kind_.filters));
  const std::string& name = activation_.name();
  if ((name == "softmax" || name == "log_softmax") && !channels_last_)
    throw Error(fmt::format("{}: {} works over the last axis, which holds {} here, not channels", kind_.type, name,
                            kind_.window.size() == 1 ? "steps" : "columns"));
}

void FilterLayer::build(const Shapes& inputs) {
  constexpr const char* kAxes[] = {"steps", "rows, columns", "depth, rows, columns"};
  const char* const axes = kAxes[kind_.window.size() - 1];
  const int rank = static_cast<int>(kind_.window.size()) + 2;
  const std::string expected =
      channels_last_ ? fmt::format("[n, {}, channels]", axes) : fmt::format("[n, channels, {}]", axes);
  const Shape& x = only_input(kind_.type, inputs, rank, expected.c_str());
  const Weights weights = kind_.weights(known(kind_.type, x[channels_last_ ? rank - 1 : 1], "channels"));
  for (const auto& kernel : weights.kernels) kernels_.push_back(add_weight(kernel.name, kernel.shape, kernel.draw));
  if (use_bias_) bias_ = add_weight("bias", {weights.filters}, bias_initializer_);
}

Tensors FilterLayer::call(const Tensors& inputs, const CallContext&) {
  return {kind_.apply(inputs[0], Tensors(kernels_.begin(), kernels_.end()), use_bias_ ? bias_.tensor() : Tensor())};
}

Attributes FilterLayer::attributes() const {
  Attributes all = kind_.attributes;
  all.insert(all.end(),
             {{"activation", activation_.name()}, {"use_bias", use_bias_}, {"channels_last", channels_last_}});
  return all;
}

Initializer turned(Initializer draw) {
  return [draw = std::move(draw)](const Shape& shape, DType dtype, Random& random) {
    Numbers sizes(shape.begin() + 2, shape.end()), order{shape.rank() - 1, shape.rank() - 2};
    sizes.insert(sizes.end(), {shape[1], shape[0]});
    for (std::int64_t axis = 0; axis + 2 < shape.rank(); ++axis) order.push_back(axis);
    return transpose(draw(sizes, dtype, random), order);
  };
}

Initializer turned_depthwise(Initializer draw, std::int64_t multiplier) {
  return [draw = std::move(draw), multiplier](const Shape& shape, DType dtype, Random& random) {
    Numbers sizes(shape.begin() + 2, shape.end()), order{shape.rank() - 2, shape.rank() - 1};
    sizes.insert(sizes.end(), {shape[0] / multiplier, multiplier});
    for (std::int64_t axis = 0; axis + 2 < shape.rank(); ++axis) order.push_back(axis);
    return reshape(transpose(draw(sizes, dtype, random), order), shape);
  };
}

}  // namespace twopass
